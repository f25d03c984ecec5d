"""The formats textgrid and rttm: what Praat and diarization's tools require, and known files."""

import re
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given

from whisper_apr.inference.results import Transcription, Word
from whisper_apr.output.rttm import rttm_line
from whisper_apr.output.text import clean, one_line
from whisper_apr.output.textgrid import SHORTEST
from written import TEXT, any_transcription, of_words, segment, transcription, written

HEAD = '''\
File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.000000
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "segments"
        xmin = 0
        xmax = 2.000000
        intervals: size = 2
        intervals [1]:
            xmin = 0.000000
            xmax = 0.500000
            text = ""
        intervals [2]:
            xmin = 0.500000
            xmax = 2.000000
            text = "say ""no"""
'''


class Tier(NamedTuple):
    name: str
    intervals: list[tuple[float, float, str]]


def read_textgrid(text: str) -> tuple[float, list[Tier]]:
    """Return the duration and the tiers; the numbers in the file must be those of what follows."""
    quoted, number = r'"((?:[^"]|"")*)"', r"(\d+\.\d{6})"
    head, *items = re.split(r"    item \[\d+\]:\n", text)
    found = re.search(rf"xmin = 0\nxmax = {number}\ntiers\? <exists>\nsize = (\d+)\nitem \[\]:\n$", head)
    assert found
    assert int(found[2]) == len(items)
    tiers = []
    for item in items:
        top, *parts = re.split(r"        intervals \[\d+\]:\n", item)
        title = re.fullmatch(
            rf' +class = "IntervalTier"\n +name = {quoted}\n +xmin = 0\n +xmax = {number}\n'
            r" +intervals: size = (\d+)\n",
            top,
        )
        assert title
        assert title[2] == found[1]
        assert int(title[3]) == len(parts)
        intervals = []
        for part in parts:
            fields = re.fullmatch(rf" +xmin = {number}\n +xmax = {number}\n +text = {quoted}\n", part)
            assert fields
            intervals.append((float(fields[1]), float(fields[2]), fields[3].replace('""', '"')))
        tiers.append(Tier(title[1].replace('""', '"'), intervals))
    return float(found[1]), tiers


def test_a_known_file() -> None:
    assert written(transcription(segment(0.5, 2, ' say "no"')), "textgrid") == HEAD


@given(any_transcription())
def test_intervals_fill_the_recording(result: Transcription) -> None:
    duration, tiers = read_textgrid(written(result, "textgrid"))
    assert duration > 0
    assert [tier.name for tier in tiers][:1] == ["segments"]
    for _, intervals in tiers:
        assert intervals[0][0] == 0
        assert intervals[-1][1] == pytest.approx(duration, abs=SHORTEST)
        assert all(end > start for start, end, _ in intervals)
        assert all(before[1] == after[0] for before, after in pairwise(intervals))


@given(TEXT)
def test_any_text(text: str) -> None:
    _, (tier,) = read_textgrid(written(transcription(segment(0, 1, text)), "textgrid"))
    assert tier.intervals == [(0, 1, one_line(clean(text)))]


def test_overlapping_and_empty_parts_lose_no_text() -> None:
    result = transcription(segment(0, 2, "a"), segment(1, 3, "b"), segment(3, 3, "c"), segment(3, 4, "d"))
    _, (tier,) = read_textgrid(written(result, "textgrid"))
    assert tier.intervals == [(0, 2, "a"), (2, 3, "b"), (3, 4, "c d")]


def test_each_speaker_has_tiers() -> None:
    words = (Word(" one", 0, 0.4, 0.9, "Ann"), Word(" two", 0.5, 1, 0.9, "Ann"))
    plain = of_words(*words).to_dict()
    plain["segments"][0]["speaker"] = "Ann"
    plain["segments"].append({"start": 0.5, "end": 1.5, "text": " three", "speaker": "Bob"})
    duration, tiers = read_textgrid(written(plain, "textgrid"))
    assert duration == 1.5
    assert tiers == [
        Tier("Ann - segments", [(0, 1, "one two"), (1, 1.5, "")]),
        Tier("Ann - words", [(0, 0.4, "one"), (0.4, 0.5, ""), (0.5, 1, "two"), (1, 1.5, "")]),
        Tier("Bob - segments", [(0, 0.5, ""), (0.5, 1.5, "three")]),
    ]


def test_rttm() -> None:
    ann = {"start": 0.5, "end": 2.0, "text": "a", "speaker": "Ann B"}
    assert written({"segments": [ann, {"start": 2, "end": 2.25, "text": "b"}]}, "rttm") == (
        "SPEAKER recording 1 0.500 1.500 <NA> <NA> Ann_B <NA> <NA>\n"
        "SPEAKER recording 1 2.000 0.250 <NA> <NA> <NA> <NA> <NA>\n"
    )


@given(any_transcription())
def test_rttm_has_ten_fields(result: Transcription) -> None:
    lines = [line.split(" ") for line in written(result, "rttm").splitlines()]
    assert all(len(fields) == 10 and float(fields[4]) >= 0 for fields in lines)
    assert len(lines) == len(result.segments)


def test_names_of_white_space() -> None:
    assert rttm_line(" ", 0, 1, " \t").split() == [
        "SPEAKER",
        "_",
        "1",
        "0.000",
        "1.000",
        "<NA>",
        "<NA>",
        "_",
        "<NA>",
        "<NA>",
    ]
