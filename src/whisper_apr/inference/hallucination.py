"""Text that was probably hallucinated over silence, recognized by improbable, very short or very long words.

The rules and constants are those of `hallucination_silence_threshold` in openai-whisper's transcribe.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..audio import CHUNK_LENGTH
from .options import APPENDED, PREPENDED
from .results import Segment, Word

PUNCTUATION = PREPENDED + APPENDED
MAX_WORDS = 8  # words of a segment that are scored
MIN_PROBABILITY = 0.15
MIN_DURATION, MAX_DURATION = 0.133, 2.0  # seconds of a normal word


def _word_anomaly_score(word: Word) -> float:
    duration = word.end - word.start
    return (
        (word.probability < MIN_PROBABILITY)
        + max(0.0, MIN_DURATION - duration) * 15
        + max(0.0, duration - MAX_DURATION)
    )


def is_anomalous(segment: Segment | None) -> bool:
    """Return whether a segment's words look hallucinated. A segment without words does not."""
    if segment is None or not segment.words:
        return False
    words = [word for word in segment.words if word.word not in PUNCTUATION][:MAX_WORDS]
    score = sum(map(_word_anomaly_score, words))
    return score >= 3 or score + 0.01 >= len(words)


def _first_with_words(segments: Sequence[Segment]) -> Segment | None:
    return next((segment for segment in segments if segment.words), None)


@dataclass(frozen=True)
class FilteredSegments:
    """A window's segments without those that were probably hallucinated."""

    segments: list[Segment]
    seek: float | None = None  # seconds of the recording at which the next window starts; None: unchanged
    is_rejected: bool = False  # all text is dropped, and the window is decoded again from `seek`


def filter_hallucinations(
    segments: list[Segment],
    start: float,
    duration: float,
    previous_end: float,
    recording_end: float,
    threshold: float,
    chunk_length: float = CHUNK_LENGTH,
) -> FilteredSegments:
    """Drop a window's segments from the first that was probably hallucinated.

    All times are in seconds of the recording.

    Args:
        segments: The window's, with words.
        start: Start of the window.
        duration: Of the window.
        previous_end: End of the last word before the window.
        recording_end: End of the recording.
        threshold: The silence that must surround text for it to count as hallucinated.
        chunk_length: Longest duration of a window.
    """
    window_end = start + chunk_length
    first = _first_with_words(segments)
    if first is not None and is_anomalous(first) and first.start - start > threshold:
        return FilteredSegments([], first.start, is_rejected=True)  # skip the leading silence and decode again
    before = previous_end
    for i, segment in enumerate(segments):
        if not segment.words:
            continue
        if is_anomalous(segment):
            following = _first_with_words(segments[i + 1 :])
            next_start = following.words[0].start if following and following.words else start + duration
            silence_before = (
                segment.start - before > threshold or segment.start < threshold or segment.start - start < 2.0
            )
            silence_after = (
                next_start - segment.end > threshold or is_anomalous(following) or window_end - segment.end < 2.0
            )
            if silence_before and silence_after:
                at_end = recording_end - segment.end < threshold
                return FilteredSegments(segments[:i], recording_end if at_end else max(start + 1, segment.start))
        before = segment.end
    return FilteredSegments(segments)
