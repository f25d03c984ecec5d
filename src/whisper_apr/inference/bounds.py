"""Segments and words whose times are in order, without overlap, and within the sound."""

from collections.abc import Sequence
from dataclasses import replace

from .results import Segment, Word


def emptied(segment: Segment, at: float) -> Segment:
    """Return the segment without its text, at one moment."""
    return replace(segment, start=at, end=at, text="", tokens=(), words=None if segment.words is None else ())


def clamp_segments(segments: Sequence[Segment], low: float, high: float) -> list[Segment]:
    """Hold segments between `low` and `high` (seconds), each behind the one before it.

    What begins at `high` or later is emptied: nothing sounds there. Segments without text take no time.
    """
    clamped: list[Segment] = []
    for segment in segments:
        if segment.start >= high or not segment.text.strip():
            clamped.append(emptied(segment, low))
            continue
        start = min(max(segment.start, low), high)
        low = min(max(segment.end, start), high)
        clamped.append(replace(segment, start=start, end=low))
    return clamped


def clamp_words(words: Sequence[Word], low: float) -> list[Word]:
    """Hold words behind `low` (seconds), each behind the one before it."""
    clamped: list[Word] = []
    for word in words:
        start = max(word.start, low)
        low = max(word.end, start)
        clamped.append(replace(word, start=start, end=low))
    return clamped
