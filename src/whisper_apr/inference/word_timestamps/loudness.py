"""Move word boundaries to where the sound starts and ends, by the loudness of the window.

Attention finds roughly when a word is spoken, but not when its sound starts: between two words it jumps as soon as the
first is over. So each boundary between words is moved to the quietest point near it, and if that is a pause, the first
word ends where the pause starts and the second starts where the pause ends. Quiet before a segment's first word and
after its last is excluded.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ... import simd
from ...audio import FRAMES_PER_SECOND
from .alignment import POSITIONS_PER_SECOND, WordTiming
from .rebalance import count_letters, rebalance_boundaries

FloatArray = simd.FloatArray
Times = npt.NDArray[np.float64]

SMOOTHING = 3  # frames of the moving average of the loudness
SEARCHED = 0.1  # seconds before and after a boundary that are searched
DISTANCE_COST = 0.4  # loudness that a point must be lower by for each second of distance; in log-mel, 1 is 40 dB
WORD_LEVEL = (
    0.2  # fraction of the way from the quietest to the word's loudest frame below which a frame is not the word
)
# Speech after a text that may be incomplete, tuned on real recordings. Where the text was complete, at most 0.12 s of
# the sound after it reached SPEECH_LEVEL, except for a last word that lasted 0.36 s longer; where a word was missing,
# 0.23 s.
SPEECH_LEVEL = 0.5  # fraction of the way from the quietest frame to the median of the words
MIN_SPEECH = 0.15  # seconds that must reach it
MAX_OVERRUN = 0.35  # seconds that a word may last beyond the end that attention gives it
WORD_GAP = 0.05  # seconds of quiet after which sound belongs to another word
CLOSURE = 0.15  # seconds of quiet within a word: the closure of a consonant


class Loudness:
    """The loudness of a window, for each frame of 10 ms: the mean over the bands of its log-mel `(n_mels, n_frame)`."""

    def __init__(self, mel: FloatArray) -> None:
        level = np.pad(mel.mean(axis=0), SMOOTHING // 2, mode="edge")
        self.level = np.convolve(level, np.full(SMOOTHING, 1 / SMOOTHING), mode="valid")

    def rebalance(self, words: list[str], attention: FloatArray, times: Times, low: float, high: float) -> Times:
        """Return the words' boundaries `(n_word + 1,)` between `low` and `high` seconds, adjusted to the sound.

        Args:
            words: Of one segment.
            attention: `(n_word, n_position)`, from `low` on.
            times: The boundaries by attention alone, in seconds.
            low: Start of the segment, in seconds of the window.
            high: Its end.
        """
        first, last = round(low * FRAMES_PER_SECOND), min(round(high * FRAMES_PER_SECOND), len(self.level))
        frames_per_position = FRAMES_PER_SECOND // POSITIONS_PER_SECOND
        per_frame = np.repeat(attention / np.float32(frames_per_position), frames_per_position, axis=1)
        per_frame = per_frame[:, : max(0, last - first)]
        if (n := per_frame.shape[1]) < 2:
            return times
        boundaries = np.clip(np.round((times - low) * FRAMES_PER_SECOND), 0, n).astype(np.int64)
        boundaries[0], boundaries[-1] = 0, n
        letters = np.array([count_letters(word) for word in words])
        rebalanced = rebalance_boundaries(per_frame, letters, self.level[first : first + n], boundaries)
        return low + rebalanced / FRAMES_PER_SECOND

    def refine(self, words: list[WordTiming], low: float, high: float) -> list[WordTiming]:
        """Return a segment's words, between `low` and `high` seconds, in order, with times that follow the sound."""
        first, last = round(low * FRAMES_PER_SECOND), min(round(high * FRAMES_PER_SECOND), len(self.level))
        if last - first < 2:
            return words
        boundaries = [round(word.start * FRAMES_PER_SECOND) for word in words] + [last]
        boundaries = np.clip(np.maximum.accumulate(boundaries), first, last).tolist()
        floor = float(np.quantile(self.level[first:last], 0.05))
        peaks = [a + int(np.argmax(self.level[a:b])) if b > a else min(a, last - 1) for a, b in pairwise(boundaries)]
        starts, ends = [self._onset(peaks[0], first, floor)], []
        for boundary, left, right in zip(boundaries[1:-1], peaks, peaks[1:], strict=False):
            end, start = self._split(boundary, left, right)
            ends.append(end)
            starts.append(start)
        ends.append(self._offset(peaks[-1], last, floor))
        refined, done = [], low
        for word, start, end in zip(words, starts, ends, strict=True):
            begin = max(done, start / FRAMES_PER_SECOND)
            done = max(begin, end / FRAMES_PER_SECOND)
            refined.append(replace(word, start=begin, end=done))
        return refined

    def quietest_time(self, seconds: float) -> float:
        """Return the time of the quietest point near a boundary, in seconds of the window."""
        boundary = min(round(seconds * FRAMES_PER_SECOND), len(self.level) - 1)
        begin, end = self._search_range(boundary, 0, len(self.level) - 1)
        return self._quietest(boundary, begin, end) / FRAMES_PER_SECOND

    def has_speech_after(self, words: Sequence[tuple[int, int]], frame: int, is_last: bool) -> bool:
        """Return whether the sound from `frame` on is about as loud as the words for long enough to be speech.

        Args:
            words: First frame and end frame of each.
            frame: The first one to examine.
            is_last: No sound follows the window. Then the sound at `frame` may still be the last word.
        """
        spoken = np.concatenate([self.level[first:last] for first, last in words])
        if not len(spoken):
            return False
        floor, usual = float(np.quantile(self.level, 0.05)), float(np.median(spoken))
        level = self.level[frame:]
        if is_last:
            loud = np.flatnonzero(level >= floor + WORD_LEVEL * (usual - floor))
            edges = np.concatenate([[-1], loud, [len(level)]])
            gaps = np.flatnonzero(np.diff(edges) > WORD_GAP * FRAMES_PER_SECOND)
            word_end = int(edges[gaps[0]]) + 1 if len(gaps) else len(level)
            level = level[min(word_end, round(MAX_OVERRUN * FRAMES_PER_SECOND)) :]
        return int((level >= floor + SPEECH_LEVEL * (usual - floor)).sum()) >= MIN_SPEECH * FRAMES_PER_SECOND

    def _threshold(self, peak: int, floor: float) -> float:
        loudest = float(self.level[peak])
        return min(loudest, floor + WORD_LEVEL * (loudest - floor))

    def _onset(self, peak: int, first: int, floor: float) -> int:
        """Return the frame, from `first` on, at which the sound around `peak` starts."""
        loud = np.flatnonzero(self.level[first : peak + 1] >= self._threshold(peak, floor)) + first
        gaps = np.flatnonzero(np.diff(loud) > CLOSURE * FRAMES_PER_SECOND)
        return int(loud[gaps[-1] + 1] if len(gaps) else loud[0])

    def _offset(self, peak: int, last: int, floor: float) -> int:
        """Return the frame, up to `last`, at which the sound around `peak` ends."""
        loud = np.flatnonzero(self.level[peak:last] >= self._threshold(peak, floor)) + peak
        gaps = np.flatnonzero(np.diff(loud) > CLOSURE * FRAMES_PER_SECOND)
        return int(loud[gaps[0]] if len(gaps) else loud[-1]) + 1

    def _split(self, boundary: int, left: int, right: int) -> tuple[int, int]:
        """Return the end of the word with its peak at `left` and the start of the word with its peak at `right`."""
        begin, end = self._search_range(boundary, left, right)
        if end <= begin:
            return boundary, boundary
        dip = self._quietest(boundary, begin, end)
        before = np.flatnonzero(self.level[left : dip + 1] >= self._threshold(left, self.level[dip]))
        after = np.flatnonzero(self.level[dip : right + 1] >= self._threshold(right, self.level[dip]))
        return (left + int(before[-1]) + 1 if len(before) else dip), (dip + int(after[0]) if len(after) else dip)

    def _search_range(self, boundary: int, first: int, last: int) -> tuple[int, int]:
        """Return the first and the last frame to search around a boundary, within `first` ... `last`."""
        n = round(SEARCHED * FRAMES_PER_SECOND)
        return max(first, boundary - n), min(last, boundary + n)

    def _quietest(self, boundary: int, begin: int, end: int) -> int:
        distance = np.abs(np.arange(begin, end + 1) - boundary) / FRAMES_PER_SECOND
        return begin + int(np.argmin(self.level[begin : end + 1] + DISTANCE_COST * distance))
