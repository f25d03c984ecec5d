"""Segments that are probably invented over silence: told by their words, which are improbable, or far too short or too long.

The rules and figures are openai-whisper's for `hallucination_silence_threshold`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..audio import CHUNK_LENGTH
from .options import APPENDED, PREPENDED
from .results import Segment, Word

PUNCTUATION = PREPENDED + APPENDED
WORDS_LOOKED_AT = 8
IMPROBABLE = 0.15
SHORT, LONG = 0.133, 2.0  # seconds of a word


def _strangeness(word: Word) -> float:
    duration = word.end - word.start
    return (word.probability < IMPROBABLE) + max(0.0, SHORT - duration) * 15 + max(0.0, duration - LONG)


def is_strange(segment: Segment | None) -> bool:
    if segment is None or not segment.words:
        return False
    words = [word for word in segment.words if word.word not in PUNCTUATION][:WORDS_LOOKED_AT]
    score = sum(map(_strangeness, words))
    return score >= 3 or score + 0.01 >= len(words)


def _with_words(segments: Sequence[Segment]) -> Segment | None:
    return next((segment for segment in segments if segment.words), None)


@dataclass(frozen=True)
class Kept:
    """What is kept of a window's segments."""

    segments: list[Segment]
    seek: float | None = None  # seconds of the recording at which the next window begins; None: where it would anyway
    is_rejected: bool = False  # the window's whole text is discarded, as if it had not been decoded


def without_hallucinations(
    segments: list[Segment], start: float, duration: float, last_speech: float, end: float, threshold: float
) -> Kept:
    """Drop the segments of a window from the first that is probably invented.

    Arguments, all in seconds: `start` and `duration` of the window, `last_speech` the end of the last word before it, `end` that of the
    recording, `threshold` the silence that must surround invented text.
    """
    window_end = start + CHUNK_LENGTH
    first = _with_words(segments)
    if first is not None and is_strange(first) and first.start - start > threshold:
        return Kept([], first.start, is_rejected=True)  # decoded again, from where it begins
    before = last_speech
    for i, segment in enumerate(segments):
        if not segment.words:
            continue
        if is_strange(segment):
            following = _with_words(segments[i + 1 :])
            next_start = following.words[0].start if following and following.words else start + duration
            silent_before = (
                segment.start - before > threshold or segment.start < threshold or segment.start - start < 2.0
            )
            silent_after = (
                next_start - segment.end > threshold or is_strange(following) or window_end - segment.end < 2.0
            )
            if silent_before and silent_after:
                return Kept(segments[:i], end if end - segment.end < threshold else max(start + 1, segment.start))
        before = segment.end
    return Kept(segments)
