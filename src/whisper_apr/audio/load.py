"""Files, bytes, file objects, arrays and blocks become float32 samples at 16 kHz, block by block."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Annotated, Any, cast

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import AudioError
from ..option_values import Kind, boolean, number, optional, parse, parse_fields, whole
from . import blocks
from .blocks import MAX_RATE
from .containers import AudioFile
from .diagnostics import Diagnostics
from .resample import Resampler
from .samples import CHANNEL, MIX, Channel, ChannelSelector, as_array, is_file_bytes, is_samples
from .sources import EncodedAudio, source_name

FloatArray = simd.FloatArray

SAMPLE_RATE = 16000
CHUNK_LENGTH = 30  # seconds of a window
N_SAMPLES = CHUNK_LENGTH * SAMPLE_RATE
MIN_RATE = 1000  # Hz, of samples
RATE = Kind(f"a number of {MIN_RATE} to {MAX_RATE} Hz", number(MIN_RATE, MAX_RATE).convert)

AudioLike = EncodedAudio | AudioFile | npt.ArrayLike | Iterable[npt.ArrayLike]


@dataclass(frozen=True)
class ReadingOptions:
    """How a recording is read. Raises OptionError for values that are not allowed."""

    sampling_rate: Annotated[float, RATE] = SAMPLE_RATE  # Hz, of samples; files say theirs themselves
    # a channel's number, from 0; "mix": the mean of all; "each": all, apart from each other
    channel: Annotated[Channel, CHANNEL] = MIX
    # the number of a file's audio track, from 0; None: the one that a player would choose
    track: Annotated[int | None, optional(whole(0))] = None
    strict: Annotated[bool, boolean] = False  # what would be an AudioWarning is an AudioError

    def __post_init__(self) -> None:
        parse_fields(self)


def check_rate(rate: object) -> float:
    """Return a valid `sampling_rate` option, 1 kHz to 1 MHz. Raises OptionError for anything else."""
    return cast(float, parse("sampling_rate", RATE, rate))


class AudioReader:
    """A source of sound, read as float32 blocks at 16 kHz.

    What is found to be wrong with the source is said once, however often it is read.
    """

    def __init__(self, source: AudioLike, options: ReadingOptions) -> None:
        """Take whatever `load_audio` takes. Raises AudioError for what is no recording."""
        self.options = options
        self.name = source.name if isinstance(source, AudioFile) else source_name(source)
        self.is_stream = False  # whether it is an iterable of blocks, which can be read once
        self._diagnostics = Diagnostics(options.strict)
        self._samples: npt.NDArray[Any] | None = None
        self._recording: AudioFile | None = None
        self._stream: Iterator[npt.ArrayLike] = iter(())
        if isinstance(source, AudioFile):
            self._recording = source
        elif isinstance(source, str | PathLike) or is_file_bytes(source) or hasattr(source, "read"):
            self._recording = AudioFile(cast(EncodedAudio, source), track=options.track, strict=options.strict)
        elif is_samples(source):
            self._samples = as_array(source, "the array")
        elif isinstance(source, Iterable) and not isinstance(source, Mapping):
            self.is_stream, self.name, self._stream = True, "the stream", iter(source)
        else:
            raise AudioError(
                "a recording is a path, the bytes of a file, a binary file, an array of samples or an iterable of their blocks, "
                f"not {type(source).__name__}"
            )
        if self._recording is None and options.track:
            raise AudioError(f"{self.name}: samples are one track, number 0; there is no track {options.track}")

    def blocks(
        self, channel: Channel | None = None, *, rate: float = SAMPLE_RATE, allow_empty: bool = False
    ) -> Iterator[FloatArray]:
        """Yield the sound from its beginning, as float32 blocks `(n,)`, or `(n, channels)` of channel "each".

        `channel` is the options' unless given. Blocks are of some seconds each, at `rate` Hz. Raises AudioError for sound that cannot be
        read, and, without `allow_empty`, for a source without samples.
        """
        selector = ChannelSelector(self.name, self.options.channel if channel is None else channel, self._diagnostics)
        resampler: Resampler | None = None
        rate_in = 0.0
        for block_rate, block in self._raw():
            samples = selector.push(block)
            if resampler is None or block_rate != rate_in:
                if resampler is not None:
                    yield resampler.finish()
                resampler, rate_in = Resampler(block_rate, rate, axis=0), block_rate
            yield resampler.push(samples)
        if not selector.n_samples and not allow_empty:
            raise AudioError(f"{self.name}: no samples in it")
        selector.finish()
        if resampler is not None:
            yield resampler.finish()

    def count_channels(self) -> int:
        """Return the number of channels, for which the beginning is read; 1 where there are no samples. Not of a stream."""
        blocks = self._raw()
        try:
            return next((1 if block.ndim == 1 else block.shape[1] for _, block in blocks), 1)
        finally:
            blocks.close()

    def _raw(self) -> Generator[tuple[float, npt.NDArray[Any]]]:
        """Yield `(rate, block)` as they are in the source, `(n,)` or `(n, channels)`."""
        rate = float(self.options.sampling_rate)
        if self._recording is not None:
            yield from self._recording.blocks()
        elif self._samples is not None:
            step = int(blocks.BLOCK_SECONDS * rate)
            for begin in range(0, len(self._samples), step) or (0,):
                yield rate, self._samples[begin : begin + step]
        for index, block in enumerate(self._stream):
            yield rate, as_array(block, f"block {index} of the stream")


# ---- the public functions -------------------------------------------------------------------------------------------


def stream_audio(
    source: AudioLike,
    *,
    sampling_rate: float = SAMPLE_RATE,
    channel: Channel = MIX,
    track: int | None = None,
    strict: bool = False,
) -> Iterator[FloatArray]:
    """Yield a recording as float32 blocks of some seconds each, at 16 kHz; no more of it is in memory.

    Arguments and errors are those of `load_audio`, whose result is all the blocks, joined.
    """
    return AudioReader(source, ReadingOptions(sampling_rate, channel, track, strict)).blocks()


def load_audio(
    source: AudioLike,
    *,
    sampling_rate: float = SAMPLE_RATE,
    channel: Channel = MIX,
    track: int | None = None,
    strict: bool = False,
) -> FloatArray:
    """Load a recording as float32 samples at 16 kHz, with full scale at 1.

    source
        A path, the bytes of a file, or a binary file object. WAV, FLAC, OGG and MP3 are read by soundfile, anything else by the program
        ffmpeg, where it is on PATH.
        Or samples `(n,)` or `(n, channels)`: an array, anything that NumPy can make one of (such as a torch tensor on the CPU), or a list
        of numbers. Integers are divided by their type's largest magnitude; floats have their full scale at 1.
        Or an iterable of such blocks of samples, which follow each other.
    sampling_rate
        Of samples, in Hz, 1000 to 1,000,000. Files say theirs themselves.
    channel
        A channel's number, counted from 0; "mix" for the mean of all channels; "each" for all of them, apart from each other.
    track
        The number of a file's audio track, counted from 0; None for the one that a player would choose.
    strict
        Raise AudioError for what is otherwise an AudioWarning: sound that is damaged or cut short, samples of a doubtful scale, channels
        that cancel each other out.

    Returns an array `(n,)`; of channel "each", `(n, channels)`.
    Raises AudioError, with the file's name and what to do, where there is nothing to read or no such channel or track; OptionError for an
    option whose value is not allowed.
    """
    reader = AudioReader(source, ReadingOptions(sampling_rate, channel, track, strict))
    return np.concatenate(list(reader.blocks()))


def pad_or_trim(array: npt.NDArray[Any], length: int = N_SAMPLES, *, axis: int = -1) -> npt.NDArray[Any]:
    """Cut `axis` to `length`, or fill it up with zeros at its end."""
    axis %= array.ndim
    n = array.shape[axis]
    if n >= length:
        return array[(slice(None),) * axis + (slice(length),)]
    return np.pad(array, [(0, length - n) if i == axis else (0, 0) for i in range(array.ndim)])
