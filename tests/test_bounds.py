"""Segments and words are clamped in order and within the recording; valid times do not change."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.inference.bounds import clamp_segments, clamp_words
from whisper_apr.inference.results import Segment, Word

seconds = st.floats(0, 40)


def segment(start: float, end: float, text: str = " a", tokens: tuple[int, ...] = (1,)) -> Segment:
    return Segment(0, 0, start, end, text, tokens, 0.0, 0.0, 1.0, 0.0)


@given(st.lists(st.tuples(seconds, seconds, st.sampled_from([" a", "", " "])), max_size=6), seconds, seconds)
def test_segments_are_in_order_and_within_bounds(parts, low, length):
    high = low + length
    given_ = [segment(*part) for part in parts]
    clamped = clamp_segments(given_, low, high)
    points = [low, *(time for each in clamped for time in (each.start, each.end)), high]
    assert points == sorted(points)
    for before, after in zip(given_, clamped, strict=True):
        is_kept = before.start < high and before.text.strip()
        assert (after.text, after.tokens) == ((before.text, before.tokens) if is_kept else ("", []))


@given(st.lists(seconds, min_size=2, max_size=9, unique=True))
def test_valid_segments_do_not_change(times):
    times = sorted(times)
    given_ = [segment(start, end) for start, end in pairwise(times)]
    assert clamp_segments(given_, times[0], times[-1] + 1) == given_


def test_segments_after_the_end_are_cleared():
    before, at = segment(3.0, 4.0), segment(3.96, 4.4)
    assert [(s.start, s.end, s.text) for s in clamp_segments([before, at], 0.0, 3.96)] == [
        (3.0, 3.96, " a"),
        (3.96, 3.96, ""),
    ]


@given(st.lists(st.tuples(seconds, seconds), max_size=8), seconds)
def test_words_are_in_order_after_the_bound(parts, low):
    words = clamp_words([Word(" a", start, end, 0.5) for start, end in parts], low)
    points = [low, *(time for word in words for time in (word.start, word.end))]
    assert points == sorted(points)
    assert len(words) == len(parts)
