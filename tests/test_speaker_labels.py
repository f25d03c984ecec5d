"""Speakers of words and segments, from turns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings import DATA, speech
from test_results import SEGMENT
from whisper_apr import OptionError, Word
from whisper_apr.inference.record import changed
from whisper_apr.inference.speaker_labels import NEAR, SpeakerLabeler
from whisper_apr.speakers import Turn

TURNS = [Turn(0, 2, "Ann"), Turn(2, 3, "Bob"), Turn(6, 7, "Ann")]


def slowly(turns, start, end):
    """Return the speaker by looking at every turn."""
    shared = {}
    for turn in turns:
        overlap = min(end, turn.end) - max(start, turn.start)
        if overlap > 0:
            shared[turn.speaker] = shared.get(turn.speaker, 0) + overlap
    if shared:
        return max(shared.values()), {name for name, value in shared.items() if value == max(shared.values())}
    gaps = [(max(start, turn.start) - min(end, turn.end), turn.speaker) for turn in turns]
    nearest = min((gap for gap, _ in gaps), default=NEAR)
    return None, {speaker for gap, speaker in gaps if gap == nearest} if nearest < NEAR else {None}


times = st.integers(0, 40).map(lambda i: i / 4)


@given(st.lists(st.tuples(times, times, st.sampled_from("ABC"))), times, times)
def test_most_overlap_or_nearest(turns, start, end):
    turns = sorted(Turn(min(a, b), max(a, b), name) for a, b, name in turns)
    start, end = min(start, end), max(start, end)
    assert SpeakerLabeler(turns).speaker(start, end) in slowly(turns, start, end)[1]


def word(text, start, end):
    return Word(text, start, end, 0.9)


def test_segments_are_split_where_the_speaker_changes():
    words = [word(" one", 0.5, 1.0), word(" two", 1.0, 1.9), word(" three", 2.1, 2.5), word(" four", 6.0, 6.5)]
    segment = changed(SEGMENT, start=0.4, end=6.6, text=" one two three four", words=words)
    parts = SpeakerLabeler(TURNS).label([segment])
    assert [(part.speaker, part.text, part.start, part.end) for part in parts] == [
        ("Ann", " one two", 0.4, 1.9),
        ("Bob", " three", 2.1, 2.5),
        ("Ann", " four", 6.0, 6.6),
    ]
    assert [token for part in parts for token in part.tokens] == segment.tokens
    assert all(each.speaker == part.speaker for part in parts for each in part.words)


def test_segments_without_words_have_the_speaker_of_most_of_their_time():
    (part,) = SpeakerLabeler(TURNS).label([changed(SEGMENT, start=1.5, end=3.0, words=None)])
    assert part.speaker == "Bob"
    (part,) = SpeakerLabeler(TURNS).label([changed(SEGMENT, start=4.2, end=4.5, words=None)])
    assert part.speaker is None


@pytest.mark.parametrize("options", [{}, {"batch_size": 2}, {"vad_filter": True}])
def test_transcribe(model, options):
    """A turn ends in the middle of the digits."""
    plain = model.transcribe(speech("en"), word_timestamps=True, temperature=0.0, **options)
    words = [each for segment in plain.segments for each in segment.words]
    middle = words[2].start
    turns = [(0.0, middle, "Ann"), (middle, 60.0, "Bob")]
    result = model.transcribe(speech("en"), word_timestamps=True, temperature=0.0, speakers=turns, **options)
    assert [segment.speaker for segment in result.segments] == ["Ann", "Bob"]
    assert [segment.id for segment in result.segments] == [0, 1]
    assert result.text == plain.text == "".join(segment.text for segment in result.segments)
    assert [each.word for segment in result.segments for each in segment.words] == [each.word for each in words]
    assert "Ann: three one" in result.to_srt()


def test_channels_are_speakers_already(model):
    stereo = np.stack([speech("en")] * 2, axis=1)
    with pytest.raises(OptionError, match="speakers conflicts with channel='each'"):
        model.transcribe(stereo, channel="each", speakers=[(0, 1, "Ann")])


def test_many_recordings(model):
    """The file of turns serves all of them."""
    for result in model.transcribe_many([speech("en")] * 2, temperature=0.0, speakers=DATA / "turns.rttm"):
        assert {segment.speaker for segment in result.segments} == {"Ann"}
