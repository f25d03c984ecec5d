"""Results: access by attribute and by key, conversion to dictionaries, subtitles, files and tables."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from whisper_apr import LineOptions, OptionError, OutputError, Segment, Transcription, Word
from whisper_apr.inference.record import Record, changed
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


@pytest.fixture(params=["word", "segment", "result", "timed"])
def record(request: pytest.FixtureRequest) -> Record:
    records: dict[str, Record] = {"word": WORD, "segment": SEGMENT, "result": RESULT, "timed": TIMED}
    return copy.deepcopy(records[request.param])


def test_items_are_attributes(record: Record) -> None:
    for key, value in record.items():
        assert getattr(record, key) is value


def test_assignment_shows_in_both_views(record: Record) -> None:
    for i, key in enumerate(list(record)):
        setattr(record, key, i)
        assert record[key] == i
        record[key] = -i
        assert getattr(record, key) == -i
    segment = copy.deepcopy(SEGMENT)
    segment["speaker"], segment.words = "A", [WORD]
    assert (segment.speaker, segment["words"]) == ("A", [WORD])
    segment.speaker = segment.words = None
    assert segment == SEGMENT
    assert list(segment) == list(SEGMENT)


def test_misspelled_attributes(record: Record) -> None:
    with pytest.raises(AttributeError):
        record.txt = ""  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        print(record.txt)  # type: ignore[attr-defined]
    segment = copy.copy(SEGMENT)
    del segment["text"]
    with pytest.raises(AttributeError, match="no item 'text'"):
        print(segment.text)


@pytest.mark.parametrize("key", ["texts", "", 0, None, "duration", "words", "to_dict", "save", "__class__"])
def test_unknown_key(key: object) -> None:
    with pytest.raises(KeyError):
        RESULT[key]  # type: ignore[index]


WORD_KEYS = ["word", "start", "end", "probability"]
SEGMENT_KEYS = [
    *("id", "seek", "start", "end", "text", "tokens"),
    *("temperature", "avg_logprob", "compression_ratio", "no_speech_prob"),
]


def test_keys_are_those_of_openai_whisper() -> None:
    assert list(RESULT) == list(TIMED) == ["text", "segments", "language"]
    assert list(SEGMENT) == SEGMENT_KEYS
    assert list(TIMED.segments[0]) == [*SEGMENT_KEYS, "words"]
    assert list(WORD) == WORD_KEYS
    assert "words" not in SEGMENT
    assert (SEGMENT.words, SEGMENT.language, SEGMENT.speaker, WORD.speaker) == (None,) * 4


def test_a_result_is_a_dictionary(record: Record) -> None:
    plain = record.to_dict()
    assert type(plain) is dict
    assert record == plain == {**record} == dict(record) == json.loads(json.dumps(record))
    assert json.dumps(record) == json.dumps(plain)
    assert all(record.get(key) == value for key, value in plain.items())
    assert record.get("save", 5) == 5

    def accept(**items: object) -> dict[str, object]:
        return items

    assert accept(**record) == plain


def test_plain_dictionaries_are_plain_throughout() -> None:
    plain = TIMED.to_dict()
    assert type(plain["segments"]) is list
    assert {type(part) for segment in plain["segments"] for part in (segment, *segment["words"])} == {dict}
    plain["segments"][0]["tokens"].append(5)
    assert len(TIMED.segments[0].tokens) == 3


def test_segments_are_a_list() -> None:
    result = copy.deepcopy(RESULT)
    result["segments"].append(SEGMENT)
    assert result.segments == RESULT["segments"] + [SEGMENT] == [SEGMENT, SEGMENT]
    assert SEGMENT["tokens"] + [5] == [50364, 1045, 50384, 5]


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda r: r.copy(), lambda r: pickle.loads(pickle.dumps(r))]
)
def test_copies(record: Record, copied: Callable[[Record], Record]) -> None:
    other = copied(record)
    assert type(other) is type(record)
    assert other == record
    assert list(other) == list(record)
    if isinstance(record, Transcription):
        assert (other.duration, other.language_probability) == (record.duration, record.language_probability)
    other.clear()
    assert record


def test_deep_copies_have_the_same_classes() -> None:
    for other in (copy.deepcopy(TIMED), pickle.loads(pickle.dumps(TIMED))):
        assert type(other.segments[0]) is Segment
        assert type(other.segments[0].words[0]) is Word
        assert other.segments is not TIMED.segments


def test_changed_copies() -> None:
    assert changed(RESULT) == RESULT
    other = changed(SEGMENT, text="", speaker="1")
    assert (other.text, other["speaker"], SEGMENT.text, "speaker" in SEGMENT) == ("", "1", " three", False)
    with pytest.raises(AttributeError):
        changed(RESULT, txt="")


# ---- conveniences ---------------------------------------------------------------------------------------------------

TIMED = Transcription(
    text=" three <one>",
    segments=(
        changed(SEGMENT, words=[WORD]),
        changed(
            SEGMENT,
            id=1,
            start=1.0,
            end=1.5,
            text=" <one>",
            words=[changed(WORD, start=1.0, end=1.5, word=" <one>")],
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
    long = changed(TIMED, text="word\n" * 10_000)
    assert "\n" not in repr(long)
    assert len(repr(long)) < 200


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


def test_html_table_is_escaped_and_has_times() -> None:
    html = TIMED._repr_html_()
    assert "<td>00:01.000</td><td>00:01.500</td><td>&lt;one&gt;</td>" in html
    assert "Speaker" not in html
    assert "<one>" not in html
    named = changed(RESULT, segments=(changed(SEGMENT, speaker="<b>"),))
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
    damaged = changed(TIMED, segments=(changed(SEGMENT, start=-1.0),))
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
