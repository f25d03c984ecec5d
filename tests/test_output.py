"""Output formats: known files, round trips of any text, and atomic files.

tests/parity compares the bytes with openai-whisper's.
"""

import csv
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

import whisper_apr
from whisper_apr.errors import OptionError, WhisperAprError
from whisper_apr.inference.results import Transcription
from whisper_apr.output import ALL, FORMATS, write, write_files
from written import (
    LAYOUT,
    TEXT,
    any_transcription,
    read_srt,
    read_vtt,
    seen,
    seen_segments,
    segment,
    transcription,
    written,
)

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


def test_text_that_is_markup():
    result = transcription(segment(0, 1, " <i>AT&T</i>\n\n --> [00:01.00] *x*\r\n2"))
    assert read_srt(written(result, "srt"))[0].text == "<\u2060i>AT&T<\u2060/i>\n-> [00:01.00] *x*\n2"
    assert "\n&lt;i&gt;AT&amp;T&lt;/i&gt;\n--&gt; [00:01.00] *x*\n2\n\n" in written(result, "vtt")
    assert read_vtt(written(result, "vtt"))[0].text == "<i>AT&T</i>\n--> [00:01.00] *x*\n2"
    assert written(result, "tsv").split("\n")[1] == "0\t1000\t<i>AT&T</i>   --> [00:01.00] *x* 2"
    assert written(result, "lrc") == "[00:00.00](i)AT&T(/i) --) (00:01.00) *x* 2\n"
    assert written(result, "md") == "- **0:00:00** \\<i\\>AT\\&T\\</i\\> --\\> \\[00:01.00\\] \\*x\\* 2\n"


# ---- any text and any times -----------------------------------------------------------------------------------------


def _without_arrows(text: str) -> str:
    return re.sub("-+>", "->", seen(text))


@given(any_transcription(), LAYOUT)
def test_subtitles_read_back(result: Transcription, layout):
    srt, vtt = (written(result, name, **layout) for name in ("srt", "vtt"))
    from_srt, from_vtt = read_srt(srt), read_vtt(vtt)
    assert [cue[:2] for cue in from_srt] == [cue[:2] for cue in from_vtt]
    if not layout["highlight_words"]:
        for ours, theirs in zip(from_srt, from_vtt, strict=True):
            assert _without_arrows(ours.text) == _without_arrows(theirs.text)
            assert seen(ours.text)
    if all(s.words is None for s in result.segments):
        assert seen("".join(cue.text for cue in from_vtt)) == seen(result.text)


@given(any_transcription())
def test_lines_and_tables_read_back(result: Transcription):
    everything = [seen(s.text) for s in result.segments]
    times = [[round(1000 * s.start), round(1000 * s.end)] for s in result.segments]
    assert seen(written(result, "txt")) == "".join(everything)
    head, *rows, last = [line.split("\t") for line in re.split("[\n\r]", written(result, "tsv"))]
    assert (head, last) == (["start", "end", "text"], [""])
    assert [seen(text) for _, _, text in rows] == everything
    assert [[int(start), int(end)] for start, end, _ in rows] == times
    head, *rows = csv.reader(io.StringIO(written(result, "csv"), newline=""), strict=True)
    assert head == ["start", "end", "text"]
    assert [seen(text) for _, _, text in rows] == everything
    assert [[int(start), int(end)] for start, end, _ in rows] == times


@given(any_transcription())
def test_lyrics_read_back(result: Transcription):
    *lines, last = re.split("[\n\r]", written(result, "lrc"))
    assert last == ""
    texts = [re.fullmatch(r"\[\d\d+:[0-5]\d\.\d\d\](.*)", line)[1] for line in lines]  # type: ignore[index]
    assert not any(re.match(r"\[[^]]*:[^]]*\]", text) for text in texts)
    brackets = str.maketrans("[<]>", "(())")
    assert [seen(text).translate(brackets) for text in texts if text] == [
        text.translate(brackets) for text in seen_segments(result)
    ]


@given(any_transcription())
def test_markdown_reads_back(result: Transcription):
    *lines, last = re.split("[\n\r]", written(result, "md"))
    assert last == ""
    texts = [re.fullmatch(r"- \*\*\d+:[0-5]\d:[0-5]\d\*\* (.*)", line)[1] for line in lines]  # type: ignore[index]
    assert not any(re.search(r"(?<!\\)(\\\\)*[`*_\[\]<>#|&~$]", text) for text in texts)
    assert [seen(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)) for text in texts] == seen_segments(result)


@given(any_transcription())
def test_json_reads_back(result: Transcription):
    def with_lists(value):
        return json.loads(json.dumps(value))

    text = written(result, "json")
    assert text.isascii()
    assert json.loads(text) == with_lists(result.to_dict())


@given(any_transcription(), LAYOUT)
def test_every_file_is_utf_8(result: Transcription, layout):
    for name in FORMATS:
        text = written(result, name, **layout)
        assert not set(text.encode()) & set(range(32)) - {9, 10}


@given(any_transcription(), TEXT, LAYOUT)
def test_any_speaker_is_safe(result: Transcription, speaker, layout):
    plain = result.to_dict()
    for part in plain["segments"]:
        part["speaker"] = speaker
    without = [seen(cue.text) for cue in read_vtt(written(result, "vtt", **layout))]
    named = f"<v{seen(speaker)}>" if seen(speaker) else ""
    assert [seen(cue.text) for cue in read_vtt(written(plain, "vtt", **layout))] == [named + text for text in without]
    assert len(read_srt(written(plain, "srt", **layout))) == len(without)
    assert all(len(row.split("\t")) == 3 for row in written(plain, "tsv").splitlines())
    assert len({len(row) for row in csv.reader(io.StringIO(written(plain, "csv"), newline=""), strict=True)}) == 1
    assert len(written(plain, "md").splitlines()) == len(written(result, "md").splitlines())
    stamped = r"\[\d\d+:[0-5]\d\.\d\d\](?!\[[^]]*:[^]]*\])"
    assert all(re.match(stamped, line) for line in written(plain, "lrc").splitlines())
    assert all(line.count(",") >= 9 for line in written(plain, "ass").split("[Events]\n")[1].splitlines())


@pytest.mark.parametrize("speaker", ["-", "--", "a--", "-->"])
def test_a_speaker_makes_no_arrow(speaker):
    result = {"segments": [{"start": 0, "end": 1, "text": "a", "speaker": speaker}]}
    for name, read in (("srt", read_srt), ("vtt", read_vtt)):
        assert read(written(result, name))[0].text.endswith("a")


# ---- results of other programs --------------------------------------------------------------------------------------


def test_a_dictionary_is_written_like_a_transcription():
    for name in FORMATS:
        assert written(TWO, name) == written(TWO.to_dict(), name)
        assert written(TWO, name) == written({"text": TWO.text, "segments": TWO.segments, "language": "en"}, name)


def test_numpy_times():
    first = {"start": np.float32(0.5), "end": np.float64(1.5), "text": "a"}
    second = {"start": 2, "end": np.int64(3), "text": "b"}
    assert [cue[:2] for cue in read_srt(written({"segments": [first, second]}, "srt"))] == [(500, 1500), (2000, 3000)]


def test_json_has_no_nan():
    result = {"text": "", "segments": [{"avg_logprob": float("nan"), "x": [float("-inf"), 1.5]}]}
    assert json.loads(written(result, "json"))["segments"] == [{"avg_logprob": None, "x": [None, 1.5]}]


GOOD = {"start": 0.0, "end": 1.0, "text": "a"}


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, "no list of 'segments'"),
        ({"segments": "abc"}, "no list of 'segments'"),
        ({"segments": [GOOD, "abc"]}, "segment 1 of the result must be a dictionary, not str"),
        ({"segments": [{"start": 0, "end": 1}]}, "segment 0 of the result has no text in 'text'"),
        ({"segments": [GOOD | {"text": 5}]}, "segment 0 of the result has no text in 'text'"),
        (
            {"segments": [GOOD | {"start": -1}]},
            "segment 0 of the result: 'start' must be a number of seconds from 0",
        ),
        ({"segments": [GOOD | {"end": float("nan")}]}, "'end' must be a number of seconds"),
        ({"segments": [GOOD | {"end": 1e300}]}, "'end' must be a number of seconds"),
        ({"segments": [GOOD | {"end": "1"}]}, "'end' must be a number of seconds"),
        ({"segments": [{"text": "a"}]}, "'start' must be a number of seconds"),
        ({"segments": [GOOD | {"words": "abc"}]}, "segment 0 of the result: 'words' must be a list, not str"),
        ({"segments": [GOOD | {"words": [{"word": "a", "start": 0}]}]}, "a word of segment 0 of the result: 'end'"),
    ],
)
@pytest.mark.parametrize("format", ["srt", "vtt", "tsv", "csv", "lrc", "md", "ass", "rttm", "textgrid"])
def test_incomplete_results(result, message, format):
    with pytest.raises(OptionError, match=re.escape(message)):
        written(result, format)


def test_txt_needs_no_times():
    assert written({"segments": [{"text": " a"}]}, "txt") == "a\n"


def test_values_that_json_cannot_represent():
    for odd in (object(), {1, 2}, b"x"):
        with pytest.raises(OptionError, match="cannot be written as JSON"):
            written({"text": odd}, "json")


def test_empty_transcription_in_every_format():
    for name in FORMATS:
        text = written(transcription(), name)
        assert text in ("", "WEBVTT\n\n", "start\tend\ttext\n", "start,end,text\n") or name in (
            "json",
            "ass",
            "textgrid",
        )
        assert "Dialogue:" not in text


SOURCE = Path(whisper_apr.__file__).parent


@pytest.mark.parametrize(
    "file",
    [
        *("output/__init__.py", "inference/results.py", "utils.py"),
        *("web/session.py", "web/static/whisper.js", "web/static/whisper.d.ts"),
    ],
)
def test_every_list_of_formats_is_complete(file):
    assert re.search(r"\W+(?:(?:and|or)\W+)?".join(FORMATS), (SOURCE / file).read_text(encoding="utf-8"))


# ---- files ----------------------------------------------------------------------------------------------------------


def test_files_are_complete_or_missing(tmp_path):
    assert write_files(TWO, ALL, tmp_path / "new", "a.b") == [
        tmp_path / "new" / f"a.b.{name}" for name in ("txt", "vtt", "srt", "tsv", "json")
    ]
    good = (tmp_path / "new" / "a.b.srt").read_bytes()
    assert b"\r" not in good
    negative = transcription(segment(0, 1, "first"), segment(-1, 2, "a time before the beginning"))
    with pytest.raises(OptionError, match="must be a number of seconds from 0"):
        write_files(negative, "srt", tmp_path / "new", "a.b")
    assert (tmp_path / "new" / "a.b.srt").read_bytes() == good
    assert sorted(p.suffix for p in (tmp_path / "new").iterdir()) == [".json", ".srt", ".tsv", ".txt", ".vtt"]


def test_ass_is_written_only_on_request(tmp_path):
    (path,) = write_files(TWO, "ass", tmp_path, "a")
    assert path == tmp_path / "a.ass"
    assert path.read_text(encoding="utf-8") == written(TWO, "ass")


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WhisperAprError, match=re.escape(os.fspath(tmp_path / "file"))):
        write_files(TWO, "txt", tmp_path / "file", "a")


@pytest.mark.parametrize("format", ["doc", "", "SRT", None, 5, ["srt"]])
def test_unknown_formats(format, tmp_path):
    with pytest.raises(OptionError, match=re.escape(f"unknown output format {format!r}")):
        write(TWO, format, io.StringIO())
    with pytest.raises(OptionError, match=re.escape(f"unknown output format {format!r}")):
        write_files(TWO, format, tmp_path, "a")
    assert not list(tmp_path.iterdir())
