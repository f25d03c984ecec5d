"""The response format diarized_json: who speaks, in OpenAI's client. Needs the package whisper-apr-speakers."""

from base64 import b64encode
from pathlib import Path

import numpy as np
import openai
import pytest

from recordings import silence, speech
from running_server import recording
from whisper_apr import Segment
from whisper_apr.server.parameters import MAX_VOICES
from whisper_apr.server.responses import _speaker_label

EN = Path(__file__).parents[1] / "data" / "en.wav"
TWO = np.concatenate([speech("en"), silence(1), speech("de")])


def data_url(content: bytes) -> str:
    return "data:audio/wav;base64," + b64encode(content).decode()


@pytest.fixture(scope="module")
def transcribe(client):
    def call(file=EN, **parameters):
        given = {"model": "digits", "response_format": "diarized_json"} | parameters
        return client.audio.transcriptions.create(file=file, **given)

    return call


def parts(segments: list[Segment]) -> list[tuple[float, float, str]]:
    return [(segment.start, segment.end, segment.text.strip()) for segment in segments]


def test_segments_have_speakers(transcribe, model):
    expected = model.transcribe(TWO, speakers=True, word_timestamps=True)
    result = transcribe(("two.wav", recording(TWO)))
    assert (result.task, result.text, result.usage.type) == ("transcribe", expected.text.strip(), "duration")
    assert result.duration == pytest.approx(len(TWO) / 16000)
    assert parts(result.segments) == parts(expected.segments)
    assert [each.speaker for each in result.segments] == [_speaker_label(each.speaker) for each in expected.segments]
    assert {"A"} <= {each.speaker for each in result.segments} <= {"A", "B"}
    assert [each.id for each in result.segments] == [f"seg_{i}" for i in range(len(result.segments))]


def test_a_known_speaker_has_a_name(transcribe):
    voice = data_url(EN.read_bytes())
    result = transcribe(known_speaker_names=["Ann"], known_speaker_references=[voice])
    assert {each.speaker for each in result.segments} == {"Ann"}
    assert {each.speaker for each in transcribe().segments} == {"A"}


def test_events_of_a_stream(transcribe):
    whole = transcribe()
    events = [*transcribe(stream=True)]
    segments = [event for event in events if event.type == "transcript.text.segment"]
    assert [(event.id, event.speaker, event.text) for event in segments] == [
        (each.id, each.speaker, each.text) for each in whole.segments
    ]
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == whole.text
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == whole.text


@pytest.mark.parametrize(("content", "message"), [(b"no sound", "'Ann'"), (recording(silence(0.2)), "0.5 s")])
def test_a_voice_that_cannot_be_used(transcribe, content, message):
    with pytest.raises(openai.BadRequestError, match=message):
        transcribe(known_speaker_names=["Ann"], known_speaker_references=[data_url(content)])


def test_four_references_of_ten_seconds_in_cd_quality_are_accepted(transcribe):
    references = [data_url(recording(np.resize(speech("en"), 10 * 44100)))] * (MAX_VOICES - 1) + [data_url(b"x")]
    with pytest.raises(openai.BadRequestError, match="'Bob'"):  # all four are read
        transcribe(known_speaker_names=["Ann", "Cid", "Dan", "Bob"], known_speaker_references=references)


@pytest.mark.parametrize(
    ("speaker", "label"),
    [("SPEAKER_00", "A"), ("SPEAKER_25", "Z"), ("SPEAKER_26", "AA"), ("SPEAKER_701", "ZZ"), ("Ann", "Ann")],
)
def test_letters(speaker, label):
    assert _speaker_label(speaker) == label


def test_no_speaker_is_unknown():
    assert _speaker_label(None) == "unknown"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_translations_have_no_speakers(client):
    with pytest.raises(openai.BadRequestError, match="response_format"):
        client.audio.translations.create(file=EN, model="digits", response_format="diarized_json")
