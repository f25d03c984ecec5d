"""A recording whose samples can be read again and again, block by block, and the spectrogram of its windows.

Neither is ever whole in memory. A file is opened anew for each reading; a stream that cannot be sought in is first copied to a
temporary file.
"""

import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO

import numpy as np

from .. import simd
from ..audio import (
    HOP_LENGTH,
    N_FRAMES,
    N_SAMPLES,
    SAMPLE_RATE,
    AudioReader,
    MelStream,
    ReadingOptions,
    Source,
    bounded,
)
from ..audio.samples import EACH
from ..errors import AudioError

FloatArray = simd.FloatArray
Blocks = Callable[[], Iterator[FloatArray]]  # each call reads from the beginning

SPOOL_SAMPLES = 10 * SAMPLE_RATE  # of one block that is read back from a temporary file
KEPT_FRAMES = (
    12_000  # two minutes: what a spectrogram keeps of its first reading, so that short recordings are read once
)
MAX_BLOCK = 10 * SAMPLE_RATE  # of samples whose spectrogram is made at once


def open_channels(source: Source, options: ReadingOptions, *, allow_empty: bool = False) -> list[Blocks]:
    """Return a function for each channel that is to be transcribed: it reads that channel from its beginning, as mono blocks at 16 kHz.

    There is one, unless the options ask for "each" of the channels. Their readings may go on side by side. A source that can be read
    only once is first copied to a temporary file.
    """
    reader = AudioReader(source, options)
    if reader.is_stream:
        spool = _Spool(reader, allow_empty)
        return [partial(spool.blocks, i) for i in range(spool.n_channels)]
    read = partial(reader.blocks, allow_empty=allow_empty)
    if options.channel != EACH:
        return [read]
    return [partial(read, channel=i) for i in range(reader.count_channels())]


@contextmanager
def _temporary() -> Iterator[IO[bytes]]:
    """Make a temporary file, which is closed where it cannot be filled."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as what reads it
    try:
        yield file
    except BaseException:
        file.close()
        raise


class _Spool:
    """The samples of a stream in a temporary file, which is closed when nobody can read them any more."""

    def __init__(self, reader: AudioReader, allow_empty: bool) -> None:
        self.n_channels = 1
        with _temporary() as self._file:
            for block in reader.blocks(allow_empty=allow_empty):
                self.n_channels = 1 if block.ndim == 1 else block.shape[1]
                self._file.write(block.tobytes())
        weakref.finalize(self, self._file.close)

    def blocks(self, channel: int) -> Iterator[FloatArray]:
        position, size = 0, 4 * self.n_channels * (SPOOL_SAMPLES // self.n_channels)
        while True:
            self._file.seek(position)  # another channel may have been read since
            data = self._file.read(size)
            if not data:
                return
            position += len(data)
            yield np.frombuffer(data, np.float32)[channel :: self.n_channels]


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
