"""Encoded recordings: which reader decodes one, and the rule that all of them follow.

The rule: all the sound that is there is read, once. Where a recording's head and its sound disagree, or data is damaged, what
can be read is read, what is missing becomes silence where its length is known, and one AudioWarning says so; or, with
`strict=True`, an AudioError.
"""

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AudioError
from .blocks import Block, GapFiller, check_head
from .chunks import is_chunked, sounds
from .diagnostics import DamageReport, Diagnostics
from .ffmpeg import ffmpeg_blocks
from .flac import flac_blocks
from .mpeg import mpeg_blocks, starts_mpeg, tags_end
from .ogg import ogg_blocks
from .sndfile import sound_blocks
from .sources import ByteSource, DecodeError, EncodedAudio, RandomAccessBytes, SplicedFile, source_name

# Of float samples: some programs keep them at the scale of 32-bit integers, none at a larger one. A bit that is flipped in an exponent
# makes a number far above it, beside which the rest of the recording would be silence.
MAX_SAMPLE = np.float32(2**31)


class AudioFile:
    """A recording that is a file of some kind, of which `blocks` reads the sound as often as it is asked.

    What is found to be wrong with it is said once, however often it is read.
    """

    def __init__(self, source: EncodedAudio, *, track: int | None = None, strict: bool = False) -> None:
        """Take a path, the bytes of a file (bytes, bytearray, memoryview), or a binary file, which is read from where it stands.

        `track` is the number of the audio track, counted from 0, where a file has several; the default is the one that a
        player would choose. With `strict`, damage raises AudioError; otherwise what there is is read, with an AudioWarning.
        Raises AudioError for what is none of these.
        """
        self.name, self.track, self.strict = source_name(source), track, strict
        self._source = ByteSource(source, self.name)
        self._diagnostics = Diagnostics(strict)

    def blocks(self) -> Iterator[Block]:
        """Yield `(rate, samples)` from the beginning: `rate` in Hz, samples `(n, channels)` of floats (full scale at 1) or integers.

        Rate and channels may change from one block to the next, where recordings of different kinds have been joined.
        Nothing is yielded of a recording whose head is whole but has no samples. Closing the iterator releases what it holds.
        Raises AudioError for what is no recording, or not one that can be read here.
        """
        faults = DamageReport(self.name, self.strict)
        n_out = 0
        with self._source.open() as content:
            for rate, block in self._read(content, faults):
                check_head(self.name, rate, block.shape[1])
                if len(block):
                    yield rate, _plausible(block, faults, n_out / rate)
                n_out += len(block)
        if faults.summary() and not n_out:
            raise AudioError(f"{faults.summary()}: no samples in it")
        if faults.summary():
            self._diagnostics.report("faults", faults.summary())

    def _read(self, content: RandomAccessBytes, faults: DamageReport) -> Iterator[Block]:
        """Try the readers of the package and libsndfile, then ffmpeg: once a block is out, no other reader begins anew."""
        if not content.size:
            raise AudioError(f"{self.name}: empty, not one byte to read")
        begun = False
        try:
            for block in _native(content, self.track, self.name, faults):
                begun = True
                yield block
            return
        except DecodeError as error:
            if begun:
                faults.add(f"the rest cannot be read ({error})")
                return
            problem = str(error)
        program = shutil.which("ffmpeg")
        if program is None:
            raise AudioError(
                f"{self.name}: not a WAV, FLAC, OGG or MP3 recording that can be read ({problem}); "
                "other kinds need the program ffmpeg, which is not on PATH"
            )
        yield from ffmpeg_blocks(program, self._source, self.track, content.size, faults)


def _native(content: RandomAccessBytes, track: int | None, name: str, faults: DamageReport) -> Iterator[Block]:
    """Read what this package and libsndfile can. Raises DecodeError where they cannot, mostly before the first block."""
    gaps = GapFiller(content.size)
    start, _ = tags_end(content, 0, content.size) if content.read(0, 3) == b"ID3" else (0, 0)
    head = content.read(start, 40)
    if head[:4] == b"OggS":
        yield from ogg_blocks(content, start, track, name, faults, gaps)
        return
    if is_chunked(head):
        blocks = _chunked(content, name, faults, gaps)
    elif head[:4] == b"fLaC":
        blocks = flac_blocks(content, start, name, faults, gaps)
    elif starts_mpeg(content, start, after_tag=start > 0):
        blocks = mpeg_blocks(content, start, content.size, name, faults, gaps)
    elif head[:2] == b"\xf0\x7e":
        raise DecodeError("a MIDI sample dump")  # of whose damage libsndfile writes to standard output
    else:
        blocks = sound_blocks(SplicedFile(content, [(start, content.size)]), name, faults, quiet=head[:1] == b"\xff")
    for block in blocks:
        if track not in (None, 0):
            raise AudioError(f"{name}: no audio track {track}; there is 1, counted from 0")
        yield block


def _chunked(content: RandomAccessBytes, name: str, faults: DamageReport, gaps: GapFiller) -> Iterator[Block]:
    for sound in sounds(content, faults):
        if sound.kind in (1, 3):
            yield from sound.blocks(content, name)
        elif sound.kind in (0x50, 0x55):  # MPEG audio as a WAV's samples
            yield from mpeg_blocks(content, *sound.samples, name, faults, gaps)
        elif sound.samples[0] < sound.samples[1]:
            yield from sound_blocks(sound.pieces(content), name, faults)


def _plausible(block: npt.NDArray[Any], faults: DamageReport, at: float) -> npt.NDArray[Any]:
    """Replace float samples that are no numbers, or larger than those of any format, by silence."""
    if block.dtype.kind != "f" or not block.size:
        return block
    with np.errstate(over="ignore", invalid="ignore"):
        block = block.astype(np.float32, copy=False)
        if max(block.max(), -block.min()) <= MAX_SAMPLE:  # false where one is NaN
            return block
    bad = ~(np.abs(block) <= MAX_SAMPLE)
    count = np.count_nonzero(bad)
    which, are, numbers = ("sample", "is", "a number") if count == 1 else ("samples", "are", "numbers")
    faults.add(f"{count} {which} from {at:.2f} s on {are} not {numbers} or far too large, and taken for silence")
    return np.where(bad, np.float32(0), block)
