"""Transcriptions and translations by OpenAI's client: formats, parameters, streams and errors."""

import io
import json
import re
from pathlib import Path

import openai
import pytest

from recordings import silence, speech
from running_server import recording, running
from whisper_apr.server.parameters import FORMATS, GRANULARITIES, TRANSCRIPTION, TRANSLATION

DATA = Path(__file__).parents[1] / "data"
EN, DE = DATA / "en.wav", DATA / "de.wav"


@pytest.fixture(scope="module")
def transcribe(client):
    def call(path: Path | bytes = EN, **parameters):
        return client.audio.transcriptions.create(file=path, **{"model": "digits"} | parameters)

    return call


@pytest.fixture(scope="module")
def expected(model):
    return model.transcribe(EN)


@pytest.fixture(scope="module")
def timed(model):
    return model.transcribe(EN, word_timestamps=True)


# ---- formats --------------------------------------------------------------------------------------------------------


def test_json_is_the_default(transcribe, expected):
    result = transcribe()
    assert result.text == expected.text.strip()
    assert result == transcribe(response_format="json")
    assert (result.usage.type, result.usage.seconds) == ("duration", 5)


def test_text_and_subtitles(transcribe, expected):
    assert transcribe(response_format="text") == expected.text.strip() + "\n"
    assert transcribe(response_format="srt") == expected.to_srt()
    assert transcribe(response_format="vtt") == expected.to_vtt()


def test_verbose_json_has_the_segments(transcribe, expected):
    result = transcribe(response_format="verbose_json")
    assert (result.text, result.language, result.duration) == (expected.text.strip(), "english", expected.duration)
    assert result.words is None
    assert result == transcribe(response_format="verbose_json", timestamp_granularities=["segment"])
    names = type(result.segments[0]).model_fields
    assert [each.model_dump() for each in result.segments] == [{n: s[n] for n in names} for s in expected.segments]


def test_verbose_json_has_the_words(transcribe, timed):
    result = transcribe(response_format="verbose_json", timestamp_granularities=["word"])
    assert result.segments is None
    words = [(each.word, each.start, each.end) for each in result.words]
    assert words == [(each.word.strip(), each.start, each.end) for each in timed.words]
    both = transcribe(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert both.words == result.words
    assert [each.start for each in both.segments] == [each.start for each in timed.segments]


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_translations(client, model):
    expected = model.transcribe(DE, task="translate")
    translate = client.audio.translations.create
    assert translate(file=DE, model="whisper-1").text == expected.text.strip()
    verbose = translate(file=DE, model="whisper-1", response_format="verbose_json", prompt="one", temperature=0)
    assert (verbose.language, verbose.task) == ("english", "translate")
    for name in FORMATS[:-1]:
        translate(file=DE, model="digits", response_format=name)


def test_a_long_recording_is_read_from_the_file_of_its_upload(transcribe, model):
    audio = recording(silence(31), speech("en"))
    assert len(audio) > 1 << 20  # larger than what is kept in memory
    assert transcribe(audio).text == model.transcribe(audio).text.strip()


# ---- parameters -----------------------------------------------------------------------------------------------------


def test_language(transcribe, model):
    result = transcribe(response_format="verbose_json", language="de")
    assert result.language == "german"
    assert result.text == model.transcribe(EN, language="de").text.strip()


def test_languages(transcribe):
    result = transcribe(languages=["de", "es"])
    assert {each.code for each in result.languages} <= {"de", "es"}
    assert transcribe().languages is None


@pytest.mark.parametrize(
    ("parameter", "option"),
    [
        ({"prompt": "two two two two"}, {"initial_prompt": "two two two two"}),
        ({"keywords": ["three", "two"]}, {"hotwords": ("three", "two")}),
        ({"chunking_strategy": "auto"}, {"vad_filter": True}),
        (
            {"chunking_strategy": {"type": "server_vad", "threshold": 0.9, "prefix_padding_ms": 0}},
            {"vad_filter": True, "vad_parameters": {"threshold": 0.9, "speech_pad_ms": 0}},
        ),
        (
            {"chunking_strategy": {"type": "server_vad", "silence_duration_ms": 100}},
            {"vad_filter": True, "vad_parameters": {"min_silence_duration_ms": 100}},
        ),
    ],
)
def test_parameters_are_options_of_transcribe(transcribe, model, expected, parameter, option):
    def shown(segments):
        return [(s.start, s.end, s.avg_logprob) for s in segments]

    found = shown(transcribe(response_format="verbose_json", **parameter).segments)
    assert found == shown(model.transcribe(EN, **option).segments)
    assert found != shown(expected.segments)


def test_temperature(transcribe):
    assert transcribe(response_format="verbose_json", temperature=0.7).segments[0].temperature == 0.7
    assert transcribe(response_format="verbose_json", temperature=0).segments[0].temperature == 0


def test_the_options_of_the_server_apply_to_all_requests(model):
    with running(decoding={"seed": 3, "temperature": (1.0,)}) as server:
        result = server.client().audio.transcriptions.create(file=EN, model="digits", response_format="verbose_json")
        segments = model.transcribe(EN, seed=3, temperature=1.0).segments
        assert [s.avg_logprob for s in result.segments] == [s.avg_logprob for s in segments]
        given = server.client().audio.transcriptions.create(
            file=EN, model="digits", response_format="verbose_json", temperature=0.5
        )
        assert {s.temperature for s in given.segments} == {0.5}  # those of a request take precedence


def test_dropped_text_is_in_verbose_json():
    with running(decoding={"hallucination_filter": True, "initial_prefix": "nine", "temperature": 0.0}) as server:
        sound, form = recording(silence(3)), {"model": "digits", "language": "en"}

        def call(response_format):
            data = form | {"response_format": response_format}
            return server.post("/v1/audio/transcriptions", data=data, files={"file": ("a.wav", sound)}).json()

        found = call("verbose_json")
        assert found["text"] == ""
        (dropped,) = found["dropped"]
        assert (dropped["text"], dropped["reason"], dropped["end"]) == (" nine", "no_speech", 3)
        schemas = server.get("/openapi.json").json()["components"]["schemas"]
        assert dropped.keys() == schemas["DroppedText"]["properties"].keys()
        assert "dropped" not in call("json")


def test_logprobs(transcribe, expected):
    found = transcribe(include=["logprobs"]).logprobs
    assert "".join(each.token for each in found) == expected.text
    assert [bytes(map(int, each.bytes)).decode() for each in found] == [each.token for each in found]
    assert all(-0.5 < each.logprob <= 0 for each in found)
    assert transcribe().logprobs is None


def test_logprobs_are_given_the_text_before(transcribe):
    logprobs = [
        [each.logprob for each in transcribe(include=["logprobs"], **parameter).logprobs]
        for parameter in ({}, {"prompt": "six six six"}, {"keywords": ["six"]})
    ]
    assert logprobs[0] != logprobs[1] != logprobs[2] != logprobs[0]


# ---- streams --------------------------------------------------------------------------------------------------------


def test_a_stream_has_the_text_in_parts_and_whole(transcribe, model):
    audio = recording(speech("en"), silence(29), speech("en_three"))
    expected = model.transcribe(audio).text.strip()
    *deltas, done = transcribe(audio, stream=True)
    assert len(deltas) > 1
    assert {each.type for each in deltas} == {"transcript.text.delta"}
    assert done.type == "transcript.text.done"
    assert "".join(each.delta for each in deltas) == done.text == expected


def test_the_logprobs_of_a_stream(transcribe):
    *deltas, done = transcribe(stream=True, include=["logprobs"])
    parts = [each.model_dump() for delta in deltas for each in delta.logprobs]
    assert parts == [each.model_dump() for each in done.logprobs] != []


def test_a_stream_of_verbose_json(transcribe, timed):
    granularities = {"timestamp_granularities": ["word", "segment"]}
    *deltas, done = transcribe(stream=True, response_format="verbose_json", **granularities)
    assert "".join(each.delta for each in deltas) == done.text
    whole = transcribe(response_format="verbose_json", **granularities)
    assert done.model_dump(exclude={"type", "logprobs", "languages", "usage"}).items() <= whole.model_dump().items()
    assert len(done.segments) == len(timed.segments)


def test_a_stream_of_silence(transcribe):
    (done,) = transcribe(recording(silence(1)), stream=True)
    assert (done.type, done.text) == ("transcript.text.done", "")


# ---- models ---------------------------------------------------------------------------------------------------------


def test_models(client):
    assert [each.id for each in client.models.list()] == ["digits", "whisper-1"]
    assert client.models.retrieve("whisper-1").owned_by == "whisper_apr"
    with pytest.raises(openai.NotFoundError, match="'gpt-4o' does not exist"):
        client.models.retrieve("gpt-4o")


# ---- errors ---------------------------------------------------------------------------------------------------------

VERBOSE = {"response_format": "verbose_json"}
DIARIZED = {"response_format": "diarized_json"}
VOICES = {"known_speaker_names": ["Ann"], "known_speaker_references": ["data:audio/wav;base64,AAAA"]}


@pytest.mark.parametrize(
    ("parameters", "param", "message"),
    [
        ({"language": "xx"}, "language", "'xx' is not known"),
        ({"languages": ["en", "xx"]}, "languages", "'xx' is not known"),
        ({"language": "en", "languages": ["en"]}, "languages", "together"),
        ({"temperature": 1.5}, "temperature", "from 0 to 1"),
        ({"temperature": float("nan")}, "temperature", "from 0 to 1"),
        ({"temperature": "hot"}, "temperature", "from 0 to 1"),
        ({"response_format": "pdf"}, "response_format", "json, text, srt, verbose_json, vtt or diarized_json"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities", "verbose_json"),
        (VERBOSE | {"timestamp_granularities": ["day"]}, "timestamp_granularities", "word or segment"),
        ({"include": ["speakers"]}, "include", "logprobs"),
        (VERBOSE | {"include": ["logprobs"]}, "include", "json"),
        ({"response_format": "text", "stream": True}, "stream", "json, verbose_json or diarized_json"),
        ({"chunking_strategy": "manual"}, "chunking_strategy", "auto"),
        ({"chunking_strategy": {"type": "client_vad"}}, "chunking_strategy", "server_vad"),
        ({"chunking_strategy": {"type": "server_vad", "threshold": 2}}, "chunking_strategy", "from 0 to 1"),
        ({"chunking_strategy": {"type": "server_vad", "threshold": 0}}, "chunking_strategy", "above 0"),
        ({"chunking_strategy": {"type": "server_vad", "pause": 2}}, "chunking_strategy", "'pause'"),
        ({"keywords": ["x"] * 101}, "keywords", "100"),
        (VOICES, "known_speaker_names", "diarized_json"),
        (DIARIZED | {"known_speaker_names": ["Ann"]}, "known_speaker_references", "same order"),
        (DIARIZED | VOICES | {"known_speaker_names": ["A"] * 2}, "known_speaker_names", "different names"),
        (DIARIZED | VOICES | {"known_speaker_names": [*"ABCDE"]}, "known_speaker_names", "up to 4"),
        (DIARIZED | VOICES | {"known_speaker_references": ["en.wav"]}, "known_speaker_references", "data URLs"),
        (DIARIZED | VOICES | {"known_speaker_references": ["data:;base64,?"]}, "known_speaker_references", "data URLs"),
        ({"extra_body": {"vad": "on"}}, "vad", "unknown parameter 'vad'"),
        ({"extra_body": {"lang": "en"}}, "lang", "did you mean 'language'"),
        ({"extra_body": {"prompt": ["a", "b"]}}, "prompt", "once"),
    ],
)
def test_a_wrong_parameter_is_named(transcribe, parameters, param, message):
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        transcribe(**parameters)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


def test_every_parameter_is_known_or_refused():
    """OpenAI's client knows no parameter that the server does not."""
    from openai.types.audio import transcription_create_params, translation_create_params

    known = transcription_create_params.TranscriptionCreateParamsBase.__annotations__.keys() | {"stream"}
    assert known == TRANSCRIPTION.keys()
    assert translation_create_params.TranslationCreateParams.__annotations__.keys() == TRANSLATION.keys()
    assert GRANULARITIES == ("word", "segment")


def test_an_unknown_model(transcribe):
    with pytest.raises(openai.NotFoundError, match="'large-v9' does not exist") as caught:
        transcribe(model="large-v9")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("content", [b"", b"no sound", EN.read_bytes()[:30]])
def test_what_is_no_recording(transcribe, content):
    for streamed in (False, True):
        with pytest.raises(openai.BadRequestError, match="not a recording that can be read") as caught:
            transcribe(("talk.wav", io.BytesIO(content)), stream=streamed)
        assert caught.value.param == "file"


@pytest.mark.parametrize(
    ("fields", "param"), [({"model": "digits"}, "file"), ({}, "file"), ({"file": "text", "model": "digits"}, "file")]
)
def test_a_missing_field(server, fields, param):
    response = server.post("/v1/audio/transcriptions", files={name: (None, value) for name, value in fields.items()})
    if fields:
        assert response.status_code == 400
        assert response.json()["error"]["param"] == param
    else:
        assert response.status_code == 415  # not a form
    response = server.post("/v1/audio/transcriptions", files={"file": ("a.wav", b"")})
    assert response.json()["error"]["param"] == "model"


def test_a_parameter_that_is_a_file(server):
    form = {"file": ("a.wav", EN.read_bytes()), "model": (None, "digits"), "stream": (None, "yes")}
    response = server.post("/v1/audio/transcriptions", files=form)
    assert response.json()["error"]["message"] == "stream must be true or false, not 'yes'"
    form["prompt"] = form["file"]
    response = server.post("/v1/audio/transcriptions", files=form)
    assert (response.status_code, response.json()["error"]["message"]) == (
        400,
        "the form is damaged: Too many files. Maximum number of files is 1.",
    )


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n", "multipart/form-data; boundary=x", 400),
        (b"no form", "multipart/form-data; boundary=x", 400),
        (b"", "multipart/form-data", 400),
        (b"{}", "application/json", 415),
    ],
)
def test_a_damaged_form(server, body, kind, status):
    response = server.post("/v1/audio/transcriptions", content=body, headers={"Content-Type": kind})
    assert response.status_code == status
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_unknown_paths_and_methods(server):
    error = {"type": "invalid_request_error", "param": None, "code": None}
    response = server.get("/v1/chat/completions")
    assert response.status_code == 404
    assert response.json() == {"error": {"message": "there is no GET /v1/chat/completions; see /openapi.json"} | error}
    response = server.get("/v1/audio/transcriptions")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["error"] | error == response.json()["error"]


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_a_model_of_english_only_does_not_translate(client, model, monkeypatch):
    monkeypatch.setattr(model, "is_multilingual", False)
    with pytest.raises(openai.BadRequestError, match="cannot translate"):
        client.audio.translations.create(file=EN, model="digits")


def test_events_are_lines_of_json(server):
    form = {"file": ("a.wav", EN.read_bytes()), "model": (None, "digits"), "stream": (None, "true")}
    response = server.post("/v1/audio/transcriptions", files=form)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = re.findall(r"data: (.*)\n\n", response.text)
    assert "".join(f"data: {event}\n\n" for event in events) == response.text
    assert [json.loads(event)["type"] for event in events] == ["transcript.text.delta", "transcript.text.done"]
