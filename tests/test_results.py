"""Results: frozen, by attribute and by key, and as plain dictionaries."""

import dataclasses
import json

import pytest

from whisper_apr import Segment, Transcription, Word

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
def test_by_attribute_and_by_key(record: object) -> None:
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        assert record[field.name] is getattr(record, field.name)  # type: ignore[index]


@pytest.mark.parametrize("key", ["texts", "", 0, None])
def test_an_unknown_key(key: object) -> None:
    with pytest.raises((KeyError, TypeError)):
        RESULT[key]  # type: ignore[index]


def test_the_keys_are_openai_whispers() -> None:
    assert {"text", "segments", "language"} <= set(RESULT.to_dict())
    assert {
        *("id", "seek", "start", "end", "text", "tokens"),
        *("temperature", "avg_logprob", "compression_ratio", "no_speech_prob"),
    } <= set(RESULT.to_dict()["segments"][0])


def test_nothing_can_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RESULT.text = ""  # type: ignore[misc]
    with pytest.raises(TypeError):
        RESULT["text"] = ""  # type: ignore[index]


def test_plain_dictionaries() -> None:
    plain = RESULT.to_dict()
    assert plain["segments"][0]["text"] == " three"
    assert "words" not in plain["segments"][0]  # which were not asked for
    timed = dataclasses.replace(SEGMENT, words=(WORD,)).to_dict()
    assert timed["words"][0] == {"word": " three", "start": 0.4, "end": 0.8, "probability": 0.9}
    again = json.loads(json.dumps(plain))
    assert again["segments"][0]["tokens"] == list(SEGMENT.tokens)
    assert again["language"] == "en"


def test_equal_results_are_equal() -> None:
    assert dataclasses.replace(RESULT) == RESULT
    assert hash(dataclasses.replace(SEGMENT)) == hash(SEGMENT)
    assert dataclasses.replace(RESULT, text="") != RESULT
