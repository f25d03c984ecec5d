"""Layout of words in cues, each of which has text and a duration."""

# ruff: noqa: RUF001

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.errors import OptionError
from whisper_apr.inference.record import changed
from whisper_apr.inference.results import Segment, Word
from whisper_apr.output import LineOptions, format_timestamp
from whisper_apr.output.line_breaks import may_break
from whisper_apr.output.subtitles import cues, highlighted
from written import LAYOUT, any_transcription, of_words, read_srt, read_vtt, seen, segment, transcription, written


def spoken(*times: float) -> Segment:
    """Return a segment of five-letter words, each half a second long."""
    names = ("alpha", "gamma", "delta", "kappa", "omega", "sigma")
    words = tuple(Word(f" {name}", t, t + 0.5, 0.9) for name, t in zip(names, times, strict=False))
    return segment(times[0], times[-1] + 0.5, "".join(w.word for w in words), words)


# ---- layout -----------------------------------------------------------------------------------------------------


def test_layout():
    result = transcription(spoken(0, 1, 2, 3))
    assert written(result, "srt").count("-->") == 1
    narrow = written(result, "srt", max_line_width=12)
    assert "alpha gamma\ndelta kappa\n" in narrow
    assert narrow.count("-->") == 1
    single = written(result, "srt", max_line_width=12, max_line_count=1)
    assert single.count("-->") == 2
    assert written(result, "srt", max_words_per_line=1).count("-->") == 4
    assert "alpha <u>gamma</u> delta kappa" in written(result, "vtt", highlight_words=True)


def test_a_long_pause_ends_a_cue_that_spans_segments():
    result = transcription(spoken(0, 1), spoken(2, 3), spoken(9, 10))
    found = read_vtt(written(result, "vtt", max_line_width=100, max_line_count=3))
    assert [cue.text for cue in found] == ["alpha gamma alpha gamma", "alpha gamma"]


@given(
    times=st.lists(st.integers(0, 40), min_size=1, max_size=6, unique=True).map(sorted),
    width=st.none() | st.integers(1, 30),
    count=st.none() | st.integers(1, 3),
    per_line=st.none() | st.integers(1, 4),
)
def test_no_word_is_lost_or_repeated(times, width, count, per_line):
    result = transcription(spoken(*times))
    options = {"max_line_width": width, "max_line_count": count, "max_words_per_line": per_line}
    text = written(result, "srt", **options)
    words = [word for line in text.splitlines() if re.match("[a-z]", line) for word in line.split()]
    assert words == result.text.split()
    assert all(a.end <= b.start for a, b in pairwise(read_srt(text)))


def test_two_speakers_are_not_in_one_cue():
    first, second = changed(spoken(0, 1), speaker="0"), changed(spoken(1.5, 2), speaker="1")
    for layout in ({}, {"max_line_width": 100, "max_line_count": 3}):
        found = read_vtt(written(transcription(first, second, second), "vtt", **layout))
        assert [cue.start for cue in found][:2] == [0, 1500]
        assert len(found) == (2 if layout else 3)


JAPANESE = ("「", "今日", "は", "、", "いい", "天", "気", "です", "ね", "。", "」", "（", "笑", "）", "！", "？")


@given(st.lists(st.sampled_from(JAPANESE), min_size=1, max_size=20), st.integers(1, 12), st.none() | st.integers(1, 2))
def test_no_line_of_japanese_begins_with_a_closing_mark(texts, width, count):
    words = [Word(text, i / 2, i / 2 + 0.5, 0.9) for i, text in enumerate(texts)]
    found = read_srt(written(of_words(*words), "srt", max_line_width=width, max_line_count=count))
    lines = [line for cue in found for line in cue.text.split("\n")]
    assert "".join(lines) == "".join(texts)
    for before, after in pairwise(lines):
        assert may_break(before, after)
        assert after[0] not in "、。」）！？"
        assert before[-1] not in "「（"
    for line in lines:  # only text that cannot be divided is wider than requested
        assert len(line) <= width or not any(may_break(line[:i], line[i:]) for i in _edges(line, texts))


def _edges(line: str, texts: list[str]) -> list[int]:
    """Return where a word of the line may end: after any of the texts."""
    parts = tuple(texts)
    return [i for i in range(1, len(line)) if line[:i].endswith(parts) and line[i:].startswith(parts)]


def test_a_comma_does_not_begin_a_line():
    words = [Word(text, i, i + 1, 0.9) for i, text in enumerate(["今日", "は", "、", "天気", "。"])]
    for per_cue in (1, 2):
        found = read_srt(written(of_words(*words), "srt", max_words_per_line=per_cue))
        assert [c.text for c in found] == {1: ["今日", "は、", "天気。"], 2: ["今日は、", "天気。"]}[per_cue]
    assert read_srt(written(of_words(*words), "srt", max_line_width=3))[0].text == "今日\nは、\n天気。"
    assert read_srt(written(of_words(*words), "srt", max_line_width=4))[0].text == "今日は、\n天気。"


def test_right_to_left_text_is_unchanged():
    texts = [" שלום", ' "עולם"', " (2024)", " مرحبا،", " \u200fنعم", " abc"]
    words = [Word(text, i, i + 1, 0.9) for i, text in enumerate(texts)]
    for result in (of_words(*words), transcription(segment(0, 6, "".join(texts)))):
        for name, read in (("srt", read_srt), ("vtt", read_vtt)):
            assert [cue.text for cue in read(written(result, name))] == ["".join(texts).strip()]
    found = read_vtt(written(of_words(*words), "vtt", max_line_width=14))
    assert found[0].text == 'שלום "עולם"\n(2024) مرحبا،\n\u200fنعم abc'
    assert written(of_words(*words), "txt") == "".join(texts).strip() + "\n"


# ---- invisible text and empty durations -----------------------------------------------------------------------------


def test_empty_segments_have_no_cue():
    result = transcription(segment(0, 1, " one"), segment(1, 1, ""), segment(1, 2, " \n\u200f"), segment(2, 3, "two"))
    assert read_srt(written(result, "srt")) == [(0, 1000, "one"), (2000, 3000, "two")]
    assert read_vtt(written(result, "vtt")) == [(0, 1000, "one"), (2000, 3000, "two")]


def test_a_cue_without_duration_is_extended_or_merged():
    alone = transcription(segment(1, 1, "one"), segment(3, 4, "two"), segment(5, 4.5, "three"))
    assert read_srt(written(alone, "srt")) == [(1000, 1100, "one"), (3000, 4000, "two"), (5000, 5100, "three")]
    close = transcription(segment(1, 1, "one"), segment(1.05, 1.05, "two"), segment(1.08, 2, "three"))
    assert read_srt(written(close, "srt")) == [(1000, 2000, "one\ntwo\nthree")]
    short = transcription(
        segment(1, 1.0004, "one"), segment(1.5, 1.501, "two")
    )  # 0 ms, and 1 ms, which is short but valid
    assert read_srt(written(short, "srt")) == [(1000, 1100, "one"), (1500, 1501, "two")]


def test_a_word_without_duration_is_highlighted_with_its_neighbor():
    words = Word(" a", 0, 1, 0.9), Word(" b", 1, 1, 0.9), Word(" c", 1, 2, 0.9), Word(" d", 2, 2, 0.9)
    assert read_vtt(written(of_words(*words), "vtt", highlight_words=True)) == [
        (0, 1000, "<u>a</u> b c d"),
        (1000, 2000, "a <u>b c d</u>"),
    ]
    none = Word(" a", 1, 1, 0.9), Word(" b", 1, 1, 0.9)
    assert read_vtt(written(of_words(*none), "vtt", highlight_words=True)) == [(1000, 1100, "<u>a b</u>")]
    overlap = Word(" a", 0, 2, 0.9), Word(" b", 1, 3, 0.9)
    assert read_vtt(written(of_words(*overlap), "vtt", highlight_words=True)) == [
        (0, 2000, "<u>a</u> b"),
        (2000, 3000, "a <u>b</u>"),
    ]


def test_a_segment_without_words_is_shown_whole():
    result = transcription(segment(0, 1, " one", (Word(" one", 0, 1, 0.9),)), segment(1, 2, " two three", ()))
    assert read_srt(written(result, "srt")) == [(0, 1000, "one"), (1000, 2000, "two three")]
    mixed = {"segments": [{"start": 0, "end": 1, "text": "a"}, spoken(1, 2).to_dict()]}
    assert [cue.text for cue in read_srt(written(mixed, "srt"))] == ["a", "alpha gamma"]


@given(any_transcription(), LAYOUT, st.sampled_from([1, 100, 1000]))
def test_cues_have_text_and_time(result, layout, per_second):
    plain = [s.to_dict() for s in result.segments]
    found = list(cues(plain, LineOptions(**layout), per_second))
    assert all(cue.start < cue.end and cue.words for cue in found)
    words = [w.word for s in result.segments for w in s.words or ()]
    if words and all(s.words for s in result.segments):
        assert seen("".join(w.text for cue in found for w in cue.words)) == seen("".join(words))
    elif not words:
        assert seen("".join(w.text for cue in found for w in cue.words)) == seen(result.text)
    for cue in found:
        moments = list(highlighted(cue, per_second))
        assert (moments[0].start, moments[-1].end) == (cue.start, cue.end)
        assert all(m.start < m.end for m in moments)
        assert all(a.end == b.start for a, b in pairwise(moments))
        parts = [(m.first, m.last) for m in moments if m.first != m.last]
        assert [i for first, last in parts for i in range(first, last)] == list(range(len(cue.words)))


# ---- options and times ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_line_width", "max_line_count", "max_words_per_line"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "5", True, [3], np.float32(3)])
def test_invalid_options(name, value):
    with pytest.raises(OptionError, match=name):
        LineOptions(**{name: value})
    assert LineOptions(**{name: np.int64(3)}) == LineOptions(**{name: 3})


@given(st.integers(0, 10**9))
def test_timestamps_read_back(milliseconds):
    hours, minutes, seconds = format_timestamp(milliseconds / 1000, always_include_hours=True).split(":")
    assert round((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 1000) == milliseconds


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_invalid_times(seconds):
    with pytest.raises(OptionError, match="a time must be a finite number of seconds"):
        format_timestamp(seconds)
