"""Invariants of the times in every transcription, for any options."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from whisper_apr.inference.results import Segment, Word

ROUNDING = 1e-6  # seconds; times are sums of floats


def check_words(words: Iterable[Word], low: float, high: float) -> None:
    """Check that words are in order, do not overlap, and lie between `low` and `high` seconds."""
    points = [low, *(time for word in words for time in (word.start, word.end)), high]
    assert all(a <= b + ROUNDING for a, b in pairwise(points)), points


def check_segments(
    segments: Sequence[Segment], duration: float, first_id: int = 0, *, words_are_the_text: bool = True
) -> None:
    """Check the segments of one recording of `duration` seconds, or of one clip of it.

    With `word_timing="openai"`, a word that spans two segments belongs to one of them, and the words of a segment need
    not add up to its text: pass `words_are_the_text=False`.
    """
    assert [segment.id for segment in segments] == list(range(first_id, first_id + len(segments)))
    points = [0.0, *(time for segment in segments for time in (segment.start, segment.end)), duration]
    assert all(a <= b + ROUNDING for a, b in pairwise(points)), points
    assert [segment.seek for segment in segments] == sorted(segment.seek for segment in segments)
    for segment in segments:
        assert 0 <= segment.seek / 100 <= segment.start + 0.01  # seek is a whole number of frames
        assert bool(segment.tokens) >= bool(segment.text)
        if segment.words is None:
            continue
        if words_are_the_text:
            assert "".join(word.word for word in segment.words) == segment.text
        check_words(segment.words, segment.start, segment.end)
        if segment.words:
            assert (segment.words[0].start, segment.words[-1].end) == (segment.start, segment.end)
