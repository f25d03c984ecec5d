"""Audio files: the choice of a decoder, and the policy for damage that all decoders follow.

Policy: all audio in the file is decoded, once. If the header and the audio disagree, or data is damaged, whatever can
be decoded is decoded, missing audio of known length becomes silence, and one AudioWarning describes the damage. With
`strict=True` the damage raises AudioError instead.
"""

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AudioError
from .blocks import Block, GapFiller, check_format
from .chunks import FLOAT, MPEG_LAYER_2, MPEG_LAYER_3, PCM, find_audio_sections, is_chunked
from .diagnostics import DamageReport, Diagnostics
from .flac import flac_blocks
from .mpeg import is_mpeg, mpeg_blocks, skip_tags
from .ogg import ogg_blocks
from .sndfile import sound_blocks
from .sources import ByteSource, DecodeError, EncodedAudio, RandomAccessBytes, SplicedFile, source_name

# The largest plausible float sample: some programs store floats at the scale of 32-bit integers, none at a larger one.
# A flipped bit in an exponent makes a far larger number, next to which the rest of the recording would be silence.
MAX_SAMPLE = np.float32(2**31)


class AudioFile:
    """An encoded recording, which can be decoded repeatedly. Each kind of problem is reported once."""

    def __init__(self, source: EncodedAudio, *, track: int | None = None, strict: bool = False) -> None:
        """Set the source.

        Args:
            source: A path, the bytes of a file (bytes, bytearray, memoryview), or a binary file object, which is read
                from its current position.
            track: The number of the audio track, counted from 0; None for the one that a player would choose.
            strict: Raise AudioError for damage instead of issuing an AudioWarning.

        Raises:
            AudioError: `source` is not one of these.
        """
        self.name, self.track, self.strict = source_name(source), track, strict
        self._source = ByteSource(source, self.name)
        self._diagnostics = Diagnostics(strict)

    def blocks(self) -> Iterator[Block]:
        """Decode the recording from its beginning. Closing the iterator releases its resources.

        Yields:
            `(rate, samples)`: the rate in Hz, and samples `(n, channels)`, integers or floats with full scale at 1. The
            rate and the number of channels may change between blocks, if different recordings were concatenated.
            Nothing is yielded if the header is valid but there are no samples.

        Raises:
            AudioError: The source cannot be read or decoded.
        """
        damage = DamageReport(self.name, self.strict)
        n_out = 0
        with self._source.open() as content:
            for rate, block in self._read(content, damage):
                check_format(self.name, rate, block.shape[1])
                if len(block):
                    yield rate, _silence_invalid(block, damage, n_out / rate)
                n_out += len(block)
        if damage.summary() and not n_out:
            raise AudioError(f"{damage.summary()}: no samples in it")
        if damage.summary():
            self._diagnostics.report("damage", damage.summary())

    def _read(self, content: RandomAccessBytes, damage: DamageReport) -> Iterator[Block]:
        """Decode with this package and libsndfile, or with ffmpeg if they fail before the first block."""
        if not content.size:
            raise AudioError(f"{self.name}: the file is empty")
        begun = False
        try:
            for block in _native_blocks(content, self.track, self.name, damage):
                begun = True
                yield block
            return
        except DecodeError as error:
            if begun:
                damage.add(f"the rest cannot be read ({error})")
                return
            problem = str(error)
        program = shutil.which("ffmpeg")
        if program is None:
            raise AudioError(
                f"{self.name}: not a WAV, FLAC, OGG or MP3 recording that can be read ({problem}); "
                "other formats need the program ffmpeg, which is not on PATH"
            )
        from .ffmpeg import ffmpeg_blocks  # imported here, as it imports subprocess, which most programs do without

        yield from ffmpeg_blocks(program, self._source, self.track, content.size, damage)


def _native_blocks(content: RandomAccessBytes, track: int | None, name: str, damage: DamageReport) -> Iterator[Block]:
    """Decode with this package and libsndfile.

    Raises:
        DecodeError: They cannot decode the recording; usually before the first block.
    """
    gap_filler = GapFiller(content.size)
    start, _ = skip_tags(content, 0, content.size) if content.read(0, 3) == b"ID3" else (0, 0)
    head = content.read(start, 40)
    if head[:4] == b"OggS":
        yield from ogg_blocks(content, start, track, name, damage, gap_filler)
        return
    if is_chunked(head):
        blocks = _chunked_blocks(content, name, damage, gap_filler)
    elif head[:4] == b"fLaC":
        blocks = flac_blocks(content, start, name, damage, gap_filler)
    elif is_mpeg(content, start, after_tag=start > 0):
        blocks = mpeg_blocks(content, start, content.size, name, damage, gap_filler)
    elif head[:2] == b"\xf0\x7e":
        raise DecodeError("a MIDI sample dump")  # libsndfile prints its damage to standard output
    else:
        blocks = sound_blocks(SplicedFile(content, [(start, content.size)]), name, damage, quiet=head[:1] == b"\xff")
    for block in blocks:
        if track not in (None, 0):
            raise AudioError(f"{name}: no audio track {track}; there is 1, counted from 0")
        yield block


def _chunked_blocks(
    content: RandomAccessBytes, name: str, damage: DamageReport, gap_filler: GapFiller
) -> Iterator[Block]:
    for section in find_audio_sections(content, damage):
        if section.format_tag in (PCM, FLOAT):
            yield from section.blocks(content, name)
        elif section.format_tag in (MPEG_LAYER_2, MPEG_LAYER_3):
            yield from mpeg_blocks(content, *section.samples, name, damage, gap_filler)
        elif section.samples[0] < section.samples[1]:
            yield from sound_blocks(section.corrected_file(content), name, damage)


def _silence_invalid(block: npt.NDArray[Any], damage: DamageReport, at: float) -> npt.NDArray[Any]:
    """Replace float samples that are NaN, or larger than in any format, by silence; `at` is the block's time in s."""
    if block.dtype.kind != "f" or not block.size:
        return block
    with np.errstate(over="ignore", invalid="ignore"):
        block = block.astype(np.float32, copy=False)
        if max(block.max(), -block.min()) <= MAX_SAMPLE:  # false if any sample is NaN
            return block
    bad = ~(np.abs(block) <= MAX_SAMPLE)
    count = np.count_nonzero(bad)
    which, are, numbers = ("sample", "is", "a number") if count == 1 else ("samples", "are", "numbers")
    damage.add(f"{count} {which} from {at:.2f} s on {are} not {numbers} or far too large, and replaced by silence")
    return np.where(bad, np.float32(0), block)
