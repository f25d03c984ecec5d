"""Results: access by attribute and by key, conversion to dictionaries, subtitles, files and tables."""

import dataclasses
import json
from pathlib import Path

import pytest

from whisper_apr import LineOptions, OptionError, OutputError, Segment, Transcription, Word
from whisper_apr.output import FORMATS
from written import written

WORD = Word(word=" three", start=0.4, end=0.8, probability=0.9)
SEGMENT = Segment(
    id=0,
    seek=0,
    start=0.4,
    end=0.8,
    text=" three",
    tokens=(50364, 1045, 50384),
    temperature=0.0,
    avg_logprob=-0.1,
    compression_ratio=0.5,
    no_speech_prob=0.01,
)
RESULT = Transcription(text=" three", segments=(SEGMENT,), language="en")


@pytest.mark.parametrize("record", [WORD, SEGMENT, RESULT])
def test_fields_by_attribute_and_by_key(record: object) -> None:
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        assert record[field.name] is getattr(record, field.name)  # type: ignore[index]


@pytest.mark.parametrize("key", ["texts", "", 0, None])
def test_unknown_key(key: object) -> None:
    with pytest.raises((KeyError, TypeError)):
        RESULT[key]  # type: ignore[index]


def test_keys_are_those_of_openai_whisper() -> None:
    assert {"text", "segments", "language"} <= set(RESULT.to_dict())
    assert {
        *("id", "seek", "start", "end", "text", "tokens"),
        *("temperature", "avg_logprob", "compression_ratio", "no_speech_prob"),
    } <= set(RESULT.to_dict()["segments"][0])


def test_results_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RESULT.text = ""  # type: ignore[misc]
    with pytest.raises(TypeError):
        RESULT["text"] = ""  # type: ignore[index]


def test_conversion_to_dictionaries() -> None:
    plain = RESULT.to_dict()
    assert plain["segments"][0]["text"] == " three"
    assert "words" not in plain["segments"][0]  # not requested
    timed = dataclasses.replace(SEGMENT, words=(WORD,)).to_dict()
    assert timed["words"][0] == {"word": " three", "start": 0.4, "end": 0.8, "probability": 0.9}
    again = json.loads(json.dumps(plain))
    assert again["segments"][0]["tokens"] == list(SEGMENT.tokens)
    assert again["language"] == "en"


def test_equality_and_hash() -> None:
    assert dataclasses.replace(RESULT) == RESULT
    assert hash(dataclasses.replace(SEGMENT)) == hash(SEGMENT)
    assert dataclasses.replace(RESULT, text="") != RESULT


# ---- conveniences ---------------------------------------------------------------------------------------------------

TIMED = Transcription(
    text=" three <one>",
    segments=(
        dataclasses.replace(SEGMENT, words=(WORD,)),
        dataclasses.replace(
            SEGMENT,
            id=1,
            start=1.0,
            end=1.5,
            text=" <one>",
            words=(dataclasses.replace(WORD, start=1.0, end=1.5, word=" <one>"),),
        ),
    ),
    language="en",
    duration=2.5,
    language_probability=0.75,
)


def test_words_of_all_segments() -> None:
    assert [word.word for word in TIMED.words] == [" three", " <one>"]
    assert RESULT.words == ()


def test_repr_is_one_short_line() -> None:
    assert repr(RESULT) == "Transcription(text=' three', segments=1, language='en', duration=0.00)"
    long = dataclasses.replace(TIMED, text="word\n" * 10_000)
    assert "\n" not in repr(long)
    assert len(repr(long)) < 200


def test_dictionary_has_the_keys_of_openai_whisper_only() -> None:
    assert set(TIMED.to_dict()) == {"text", "segments", "language"}


@pytest.mark.parametrize("record", [WORD, SEGMENT, RESULT, TIMED], ids=["word", "segment", "result", "timed"])
def test_keys_are_those_of_the_dictionary(record: Word | Segment | Transcription) -> None:
    plain = record.to_dict()
    assert list(record) == list(record.keys()) == list(plain) == list(dict(record))
    assert record.keys() == plain.keys()
    assert all(key in record for key in plain)
    assert "words" not in SEGMENT
    assert "words" in TIMED.segments[0]


def test_get_has_a_default() -> None:
    assert RESULT.get("text") == " three"
    assert SEGMENT.get("words") is None
    assert SEGMENT.get("words", ()) == ()
    assert RESULT.get("save", 5) == 5


def test_a_dictionary_is_no_layout_of_lines(tmp_path: Path) -> None:
    for write in (TIMED.to_srt, TIMED.to_vtt, lambda options: TIMED.save(tmp_path / "a.srt", options)):
        with pytest.raises(OptionError, match="LineOptions"):
            write({"max_line_width": 42})  # type: ignore[operator]


def test_save_below_a_file_says_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is not a folder"):
        TIMED.save(tmp_path / "file" / "a.srt")


def test_save_refuses_a_path_with_a_null_character(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="null character"):
        TIMED.save(tmp_path / "a\0.srt")


def test_only_fields_are_keys() -> None:
    assert TIMED["duration"] == 2.5
    for name in ("to_dict", "save", "words", "__class__"):
        with pytest.raises(KeyError):
            TIMED[name]


def test_html_table_is_escaped_and_has_times() -> None:
    html = TIMED._repr_html_()
    assert "<td>00:01.000</td><td>00:01.500</td><td>&lt;one&gt;</td>" in html
    assert "Speaker" not in html
    assert "<one>" not in html
    named = dataclasses.replace(RESULT, segments=(dataclasses.replace(SEGMENT, speaker="<b>"),))
    assert "<th>Speaker</th>" in named._repr_html_()
    assert "<td>&lt;b&gt;</td>" in named._repr_html_()


@pytest.mark.parametrize("format", FORMATS)
def test_save_writes_the_format_that_the_suffix_names(format: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"result.{format.upper()}"
    TIMED.save(path)
    with open(path, encoding="utf-8", newline="") as file:
        assert file.read() == written(TIMED, format)


@pytest.mark.parametrize("name", ["result", "result.xml", ".srt"])
def test_save_refuses_a_suffix_without_a_format(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"\.srt, \.vtt"):
        TIMED.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_save_leaves_the_file_as_it_was_if_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "result.srt"
    TIMED.save(path)
    before = path.read_bytes()
    damaged = dataclasses.replace(TIMED, segments=(dataclasses.replace(SEGMENT, start=-1.0),))
    with pytest.raises(OptionError):
        damaged.save(path)
    assert path.read_bytes() == before
    with pytest.raises(OutputError):
        TIMED.save(path / "below_a_file.srt")


def test_subtitles_as_text() -> None:
    assert RESULT.to_srt() == written(RESULT, "srt")
    assert RESULT.to_vtt() == written(RESULT, "vtt")
    words = TIMED.to_srt(LineOptions(highlight_words=True))
    assert words == written(TIMED, "srt", highlight_words=True)
    assert "<u>three</u>" in words
