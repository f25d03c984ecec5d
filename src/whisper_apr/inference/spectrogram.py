"""The log-mel spectrogram of a recording, computed in blocks as its windows are asked for."""

from collections.abc import Callable, Iterator

import numpy as np

from .. import simd
from ..audio import HOP_LENGTH, N_FRAMES, N_SAMPLES, SAMPLE_RATE, MelStream, normalize_log_mel
from ..errors import AudioError
from .audio_source import Blocks

FloatArray = simd.FloatArray

KEPT_FRAMES = 12_000  # two minutes: what a spectrogram keeps of its first pass, so that short recordings are read once
MAX_BLOCK = 10 * SAMPLE_RATE  # samples whose spectrogram is computed at once


class Spectrogram:
    """The log-mel of a recording and 30 s of zeros after it, as `log_mel_spectrogram` gives it of the whole.

    The first reading finds its length and its maximum, to which every window is held. Windows are best asked for in their order: what
    lies before one that was asked for is forgotten, and read again from the beginning where it is wanted.
    """

    def __init__(self, blocks: Blocks, n_mels: int, check_cancelled: Callable[[], None] = lambda: None) -> None:
        self.n_mels = n_mels
        self._blocks = blocks
        self._stream: Iterator[FloatArray] = iter(())
        self._kept: list[FloatArray] = []  # frames from number _first on
        self._first = self._end = 0
        self.n_samples, self._maximum, whole = 0, -np.inf, True
        for frames in self._read(count=True):
            check_cancelled()
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
        return normalize_log_mel(np.concatenate(self._kept, axis=1)[:, offset : offset + size], self._maximum)
