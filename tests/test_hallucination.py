"""Invented segments over silence are told by their words, and dropped; what is kept, and where to go on, is said apart."""

from whisper_apr.inference.hallucination import FilteredSegments, filter_hallucinations, is_anomalous
from whisper_apr.inference.results import Segment, Word


def segment(start: float, *words: tuple[float, float, float]) -> Segment:
    """Words are (start, end, probability)."""
    found = tuple(Word(f" {i}", *word) for i, word in enumerate(words))
    end = found[-1].end if found else start
    text = "".join(word.word for word in found)
    return Segment(0, 0, found[0].start if found else start, end, text, (1,), 0.0, 0.0, 1.0, 0.0, found)


SOUND = segment(1.0, (1.0, 1.4, 0.9), (1.5, 2.0, 0.8))
INVENTED = segment(20.0, (20.0, 20.01, 0.01))


def test_strange():
    assert is_anomalous(INVENTED)
    assert not is_anomalous(SOUND)
    assert not is_anomalous(None)
    assert not is_anomalous(segment(3.0))


def test_nothing_is_dropped_where_nothing_is_anomalous():
    assert filter_hallucinations([SOUND], 0.0, 30.0, 0.0, 60.0, 1.0) == FilteredSegments([SOUND])


def test_a_window_that_begins_with_what_is_invented_is_decoded_again_from_there():
    kept = filter_hallucinations([INVENTED, SOUND], 10.0, 30.0, 9.0, 60.0, 1.0)
    assert kept == FilteredSegments([], 20.0, is_rejected=True)


def test_what_is_invented_between_silences_ends_the_window():
    kept = filter_hallucinations([SOUND, INVENTED], 0.0, 30.0, 0.0, 60.0, 1.0)
    assert kept == FilteredSegments([SOUND], 20.0)


def test_nothing_is_left_where_the_recording_ends_behind_it():
    last = segment(29.0, (29.0, 29.01, 0.01))
    assert filter_hallucinations([SOUND, last], 0.0, 29.9, 0.0, 29.9, 1.0) == FilteredSegments([SOUND], 29.9)


def test_what_is_not_surrounded_by_silence_stays():
    strange = segment(2.1, (2.1, 2.11, 0.01))
    after = segment(2.2, (2.2, 2.6, 0.9))
    assert filter_hallucinations([SOUND, strange, after], 0.0, 30.0, 0.0, 60.0, 1.0) == FilteredSegments(
        [SOUND, strange, after]
    )
