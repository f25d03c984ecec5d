"""Hallucinated segments: recognized by their words, dropped, and the seek after them."""

from whisper_apr.inference.hallucination import FilteredSegments, filter_hallucinations, is_anomalous
from whisper_apr.inference.results import Segment, Word


def segment(start: float, *words: tuple[float, float, float]) -> Segment:
    """Return a segment of words, each (start, end, probability)."""
    found = tuple(Word(f" {i}", *word) for i, word in enumerate(words))
    end = found[-1].end if found else start
    text = "".join(word.word for word in found)
    return Segment(0, 0, found[0].start if found else start, end, text, (1,), 0.0, 0.0, 1.0, 0.0, found)


NORMAL = segment(1.0, (1.0, 1.4, 0.9), (1.5, 2.0, 0.8))
HALLUCINATED = segment(20.0, (20.0, 20.01, 0.01))


def test_anomalous():
    assert is_anomalous(HALLUCINATED)
    assert not is_anomalous(NORMAL)
    assert not is_anomalous(None)
    assert not is_anomalous(segment(3.0))


def test_normal_segments_are_kept():
    assert filter_hallucinations([NORMAL], 0.0, 30.0, 0.0, 60.0, 1.0) == FilteredSegments([NORMAL])


def test_leading_silence_is_skipped_and_the_window_decoded_again():
    kept = filter_hallucinations([HALLUCINATED, NORMAL], 10.0, 30.0, 9.0, 60.0, 1.0)
    assert kept == FilteredSegments([], 20.0, is_rejected=True)


def test_text_between_silences_is_dropped():
    kept = filter_hallucinations([NORMAL, HALLUCINATED], 0.0, 30.0, 0.0, 60.0, 1.0)
    assert kept == FilteredSegments([NORMAL], 20.0)


def test_text_at_the_end_of_the_recording_is_dropped():
    last = segment(29.0, (29.0, 29.01, 0.01))
    assert filter_hallucinations([NORMAL, last], 0.0, 29.9, 0.0, 29.9, 1.0) == FilteredSegments([NORMAL], 29.9)


def test_text_without_silence_around_it_is_kept():
    strange = segment(2.1, (2.1, 2.11, 0.01))
    after = segment(2.2, (2.2, 2.6, 0.9))
    assert filter_hallucinations([NORMAL, strange, after], 0.0, 30.0, 0.0, 60.0, 1.0) == FilteredSegments(
        [NORMAL, strange, after]
    )


def test_the_end_of_a_shorter_window_counts_as_silence():
    strange = segment(10.1, (10.1, 10.11, 0.01))
    speech = segment(5.0, (5.0, 5.5, 0.9))
    next_to_it = segment(10.2, (10.2, 10.6, 0.9))
    segments = [speech, strange, next_to_it]
    assert filter_hallucinations(segments, 0.0, 11.0, 0.0, 60.0, 1.0).segments == segments
    assert filter_hallucinations(segments, 0.0, 11.0, 0.0, 60.0, 1.0, 11.0).segments == [speech]
