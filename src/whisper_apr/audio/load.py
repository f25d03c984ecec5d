"""Load audio from files, bytes, file objects, arrays and iterables as float32 samples at 16 kHz, block by block."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Annotated, Any, cast

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import AudioError, OptionError
from ..option_values import FloatLike, IntLike, Kind, boolean, number, optional, parse, parse_fields, shown, whole
from . import blocks
from .blocks import MAX_RATE
from .containers import AudioFile
from .diagnostics import Diagnostics
from .resample import Resampler
from .samples import CHANNEL, MIX, Channel, ChannelSelector, as_array, is_file_bytes, is_samples
from .sources import EncodedAudio, source_name

FloatArray = simd.FloatArray

# Constants of openai-whisper's audio.py.
SAMPLE_RATE = 16000  # Hz
CHUNK_LENGTH = 30  # seconds in a window
N_SAMPLES = CHUNK_LENGTH * SAMPLE_RATE  # samples in a window

MIN_RATE = 1000  # Hz, for samples; files may state a lower rate
RATE = Kind(f"a number of {MIN_RATE} to {MAX_RATE} Hz", number(MIN_RATE, MAX_RATE).convert)

AudioLike = EncodedAudio | AudioFile | npt.ArrayLike | Iterable[npt.ArrayLike]


@dataclass(frozen=True)
class ReadingOptions:
    """How to read a recording.

    Args:
        sampling_rate: Of samples, in Hz; files state their own.
        channel: A channel's number, from 0; "mix" for the mean of all channels; "each" for all channels, kept apart.
        track: The number of a file's audio track, from 0; None for the one that a player would choose.
        strict: Raise AudioError instead of issuing an AudioWarning.

    Raises:
        OptionError: A value is not allowed.
    """

    sampling_rate: Annotated[FloatLike, RATE] = SAMPLE_RATE
    channel: Annotated[Channel, CHANNEL] = MIX
    track: Annotated[IntLike | None, optional(whole(0))] = None
    strict: Annotated[bool, boolean] = False

    def __post_init__(self) -> None:
        parse_fields(self)


def check_rate(rate: object) -> float:
    """Return a valid `sampling_rate` option, 1 kHz to 1 MHz, as a float.

    Raises:
        OptionError: `rate` is anything else.
    """
    return cast(float, parse("sampling_rate", RATE, rate))


class AudioReader:
    """A reader of any audio source, as float32 blocks at 16 kHz. Each problem is reported once, over all readings."""

    def __init__(self, source: AudioLike, options: ReadingOptions) -> None:
        """Accept the sources of `load_audio`.

        Raises:
            AudioError: `source` is not audio, or has no such track.
            OptionError: `options` is not a ReadingOptions.
        """
        if not isinstance(options, ReadingOptions):
            raise OptionError(f"options must be a ReadingOptions, not {shown(options)}")
        self.options = options
        self.name = source.name if isinstance(source, AudioFile) else source_name(source)
        self.is_stream = False  # an iterable of blocks, which can be read only once
        self._diagnostics = Diagnostics(options.strict)
        self._samples: npt.NDArray[Any] | None = None
        self._file: AudioFile | None = None
        self._stream: Iterator[npt.ArrayLike] = iter(())
        if isinstance(source, AudioFile):
            self._file = source
        elif isinstance(source, str | PathLike) or is_file_bytes(source) or hasattr(source, "read"):
            self._file = AudioFile(
                cast(EncodedAudio, source), track=cast(int | None, options.track), strict=options.strict
            )
        elif is_samples(source):
            self._samples = as_array(source, "the array")
        elif isinstance(source, Iterable) and not isinstance(source, Mapping):
            self.is_stream, self.name, self._stream = True, "the stream", iter(source)
        else:
            raise AudioError(
                "a recording is a path, the bytes of a file, a binary file, an array of samples or an iterable of "
                f"blocks of samples, not {type(source).__name__}"
            )
        if self._file is None and options.track:
            raise AudioError(f"{self.name}: samples have one track, number 0; there is no track {options.track}")

    def blocks(
        self, channel: Channel | None = None, *, rate: float = SAMPLE_RATE, allow_empty: bool = False
    ) -> Iterator[FloatArray]:
        """Yield the audio from its beginning.

        Args:
            channel: Overrides the options' channel.
            rate: Of the output, in Hz.
            allow_empty: Accept a source without samples.

        Yields:
            float32 blocks `(n,)` of up to ten seconds, or `(n, channels)` for channel "each".

        Raises:
            AudioError: The audio cannot be read, or has no samples.
        """
        selector = ChannelSelector(self.name, self.options.channel if channel is None else channel, self._diagnostics)
        resampler: Resampler | None = None
        rate_in = 0.0
        for block_rate, block in self._raw_blocks():
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
        """Return the number of channels of the first block; 1 if there are no samples.

        Reads the beginning, so it must not be called on a stream.
        """
        blocks = self._raw_blocks()
        try:
            return next((1 if block.ndim == 1 else block.shape[1] for _, block in blocks), 1)
        finally:
            blocks.close()

    def _raw_blocks(self) -> Generator[tuple[float, npt.NDArray[Any]]]:
        """Yield `(rate, block)` in the source's own rate, channels and dtype."""
        rate = float(self.options.sampling_rate)
        if self._file is not None:
            yield from self._file.blocks()
        elif self._samples is not None:
            step = int(blocks.BLOCK_SECONDS * rate)
            for begin in range(0, len(self._samples), step) or (0,):
                yield rate, self._samples[begin : begin + step]
        for index, block in enumerate(self._stream):
            yield rate, as_array(block, f"block {index} of the stream")


# ---- public functions -----------------------------------------------------------------------------------------------


def stream_audio(
    source: AudioLike,
    *,
    sampling_rate: FloatLike = SAMPLE_RATE,
    channel: Channel = MIX,
    track: IntLike | None = None,
    strict: bool = False,
) -> Iterator[FloatArray]:
    """Read a recording in blocks, so that memory use does not grow with its length.

    The blocks, concatenated, are the result of `load_audio`.

    Args:
        source: As for `load_audio`.
        sampling_rate: As for `load_audio`.
        channel: As for `load_audio`.
        track: As for `load_audio`.
        strict: As for `load_audio`.

    Yields:
        float32 blocks `(n,)` at 16 kHz, or `(n, channels)` for channel "each". A block holds up to ten seconds.

    Raises:
        AudioError: As for `load_audio`.
        OptionError: As for `load_audio`.
    """
    return AudioReader(source, ReadingOptions(sampling_rate, channel, track, strict)).blocks()


def load_audio(
    source: AudioLike,
    *,
    sampling_rate: FloatLike = SAMPLE_RATE,
    channel: Channel = MIX,
    track: IntLike | None = None,
    strict: bool = False,
) -> FloatArray:
    """Load a recording as float32 samples at 16 kHz, with full scale at 1.

    Args:
        source: A path, the bytes of a file, or a binary file object. WAV, FLAC, Ogg and MP3 are decoded by the package
            soundfile (libsndfile), other formats by the program ffmpeg, if it is on PATH.
            Or samples `(n,)` or `(n, channels)`: an array, any object that NumPy converts to one (such as a torch
            tensor on the CPU), or a list of numbers. Integers are divided by the largest magnitude of their dtype;
            floats have full scale at 1.
            Or an iterable of such blocks of samples, in order.
        sampling_rate: Of samples, in Hz, 1000 to 1,000,000. Ignored for files, which state their own.
        channel: A channel's number, counted from 0; "mix" for the mean of all channels; "each" for all channels, kept
            apart.
        track: The number of a file's audio track, counted from 0; None for the one that a player would choose.
        strict: Raise AudioError instead of issuing an AudioWarning: for audio that is damaged or cut short, samples
            whose scale is doubtful, and channels that cancel each other out.

    Returns:
        float32 samples `(n,)`; `(n, channels)` for channel "each".

    Raises:
        AudioError: There is no audio to read, or no such channel or track.
        OptionError: An option's value is not allowed.
    """
    reader = AudioReader(source, ReadingOptions(sampling_rate, channel, track, strict))
    return np.concatenate(list(reader.blocks()))


def pad_or_trim(array: npt.NDArray[Any], length: int = N_SAMPLES, *, axis: int = -1) -> npt.NDArray[Any]:
    """Cut an array to `length` along one axis, or pad it with zeros at the end.

    Args:
        array: Samples or features, of any shape.
        length: The result's size along `axis`; by default 30 s of samples at 16 kHz.
        axis: The axis to cut or pad.

    Returns:
        A view of `array` if it is long enough, otherwise a padded copy.

    Raises:
        OptionError: `array` is not an array or has no such axis, or `length` is not a size.
    """
    if not hasattr(array, "__array__") or not np.ndim(array):
        raise OptionError(f"array must be an array of at least one dimension, not {shown(array)}; see numpy.asarray")
    array = np.asarray(array)
    length = parse("length", whole(0), length)
    axis = parse("axis", whole(-array.ndim, array.ndim - 1), axis) % array.ndim
    n = array.shape[axis]
    if n >= length:
        return array[(slice(None),) * axis + (slice(length),)]
    return np.pad(array, [(0, length - n) if i == axis else (0, 0) for i in range(array.ndim)])
