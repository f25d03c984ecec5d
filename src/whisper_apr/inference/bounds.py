"""Hold segments and words in order, without overlap, and within the sound. All times are in seconds."""

from collections.abc import Sequence
from math import inf

from .record import changed
from .results import Segment, Word


def clear_segment(segment: Segment, at: float) -> Segment:
    """Return the segment without text, tokens and words, starting and ending at `at`."""
    return changed(segment, start=at, end=at, text="", tokens=[], words=None if segment.words is None else [])


def clamp_segments(segments: Sequence[Segment], low: float, high: float) -> list[Segment]:
    """Return segments without words, clamped to `low` ... `high`, each starting after the one before it ends.

    A segment that starts at `high` or later is cleared. Segments without text take no time.
    """
    clamped: list[Segment] = []
    for segment in segments:
        if segment.start >= high or not segment.text.strip():
            clamped.append(clear_segment(segment, low))
            continue
        start = min(max(segment.start, low), high)
        low = min(max(segment.end, start), high)
        clamped.append(changed(segment, start=start, end=low))
    return clamped


def clamp_words(words: Sequence[Word], low: float, high: float = inf) -> list[Word]:
    """Return words clamped to `low` ... `high`, each starting after the one before it ends."""
    clamped: list[Word] = []
    for word in words:
        start = min(max(word.start, low), high)
        low = min(max(word.end, start), high)
        clamped.append(changed(word, start=start, end=low))
    return clamped


def clamp_timed_segments(segments: Sequence[Segment], low: float, high: float) -> list[Segment]:
    """Return segments with words, clamped to `low` ... `high`; a segment starts and ends with its words."""
    clamped: list[Segment] = []
    for segment in segments:
        if segment.words:
            words = clamp_words(segment.words, low, high)
            low = words[-1].end
            clamped.append(changed(segment, words=words, start=words[0].start, end=low))
        else:
            clamped += clamp_segments([segment], low, high)
            low = clamped[-1].end
    return clamped
