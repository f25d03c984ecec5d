"""Writers: layouts with known answers, files that are whole or not there. tests/parity compares with openai-whisper's bytes."""

import csv
import io
import json
import os
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.errors import OptionError, WhisperAprError
from whisper_apr.inference.results import Segment, Transcription, Word
from whisper_apr.output import ALL, FORMATS, LineOptions, format_timestamp, write, write_files


def segment(start: float, end: float, text: str, words: tuple[Word, ...] | None = None) -> Segment:
    return Segment(0, 0, start, end, text, (1, 2), 0.0, -0.1, 1.0, 0.0, words)


def transcription(*segments: Segment) -> Transcription:
    return Transcription("".join(s.text for s in segments), segments, "en")


def spoken(*times: float) -> Segment:
    """A segment of words of five letters, each half a second long."""
    names = ("alpha", "gamma", "delta", "kappa", "omega", "sigma")
    words = tuple(Word(f" {name}", t, t + 0.5, 0.9) for name, t in zip(names, times, strict=False))
    return segment(times[0], times[-1] + 0.5, "".join(w.word for w in words), words)


def written(result: Transcription, format: str, **options: object) -> str:
    file = io.StringIO()
    write(result, format, file, LineOptions(**options))  # type: ignore[arg-type]
    return file.getvalue()


TWO = transcription(segment(0, 1.5, " Hello, *you*"), segment(3661.25, 3662, ' a "quoted"\ttab --> arrow'))


def test_each_format():
    assert written(TWO, "txt") == 'Hello, *you*\na "quoted"\ttab --> arrow\n'
    assert written(TWO, "srt") == (
        "1\n00:00:00,000 --> 00:00:01,500\nHello, *you*\n\n"
        '2\n01:01:01,250 --> 01:01:02,000\na "quoted"\ttab -> arrow\n\n'
    )
    assert written(TWO, "vtt").startswith("WEBVTT\n\n00:00.000 --> 00:01.500\nHello, *you*\n\n01:01:01.250 --> ")
    assert written(TWO, "tsv").splitlines()[2] == '3661250\t3662000\ta "quoted" tab --> arrow'
    assert json.loads(written(TWO, "json"))["segments"][1]["start"] == 3661.25
    assert list(csv.reader(io.StringIO(written(TWO, "csv"))))[2] == ["3661250", "3662000", 'a "quoted"\ttab --> arrow']
    assert written(TWO, "lrc") == '[00:00.00]Hello, *you*\n[00:01.50]\n[61:01.25]a "quoted" tab --> arrow\n'
    assert written(TWO, "md").splitlines()[0] == "- **0:00:00** Hello, \\*you\\*"


def test_words_are_laid_out():
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
    cues = written(result, "vtt", max_line_width=100, max_line_count=3).split("\n\n")[1:-1]
    assert [cue.splitlines()[1:] for cue in cues] == [["alpha gamma alpha gamma"], ["alpha gamma"]]


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
    starts = [line[:12] for line in text.splitlines() if "-->" in line]
    assert all(a < b for a, b in pairwise(starts))


def test_a_dictionary_is_written_as_its_transcription():
    assert all(written(TWO, name) == _from_dictionary(name) for name in FORMATS)


def _from_dictionary(name: str) -> str:
    file = io.StringIO()
    write(TWO.to_dict(), name, file)
    return file.getvalue()


def test_nothing_said_is_written_in_every_format():
    for name in FORMATS:
        assert (
            written(transcription(), name) in ("", "WEBVTT\n\n", "start\tend\ttext\n", "start,end,text\n")
            or name == "json"
        )


def test_files_are_whole_or_not_there(tmp_path):
    assert write_files(TWO, ALL, tmp_path / "new", "a.b") == [
        tmp_path / "new" / f"a.b.{name}" for name in ("txt", "vtt", "srt", "tsv", "json")
    ]
    good = (tmp_path / "new" / "a.b.srt").read_bytes()
    assert b"\r" not in good
    negative = transcription(segment(0, 1, "first"), segment(-1, 2, "a time before the beginning"))
    with pytest.raises(ValueError, match="must not be negative"):
        write_files(negative, "srt", tmp_path / "new", "a.b")
    assert (tmp_path / "new" / "a.b.srt").read_bytes() == good
    assert sorted(p.suffix for p in (tmp_path / "new").iterdir()) == [".json", ".srt", ".tsv", ".txt", ".vtt"]


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WhisperAprError, match=re.escape(os.fspath(tmp_path / "file"))):
        write_files(TWO, "txt", tmp_path / "file", "a")


def test_wrong_options():
    with pytest.raises(OptionError, match="'doc'"):
        written(TWO, "doc")
    with pytest.raises(OptionError, match="max_line_width"):
        LineOptions(max_line_width=0)


@given(st.integers(0, 10**9))
def test_timestamps_read_back(milliseconds):
    hours, minutes, seconds = format_timestamp(milliseconds / 1000, always_include_hours=True).split(":")
    assert round((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 1000) == milliseconds
