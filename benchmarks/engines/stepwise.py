"""Base of the engines that only run a network: search in NumPy, log-mel spectrogram of faster-whisper."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor

from engines import END, PROMPT

# logits (rows, n_vocab) -> next tokens (rows, 1), and the rows that they continue (None: each its own)
Update = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]


class Stepwise(ABC):
    def __init__(self) -> None:
        self.extractor = FeatureExtractor()

    def mel(self, audio):
        return np.ascontiguousarray(self.extractor(audio)[:, :3000], np.float32)

    @abstractmethod
    def _steps(self, features, n: int, rows: int, update: Update) -> Iterator[np.ndarray]:
        """Yield the tokens of each step, (rows, 1)."""

    def greedy(self, features, n: int) -> list[int]:
        return [int(step[0, 0]) for step in self._steps(features, n, 1, lambda x: (x.argmax(axis=-1)[:, None], None))]

    def beam(self, features, n: int, size: int) -> None:
        sums = np.zeros(size, np.float32)

        def update(logits):
            top = logits.max(axis=-1, keepdims=True)
            scores = logits - top - np.log(np.exp(logits - top).sum(axis=-1, keepdims=True)) + sums[:, None]
            best = np.argpartition(-scores.ravel(), size)[:size]
            sums[:] = scores.ravel()[best]
            return best[:, None] % logits.shape[1], best // logits.shape[1]

        for _ in self._steps(features, n, size, update):
            pass


def prompt(rows: int) -> np.ndarray:
    return np.array([PROMPT] * rows)


def without_end(logits: np.ndarray) -> np.ndarray:
    """Return a copy with END suppressed."""
    logits = logits.copy()
    logits[:, END] = -np.inf
    return logits
