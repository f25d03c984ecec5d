"""Where the sound of words begins and ends, by the loudness of their window."""

from .. import simd
from .timing import WordTiming

FloatArray = simd.FloatArray

FRAMES_PER_SECOND = 100


class Loudness:
    """The loudness of a window, every 10 ms, by its log-mel `(n_mels, n_frame)`."""

    def __init__(self, mel: FloatArray) -> None:
        self.level = mel.mean(axis=0)

    def refine(self, words: list[WordTiming], low: float, high: float) -> list[WordTiming]:
        return words
