"""Files, bytes, file objects and arrays become float32 mono samples at 16 kHz, block by block."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import AudioError
from . import containers
from .containers import Encoded, Recording, check_head, source_name
from .resample import Resampler

FloatArray = simd.FloatArray

SAMPLE_RATE = 16000
CHUNK_LENGTH = 30  # seconds of a window
N_SAMPLES = CHUNK_LENGTH * SAMPLE_RATE

Source = Encoded | Recording | npt.NDArray[Any]


def _mono(block: npt.NDArray[Any], name: str, start: int) -> FloatArray:
    """`(n,)` or `(n, channels)` -> the mean of the channels; integers are scaled so that their type's largest is 1."""
    if block.dtype.kind in "iu":
        info = np.iinfo(block.dtype)
        middle = 0 if block.dtype.kind == "i" else (int(info.max) + 1) // 2
        block = (block.astype(np.float32) - middle) / np.float32(int(info.max) + 1 - middle)
    with np.errstate(over="ignore"):  # a float64 may be too large: it becomes infinite, which is told below
        samples = block.astype(np.float32, copy=False)
    samples = samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(samples))
    if len(bad):
        raise AudioError(f"{name}: sample {start + bad[0]} is not a finite number; the recording is damaged")
    return samples


# ---- the public functions -------------------------------------------------------------------------------------------


def stream_audio(source: Source, *, sampling_rate: int = SAMPLE_RATE) -> Iterator[FloatArray]:
    """Blocks of float32 mono samples at 16 kHz, of some seconds each: no more of the recording is in memory.

    Arguments and errors are those of `load_audio`, whose result is all the blocks, joined.
    """
    name = source.name if isinstance(source, Recording) else source_name(source)
    if isinstance(source, np.ndarray):
        if source.ndim not in (1, 2) or source.dtype.kind not in "fiu":
            raise AudioError(f"samples must be real numbers (n,) or (n, channels), not {source.dtype} {source.shape}")
        check_head("the array", sampling_rate, 1 if source.ndim == 1 else source.shape[1])
        step = containers.BLOCK_SECONDS * int(sampling_rate)
        blocks = iter([(int(sampling_rate), source[i : i + step]) for i in range(0, len(source), step)])
    else:
        blocks = (source if isinstance(source, Recording) else Recording(source)).blocks()
    resampler, n_in = None, 0
    for rate, block in blocks:
        resampler = resampler or Resampler(rate, SAMPLE_RATE)
        samples = _mono(block, name, n_in)
        n_in += len(samples)
        yield resampler.push(samples)
    if resampler is None or not n_in:
        raise AudioError(f"{name}: no samples in it")
    yield resampler.finish()


def load_audio(source: Source, *, sampling_rate: int = SAMPLE_RATE) -> FloatArray:
    """A recording as float32 samples `(n,)`, mono, 16 kHz, full scale at 1.

    `source` is a path, the bytes of a file, a binary file object, or an array of samples `(n,)` or `(n, channels)`, of which
    `sampling_rate` says the rate in Hz (it is ignored for files, which say it themselves). WAV, FLAC, OGG and MP3 are read by
    soundfile; anything else by the program ffmpeg, where it is on PATH. Channels are averaged.

    Raises AudioError, with the file's name and what to do, where there is nothing to read or it is damaged.
    """
    return np.concatenate(list(stream_audio(source, sampling_rate=sampling_rate)))


def pad_or_trim(array: npt.NDArray[Any], length: int = N_SAMPLES, *, axis: int = -1) -> npt.NDArray[Any]:
    """Cut `axis` to `length`, or fill it up with zeros at its end."""
    axis %= array.ndim
    n = array.shape[axis]
    if n >= length:
        return array[(slice(None),) * axis + (slice(length),)]
    return np.pad(array, [(0, length - n) if i == axis else (0, 0) for i in range(array.ndim)])
