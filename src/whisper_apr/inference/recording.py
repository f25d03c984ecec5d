"""A recording whose samples can be read again and again, block by block, and the spectrogram of its windows.

Neither is ever whole in memory. A file is opened anew for each reading; a stream that cannot be sought in is first copied to a
temporary file.
"""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from .. import simd
from ..audio import HOP_LENGTH, N_FRAMES, N_SAMPLES, SAMPLE_RATE, MelStream, Resampler, bounded, stream_audio
from ..errors import AudioError

FloatArray = simd.FloatArray
Blocks = Callable[[], Iterator[FloatArray]]  # each call reads from the beginning
Source = str | PathLike[str] | bytes | IO[bytes] | npt.NDArray[Any] | Iterable[npt.NDArray[Any]]

SPOOL_SAMPLES = 10 * SAMPLE_RATE  # of one block that is read back from a temporary file
KEPT_FRAMES = (
    12_000  # two minutes: what a spectrogram keeps of its first reading, so that short recordings are read once
)
MAX_BLOCK = 10 * SAMPLE_RATE  # of samples whose spectrogram is made at once


def read_blocks(source: Source, sampling_rate: int = SAMPLE_RATE) -> Blocks:
    """A function that reads the source from its beginning, as float32 blocks at 16 kHz.

    Source is what `load_audio` takes, or an iterable of arrays: samples `(n,)` at `sampling_rate` that follow each other.
    """
    if isinstance(source, str | PathLike | bytes | np.ndarray):
        return lambda: stream_audio(source, sampling_rate=sampling_rate)
    if hasattr(source, "read"):
        return _file_blocks(cast(IO[bytes], source), sampling_rate)
    if isinstance(source, Iterable):
        return _spooled(source, sampling_rate)
    raise AudioError(f"a recording is a path, bytes, a binary file, an array or blocks, not {type(source).__name__}")


def _file_blocks(file: IO[bytes], sampling_rate: int) -> Blocks:
    seekable = False
    with suppress(AttributeError):
        seekable = file.seekable()
    if not seekable:
        with _temporary() as copy:
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            return _closing(_file_blocks(copy, sampling_rate), copy)
    begin = file.tell()

    def blocks() -> Iterator[FloatArray]:
        file.seek(begin)
        return stream_audio(file, sampling_rate=sampling_rate)

    return blocks


@contextmanager
def _temporary() -> Iterator[IO[bytes]]:
    """A temporary file, closed where it cannot be filled."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as what reads it
    try:
        yield file
    except BaseException:
        file.close()
        raise


def _closing(blocks: Blocks, file: IO[bytes]) -> Blocks:
    """Close the file when nobody can read the blocks any more."""
    weakref.finalize(blocks, file.close)
    return blocks


def _spooled(arrays: Iterable[npt.NDArray[Any]], sampling_rate: int) -> Blocks:
    with _temporary() as copy:
        resampler = Resampler(sampling_rate, SAMPLE_RATE)
        n = 0
        for array in arrays:
            block = np.asarray(array)
            if block.ndim != 1 or block.dtype.kind != "f":
                raise AudioError(f"a stream's blocks must be float samples (n,), not {block.dtype} {block.shape}")
            if not np.isfinite(block).all():
                raise AudioError(f"the stream's sample {n + int(np.argmin(np.isfinite(block)))} is not a finite number")
            n += len(block)
            copy.write(resampler.push(block.astype(np.float32, copy=False)).tobytes())
        if not n:
            raise AudioError("the stream has no samples in it")
        copy.write(resampler.finish().tobytes())

    def blocks() -> Iterator[FloatArray]:
        copy.seek(0)
        while data := copy.read(4 * SPOOL_SAMPLES):
            yield np.frombuffer(data, np.float32)

    return _closing(blocks, copy)


class Spectrogram:
    """The log-mel of a recording and 30 s of zeros after it, as `log_mel_spectrogram` gives it of the whole.

    The first reading finds its length and its maximum, to which every window is held. Windows are best asked for in their order: what
    lies before one that was asked for is forgotten, and read again from the beginning where it is wanted.
    """

    def __init__(self, blocks: Blocks, n_mels: int, checkpoint: Callable[[], None] = lambda: None) -> None:
        self.n_mels = n_mels
        self._blocks = blocks
        self._stream: Iterator[FloatArray] = iter(())
        self._kept: list[FloatArray] = []  # frames from number _first on
        self._first = self._end = 0
        self.n_samples, self._maximum, whole = 0, -np.inf, True
        for frames in self._read(count=True):
            checkpoint()
            self._maximum = max(self._maximum, float(frames.max(initial=-np.inf)))
            self._keep(frames)
            if self._end > KEPT_FRAMES + N_FRAMES:
                self._kept, self._first, whole = [], self._end, False
        self.content_frames = self.n_samples // HOP_LENGTH
        if not whole:
            self._restart()

    @property
    def duration(self) -> float:
        """Seconds of the recording."""
        return self.n_samples / SAMPLE_RATE

    def _read(self, count: bool = False) -> Iterator[FloatArray]:
        mel = MelStream(self.n_mels)
        for block in self._blocks():
            self.n_samples += len(block) if count else 0
            for at in range(0, len(block), MAX_BLOCK):
                yield mel.push(block[at : at + MAX_BLOCK])
        yield mel.finish(N_SAMPLES)

    def _keep(self, frames: FloatArray) -> None:
        self._kept.append(frames)
        self._end += frames.shape[1]

    def _restart(self) -> None:
        self._stream, self._kept, self._first, self._end = self._read(), [], 0, 0

    def window(self, start: int, size: int) -> FloatArray:
        """Frames `start` to `start + size`, `(n_mels, size)`; fewer where the 30 s after the recording end."""
        if start < self._first:
            self._restart()
        while self._kept and self._first + self._kept[0].shape[1] <= start:
            self._first += self._kept.pop(0).shape[1]
        while self._end < start + size:
            frames = next(self._stream, None)
            if frames is None and self._end < self.content_frames:
                raise AudioError("the recording has become shorter while it was read; it must not be written to")
            if frames is None:
                break
            self._keep(frames)
            if self._end <= start:
                self._kept, self._first = [], self._end
        if not self._kept:
            return np.zeros((self.n_mels, 0), np.float32)
        offset = start - self._first
        return bounded(np.concatenate(self._kept, axis=1)[:, offset : offset + size], self._maximum)
