"""decode_audio: a recording as samples."""

from typing import Literal, overload

import numpy as np

from ..audio import SAMPLE_RATE, AudioLike, AudioReader, ReadingOptions, check_rate
from ..audio.samples import EACH, MIX, Channel
from ..errors import AudioError
from ..simd import FloatArray


@overload
def decode_audio(
    input_file: AudioLike,
    sampling_rate: float = SAMPLE_RATE,
    split_stereo: Literal[False] = False,
    *,
    channel: Channel = MIX,
    track: int | None = None,
    strict: bool = False,
) -> FloatArray: ...


@overload
def decode_audio(
    input_file: AudioLike,
    sampling_rate: float = SAMPLE_RATE,
    *,
    split_stereo: Literal[True],
    channel: Channel = MIX,
    track: int | None = None,
    strict: bool = False,
) -> tuple[FloatArray, FloatArray]: ...


@overload
def decode_audio(
    input_file: AudioLike,
    sampling_rate: float,
    split_stereo: Literal[True],
    *,
    channel: Channel = MIX,
    track: int | None = None,
    strict: bool = False,
) -> tuple[FloatArray, FloatArray]: ...


def decode_audio(
    input_file: AudioLike,
    sampling_rate: float = SAMPLE_RATE,
    split_stereo: bool = False,
    *,
    channel: Channel = MIX,
    track: int | None = None,
    strict: bool = False,
) -> FloatArray | tuple[FloatArray, FloatArray]:
    """Decode a recording to float32 samples.

    Args:
        input_file: The recording, as `load_audio` takes it.
        sampling_rate: Rate of the returned samples in Hz, 1000 to 1,000,000.
        split_stereo: Whether to return the left and the right channel, which are equal for a mono recording.
        channel: Number of the channel to return, from 0, or "mix" for the mean of all; ignored with `split_stereo`.
        track: Number of the file's audio track, from 0. None is the one that a player would choose.
        strict: Whether to raise AudioError for what is otherwise an AudioWarning.

    Returns:
        Samples `(n,)` at `sampling_rate`, or with `split_stereo` two such arrays.

    Raises:
        AudioError: The recording cannot be read, or it has more than two channels to split.
        OptionError: An argument has a value that is not allowed.
    """
    if not split_stereo:
        reader = AudioReader(input_file, ReadingOptions(channel=channel, track=track, strict=strict))
        return np.concatenate(list(reader.blocks(rate=check_rate(sampling_rate))))
    reader = AudioReader(input_file, ReadingOptions(channel=EACH, track=track, strict=strict))
    samples = np.concatenate(list(reader.blocks(rate=check_rate(sampling_rate))))
    if samples.shape[1] > 2:
        raise AudioError(
            f"{reader.name}: {samples.shape[1]} channels cannot be split as stereo; use load_audio(..., channel='each')"
        )
    return np.ascontiguousarray(samples[:, 0]), np.ascontiguousarray(samples[:, -1])
