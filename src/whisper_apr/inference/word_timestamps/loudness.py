"""Where the sound of words begins and ends, by the loudness of their window.

Attention says roughly when a word is written of, not when its sound begins: between two words it jumps as soon as the first is over. So
each border between words is moved to the dip in loudness beside it, and where that dip is a pause, the one word ends where it begins
and the other begins where it ends. Before a segment's first word and after its last one, what is not loud is left out.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ... import simd
from .alignment import POSITIONS_PER_SECOND, WordTiming
from .rebalance import FRAMES_PER_SECOND, divide, letters

FloatArray = simd.FloatArray
Times = npt.NDArray[np.float64]

SMOOTH = 3  # frames that loudness is averaged over
BEFORE, AFTER = 0.15, 0.25  # seconds around a border in which its dip may lie: attention is rather early than late
DISTANCE = 0.4  # how much less loud a dip must be for each second that it is away: log-mel, of which 1 is 40 dB
PAUSE = 0.2  # of the way from the quietest to the word's loudest: less is not the word
# What follows a text that stopped: found on real recordings. Where all was in the text, at most 0.12 s of what followed were so loud,
# but for a last word that went on for 0.36 s; where a word was missing, 0.23 s.
SPEECH = 0.5  # of the way from the quietest to the words' median
SHORTEST_SPEECH = 0.15  # seconds that must be as loud
OUTLASTING = 0.35  # seconds that a word may sound on at most, behind where attention has its end
BREAK = 0.05  # seconds of quiet after which what sounds is another word
CLOSURE = 0.15  # seconds of quiet that a word may have in it: the closure of a consonant


class Loudness:
    """The loudness of a window, every 10 ms, by its log-mel `(n_mels, n_frame)`."""

    def __init__(self, mel: FloatArray) -> None:
        level = np.pad(mel.mean(axis=0), SMOOTH // 2, mode="edge")
        self.level = np.convolve(level, np.full(SMOOTH, 1 / SMOOTH), mode="valid")

    def divide(self, words: list[str], listening: FloatArray, times: Times, low: float, high: float) -> Times:
        """Times `(n_word + 1,)` of the words' borders between `low` and `high` seconds, by attention alone -> by the sound too.

        listening is `(n_word, n_position)`, from `low` on.
        """
        first, last = round(low * FRAMES_PER_SECOND), min(round(high * FRAMES_PER_SECOND), len(self.level))
        stretch = FRAMES_PER_SECOND // POSITIONS_PER_SECOND
        frames = np.repeat(listening / np.float32(stretch), stretch, axis=1)[:, : max(0, last - first)]
        if (n := frames.shape[1]) < 2:
            return times
        borders = np.clip(np.round((times - low) * FRAMES_PER_SECOND), 0, n).astype(np.int64)
        borders[0], borders[-1] = 0, n
        sizes = np.array([letters(word) for word in words])
        return low + divide(frames, sizes, self.level[first : first + n], borders) / FRAMES_PER_SECOND

    def refine(self, words: list[WordTiming], low: float, high: float) -> list[WordTiming]:
        """Words of one segment, which lies between `low` and `high` seconds, with times that follow the sound. They stay in order."""
        first, last = round(low * FRAMES_PER_SECOND), min(round(high * FRAMES_PER_SECOND), len(self.level))
        if last - first < 2:
            return words
        borders = [round(word.start * FRAMES_PER_SECOND) for word in words] + [last]
        borders = np.clip(np.maximum.accumulate(borders), first, last).tolist()
        floor = float(np.quantile(self.level[first:last], 0.05))
        loudest = [a + int(np.argmax(self.level[a:b])) if b > a else min(a, last - 1) for a, b in pairwise(borders)]
        starts, ends = [self._backwards(loudest[0], first, floor)], []
        for border, a, b in zip(borders[1:-1], loudest, loudest[1:], strict=False):
            end, start = self._border(border, a, b)
            ends.append(end)
            starts.append(start)
        ends.append(self._forwards(loudest[-1], last, floor))
        out, done = [], low
        for word, begin, end in zip(words, starts, ends, strict=True):
            onset = max(done, begin / FRAMES_PER_SECOND)
            done = max(onset, end / FRAMES_PER_SECOND)
            out.append(replace(word, start=onset, end=done))
        return out

    def dip(self, seconds: float) -> float:
        """Return the time of the dip around a border at which the sound goes on."""
        border = min(round(seconds * FRAMES_PER_SECOND), len(self.level) - 1)
        begin, end = self._around(border, 0, len(self.level) - 1)
        return self._dip(border, begin, end) / FRAMES_PER_SECOND

    def has_speech_after(self, words: Sequence[tuple[int, int]], frame: int, is_last: bool) -> bool:
        """Whether enough of the frames from number `frame` on are about as loud as those of the words, (first, last + 1) each.

        `is_last`: no sound follows this window's. Then the last word may itself be what sounds on behind `frame`.
        """
        sound = np.concatenate([self.level[first:last] for first, last in words])
        if not len(sound):
            return False
        floor, usual = float(np.quantile(self.level, 0.05)), float(np.median(sound))
        level = self.level[frame:]
        if is_last:
            sounding = np.flatnonzero(level >= floor + PAUSE * (usual - floor))
            edges = np.concatenate([[-1], sounding, [len(level)]])
            gaps = np.flatnonzero(np.diff(edges) > BREAK * FRAMES_PER_SECOND)
            until = int(edges[gaps[0]]) + 1 if len(gaps) else len(level)
            level = level[min(until, round(OUTLASTING * FRAMES_PER_SECOND)) :]
        return int((level >= floor + SPEECH * (usual - floor)).sum()) >= SHORTEST_SPEECH * FRAMES_PER_SECOND

    def _threshold(self, peak: int, floor: float) -> float:
        loudest = float(self.level[peak])
        return min(loudest, floor + PAUSE * (loudest - floor))

    def _backwards(self, peak: int, first: int, floor: float) -> int:
        """Where the sound around the loudest frame begins, `first` at the earliest."""
        loud = np.flatnonzero(self.level[first : peak + 1] >= self._threshold(peak, floor)) + first
        gaps = np.flatnonzero(np.diff(loud) > CLOSURE * FRAMES_PER_SECOND)
        return int(loud[gaps[-1] + 1] if len(gaps) else loud[0])

    def _forwards(self, peak: int, last: int, floor: float) -> int:
        """Where it ends, `last` at the latest."""
        loud = np.flatnonzero(self.level[peak:last] >= self._threshold(peak, floor)) + peak
        gaps = np.flatnonzero(np.diff(loud) > CLOSURE * FRAMES_PER_SECOND)
        return int(loud[gaps[0]] if len(gaps) else loud[-1]) + 1

    def _border(self, border: int, a: int, b: int) -> tuple[int, int]:
        """The end of the word whose loudest frame is `a` and the start of the one whose is `b`."""
        begin, end = self._around(border, a, b)
        if end <= begin:
            return border, border
        dip = self._dip(border, begin, end)
        left, right = self._threshold(a, self.level[dip]), self._threshold(b, self.level[dip])
        before = np.flatnonzero(self.level[a : dip + 1] >= left)
        after = np.flatnonzero(self.level[dip : b + 1] >= right)
        return (a + int(before[-1]) + 1 if len(before) else dip), (dip + int(after[0]) if len(after) else dip)

    def _around(self, border: int, first: int, last: int) -> tuple[int, int]:
        """Return the first and the last frame, of those from `first` to `last`, in which a border's dip may lie."""
        before, after = round(BEFORE * FRAMES_PER_SECOND), round(AFTER * FRAMES_PER_SECOND)
        return max(first, border - before), min(last, border + after)

    def _dip(self, border: int, begin: int, end: int) -> int:
        away = np.abs(np.arange(begin, end + 1) - border) / FRAMES_PER_SECOND
        return begin + int(np.argmin(self.level[begin : end + 1] + DISTANCE * away))
