"""The log-mel spectrogram of a recording, computed in blocks while its windows are read."""

from collections.abc import Callable, Iterator

import numpy as np

from .. import simd
from ..audio import HOP_LENGTH, N_FRAMES, N_SAMPLES, SAMPLE_RATE, MelStream, normalize_log_mel
from ..errors import AudioError
from .audio_source import Blocks

FloatArray = simd.FloatArray

KEPT_FRAMES = 12_000  # two minutes: recordings up to this long are kept from the first pass and read only once
MAX_BLOCK = 10 * SAMPLE_RATE  # samples whose spectrogram is computed at a time


class Spectrogram:
    """The log-mel spectrogram of a recording with 30 s of silence after it, as `log_mel_spectrogram` computes it.

    A first pass over the recording, in the constructor, finds its length and its maximum, which the dynamic range of
    every frame is limited by. Frames are then read forward by `read`, which starts another pass to go back.
    """

    def __init__(self, blocks: Blocks, n_mels: int, check_cancelled: Callable[[], object] = lambda: None) -> None:
        """Make a spectrogram.

        Args:
            blocks: Returns the recording's samples, mono at 16 kHz, from the beginning at each call.
            n_mels: Mel bands, 80 or 128.
            check_cancelled: Called for each block of the first pass; an exception that it raises is passed on.
        """
        self.n_mels = n_mels
        self._blocks = blocks
        self._stream: Iterator[tuple[FloatArray, int]] = iter(())
        self._kept: list[FloatArray] = []  # frames _first to _end
        self._first = self._end = 0
        self.n_samples, self._maximum, is_whole = 0, -np.inf, True
        for frames, n_sample in _one_pass(blocks, n_mels):
            check_cancelled()
            self.n_samples += n_sample
            self._maximum = max(self._maximum, float(frames.max(initial=-np.inf)))
            self._keep(frames)
            if self._end > KEPT_FRAMES + N_FRAMES:
                self._kept, self._first, is_whole = [], self._end, False
        self.content_frames = self.n_samples // HOP_LENGTH
        if not is_whole:
            self._restart()

    @property
    def duration(self) -> float:
        """Seconds of the recording."""
        return self.n_samples / SAMPLE_RATE

    def read(self, start: int, size: int) -> FloatArray:
        """Return frames `start` to `start + size`, `(n_mels, size)`, and discard those before `start`.

        Fewer frames are returned beyond the 30 s after the recording. A `start` before one read earlier costs another
        pass over the recording, unless the recording was short enough to be kept.

        Raises:
            AudioError: The recording ended earlier than in the first pass.
        """
        self._seek(start)
        self._read_until(start, start + size)
        if not self._kept:
            return np.zeros((self.n_mels, 0), np.float32)
        offset = start - self._first
        return normalize_log_mel(np.concatenate(self._kept, axis=1)[:, offset : offset + size], self._maximum)

    def _keep(self, frames: FloatArray) -> None:
        self._kept.append(frames)
        self._end += frames.shape[1]

    def _restart(self) -> None:
        self._stream, self._kept, self._first, self._end = _one_pass(self._blocks, self.n_mels), [], 0, 0

    def _seek(self, start: int) -> None:
        """Discard the blocks that end before frame `start`, or start another pass if it has been discarded itself."""
        if start < self._first:
            self._restart()
        while self._kept and self._first + self._kept[0].shape[1] <= start:
            self._first += self._kept.pop(0).shape[1]

    def _read_until(self, start: int, end: int) -> None:
        """Keep the blocks with frames `start` to `end - 1`, or to the end of the recording."""
        while self._end < end:
            frames, _ = next(self._stream, (None, 0))
            if frames is None and self._end < self.content_frames:
                raise AudioError(
                    "the recording became shorter while it was read; do not write to a file during its transcription"
                )
            if frames is None:
                return
            self._keep(frames)
            if self._end <= start:
                self._kept, self._first = [], self._end


def _one_pass(blocks: Blocks, n_mels: int) -> Iterator[tuple[FloatArray, int]]:
    """Yield frames without the limit on their dynamic range, and how many samples were read for them.

    It is no method, since it would refer to the spectrogram that refers to it: a recording that is not read to its end
    would be in memory until the garbage collector runs.
    """
    mel = MelStream(n_mels)
    for block in blocks():
        for at in range(0, len(block), MAX_BLOCK):
            part = block[at : at + MAX_BLOCK]
            yield mel.push(part), len(part)
    yield mel.finish(N_SAMPLES), 0
