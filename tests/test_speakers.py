"""Speakers in every format, and unchanged output without speakers."""

import csv
import io

import pytest

from test_results import RESULT, SEGMENT, WORD
from whisper_apr import Transcription
from whisper_apr.inference.record import changed
from whisper_apr.output import FORMATS, LineOptions, prefix_speaker, write

SEGMENTS = (
    changed(SEGMENT, text=" three", speaker="0", words=(changed(WORD, speaker="0"),)),
    changed(SEGMENT, id=1, start=0.9, end=1.5, text=" four, one", speaker="1"),
)
TWO = Transcription(text=" three four, one", segments=SEGMENTS, language="en")

EXPECTED = {
    "txt": "0: three\n1: four, one\n",
    "srt": "1\n00:00:00,400 --> 00:00:00,800\n0: three\n\n2\n00:00:00,900 --> 00:00:01,500\n1: four, one\n\n",
    "vtt": "WEBVTT\n\n00:00.400 --> 00:00.800\n<v 0>three\n\n00:00.900 --> 00:01.500\n<v 1>four, one\n\n",
    "tsv": "start\tend\ttext\n400\t800\t0: three\n900\t1500\t1: four, one\n",
    "csv": 'start,end,speaker,text\n400,800,0,three\n900,1500,1,"four, one"\n',
    "lrc": "[00:00.40]0: three\n[00:00.90]1: four, one\n",
    "md": "- **0:00:00** 0: three\n- **0:00:00** 1: four, one\n",
}


def written(result: object, format: str, options: LineOptions | None = None) -> str:
    file = io.StringIO()
    write(result, format, file, options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("format", EXPECTED)
def test_every_text_format_names_the_speaker(format: str) -> None:
    assert written(TWO, format) == EXPECTED[format]


def test_json_and_ass_name_the_speaker() -> None:
    assert written(TWO, "json").count('"speaker": "0"') == 2
    assert ",0,0,0,0,," in written(TWO, "ass")


@pytest.mark.parametrize("format", FORMATS)
def test_unknown_speakers_add_nothing(format: str) -> None:
    text = written(RESULT, format)
    assert "speaker" not in text
    assert "None" not in text
    assert written(RESULT, "txt") == "three\n"


def test_a_cue_of_words_names_its_speaker() -> None:
    words = (WORD, changed(WORD, word=" four", start=0.8, end=1.2))
    result = changed(TWO, segments=(changed(SEGMENT, text=" three four", speaker="0", words=words, end=1.2),))
    options = LineOptions(max_words_per_line=1)
    assert written(result, "srt", options).count("0: ") == 2
    highlighted = written(result, "vtt", LineOptions(highlight_words=True))
    assert "<v 0><u>three</u> four" in highlighted
    assert "<v 0>three <u>four</u>" in highlighted


@pytest.mark.parametrize("speaker", ["A --> B", "<b>", "Ann\nBob", "a, b", "{\\an8}", 3])
def test_any_speaker_name_keeps_files_valid(speaker: object) -> None:
    """Other programs add speakers to openai-whisper's dictionaries."""
    plain = {"segments": [{"start": 0.0, "end": 1.0, "text": " Hello", "speaker": speaker}]}
    assert written(plain, "txt").count("\n") == 1
    assert written(plain, "srt").count("-->") == 1
    assert written(plain, "vtt").count("-->") == 1
    assert written(plain, "vtt").count("<") == 1
    assert written(plain, "md").count("\n") == 1
    assert list(csv.reader(io.StringIO(written(plain, "csv"))))[1][-1] == "Hello"


def test_no_speaker_changes_nothing() -> None:
    assert prefix_speaker(None, " Hello ") == " Hello "
