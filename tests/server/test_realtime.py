"""Realtime transcription sessions by OpenAI's client."""

import asyncio
import base64
import json

import openai
import pytest
from websockets.sync.client import connect

from recordings import noise, silence, speech, stretched
from running_server import pcm, refused, running, wait_until
from whisper_apr.server.realtime_config import DELAYS, RATE, SessionConfig, updated

# OpenAI's client calls it in the earlier way
pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager:DeprecationWarning")

TRANSCRIPTION = "conversation.item.input_audio_transcription"


def at_24_khz(*sounds) -> bytes:
    return pcm(*(stretched(sound, 16_000 / RATE) for sound in sounds))


PAUSE = noise(2, 1e-3)
TWO = at_24_khz(speech("en"), PAUSE, speech("de"), PAUSE)


def session(**settings):
    """Return a `session.update`'s object with settings of the sound."""
    return {"type": "transcription", "audio": {"input": settings}}


class Talk:
    """A session of OpenAI's client, and the events that it has received."""

    def __init__(self, connection):
        self.connection = connection
        self.events = []

    def receive(self, *kinds):
        """Receive events until one of a kind, which is returned."""
        while True:
            event = self.connection.recv()
            self.events.append(event)
            assert event.type != "error" or "error" in kinds, event
            if event.type in kinds:
                return event

    def append(self, audio: bytes, size=RATE):
        for at in range(0, len(audio), size):
            part = base64.b64encode(audio[at : at + size]).decode()
            self.connection.input_audio_buffer.append(audio=part)

    def kinds(self):
        return [event.type for event in self.events]


@pytest.fixture
def talk(client):
    with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        made = Talk(connection)
        made.receive("session.created")
        yield made


def test_the_session_has_the_settings_of_the_server_and_the_client(talk):
    created = talk.events[0].session
    assert (created.type, created.audio.input.format.rate) == ("transcription", 24_000)
    assert created.audio.input.transcription.model == "digits"
    assert created.audio.input.turn_detection.type == "server_vad"
    change = session(transcription={"language": "en"}, turn_detection={"type": "server_vad", "threshold": 0.4})
    talk.connection.session.update(session=change)
    audio = talk.receive("session.updated").session.audio.input
    assert (audio.transcription.model, audio.transcription.language) == ("digits", "en")
    assert (audio.turn_detection.threshold, audio.turn_detection.silence_duration_ms) == (0.4, 500)
    talk.connection.session.update(session=session(turn_detection=None))
    audio = talk.receive("session.updated").session.audio.input
    assert (audio.transcription.language, audio.turn_detection) == ("en", None)


def test_utterances_end_at_pauses(talk, model):
    talk.connection.session.update(session=session(turn_detection={"type": "server_vad", "silence_duration_ms": 800}))
    talk.append(TWO)
    done = [talk.receive(f"{TRANSCRIPTION}.completed") for _ in range(2)]
    expected = [model.transcribe(speech(name)).text.strip() for name in ("en", "de")]
    assert [event.transcript for event in done] == expected
    for event in done:
        own = [each for each in talk.events if getattr(each, "item_id", None) == event.item_id]
        kinds = [each.type for each in own]
        assert kinds[0] == "input_audio_buffer.speech_started"
        assert kinds[-3:] == [
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            f"{TRANSCRIPTION}.completed",
        ]
        deltas = [each.delta for each in own if each.type == f"{TRANSCRIPTION}.delta"]
        assert "".join(deltas).strip() == event.transcript
        assert own[-3].audio_end_ms > own[0].audio_start_ms
        assert event.usage.seconds == pytest.approx((own[-3].audio_end_ms - own[0].audio_start_ms) / 1000, abs=0.01)
    items = [each.item for each in talk.events if each.type == "conversation.item.added"]
    assert [item.id for item in items] == [event.item_id for event in done]
    committed = [each for each in talk.events if each.type == "input_audio_buffer.committed"]
    assert [each.previous_item_id for each in committed] == [None, done[0].item_id]
    started = [each for each in talk.events if each.type == "input_audio_buffer.speech_started"]
    assert started[1].audio_start_ms > 1000 * len(speech("en")) / 16_000
    assert len({event.event_id for event in talk.events}) == len(talk.events)


def test_the_client_ends_utterances(talk, model):
    talk.connection.session.update(session=session(turn_detection=None))
    for name in ("en", "de"):
        talk.append(at_24_khz(speech(name)), 5_000)
        talk.connection.input_audio_buffer.commit()
        done = talk.receive(f"{TRANSCRIPTION}.completed")
        assert done.transcript == model.transcribe(speech(name)).text.strip()
        assert done.usage.seconds == pytest.approx(len(speech(name)) / 16_000, abs=0.1)
    assert "input_audio_buffer.speech_started" not in talk.kinds()
    assert talk.kinds().count("input_audio_buffer.committed") == 2


def test_words_come_while_an_utterance_is_spoken(talk):
    talk.connection.session.update(session=session(turn_detection=None, transcription={"delay": "minimal"}))
    talk.receive("session.updated")
    audio = at_24_khz(speech("en"))
    for at in range(0, len(audio), RATE):  # half a second
        talk.append(audio[at : at + RATE])
    talk.receive(f"{TRANSCRIPTION}.delta")
    assert "input_audio_buffer.committed" not in talk.kinds()


def test_a_commit_ends_an_utterance_without_a_pause(talk, model):
    talk.append(at_24_khz(speech("en")))
    talk.connection.input_audio_buffer.commit()
    text = talk.receive(f"{TRANSCRIPTION}.completed").transcript
    assert text == model.transcribe(speech("en")).text.strip()
    talk.append(at_24_khz(silence(1)))
    talk.connection.input_audio_buffer.commit()
    assert talk.receive(f"{TRANSCRIPTION}.completed").transcript == ""


def test_cleared_samples_have_no_text(talk):
    talk.connection.session.update(session=session(turn_detection=None))
    talk.append(at_24_khz(speech("en")))
    talk.connection.input_audio_buffer.clear()
    talk.receive("input_audio_buffer.cleared")
    talk.append(at_24_khz(silence(1)))
    talk.connection.input_audio_buffer.commit()
    assert talk.receive(f"{TRANSCRIPTION}.completed").transcript == ""


def test_the_language_is_that_of_the_session(talk, model):
    change = session(turn_detection=None, transcription={"language": "de", "prompt": "", "keywords": ["six"]})
    talk.connection.session.update(session=change)
    talk.append(at_24_khz(speech("en")))
    talk.connection.input_audio_buffer.commit()
    assert talk.receive(f"{TRANSCRIPTION}.completed").transcript


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"type": "response.create"}, "unknown event 'response.create'"),
        ({"type": "input_audio_buffer.append", "audio": "?"}, "base64"),
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "whole 16-bit samples"),
        ({"type": "input_audio_buffer.commit"}, "buffer is empty"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "transcription sessions only"),
        ({"type": "session.update", "session": session(format={"type": "audio/pcmu"})}, "audio/pcm"),
        ({"type": "session.update", "session": session(noise_reduction={"type": "near_field"})}, "noise_reduction"),
        ({"type": "session.update", "session": session(transcription={"model": "gpt"})}, "'gpt' does not exist"),
        ({"type": "session.update", "session": session(transcription={"language": "xx"})}, "'xx' is not known"),
        ({"type": "session.update", "session": session(transcription={"delay": "none"})}, "minimal, low"),
        ({"type": "session.update", "session": session(transcription={"speed": 1})}, "transcription.speed"),
        ({"type": "session.update", "session": session(turn_detection={"type": "semantic_vad"})}, "server_vad"),
        ({"type": "session.update", "session": session(turn_detection={"threshold": 7})}, "from 0 to 1"),
        ({"type": "session.update", "session": session(turn_detection={"create_response": True})}, "no answers"),
        ({"type": "session.update", "session": session(gain=1)}, "input.gain"),
        ({"type": "session.update", "session": {"include": ["item.input_audio_transcription.logprobs"]}}, "logprobs"),
        ({"type": "session.update", "session": [1]}, "must be an object"),
        ({}, "unknown event"),
    ],
)
def test_a_wrong_event_is_an_error_and_the_session_goes_on(talk, event, message):
    talk.connection.send_raw(json.dumps(event | {"event_id": "mine"}))
    error = talk.receive("error").error
    assert message in error.message
    assert (error.type, error.event_id) == ("invalid_request_error", "mine")
    talk.connection.session.update(session=session())
    talk.receive("session.updated")


@pytest.mark.parametrize("message", ["no JSON", "[1]", "[" * 100_000, b"\x00\xff"])
def test_a_message_that_is_no_event(talk, message):
    talk.connection.send_raw(message)
    assert "unknown event" in talk.receive("error").error.message


def test_the_earlier_form_of_the_api(server, model):
    url, headers = f"ws://{server.address}/v1/realtime?intent=transcription", {"OpenAI-Beta": "realtime=v1"}
    with connect(url, additional_headers=headers) as socket:

        def receive(kind):
            while (event := json.loads(socket.recv()))["type"] != kind:
                assert event["type"] != "error", event
            return event

        assert receive("transcription_session.created")["session"]["input_audio_format"] == "pcm16"
        change = {"input_audio_transcription": {"model": "whisper-1", "language": "en"}, "turn_detection": None}
        socket.send(json.dumps({"type": "transcription_session.update", "session": change}))
        updated_session = receive("transcription_session.updated")["session"]
        assert updated_session["input_audio_transcription"] == {"model": "whisper-1", "language": "en"}
        audio = base64.b64encode(at_24_khz(speech("en"))).decode()
        socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
        receive("conversation.item.created")
        assert receive(f"{TRANSCRIPTION}.completed")["transcript"] == model.transcribe(speech("en")).text.strip()


def test_the_asynchronous_client(server, model):
    async def run():
        async with (
            openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused") as client,
            client.realtime.connect(model="whisper-1") as connection,
        ):
            await connection.session.update(session=session(turn_detection=None))
            await connection.input_audio_buffer.append(audio=base64.b64encode(at_24_khz(speech("en"))).decode())
            await connection.input_audio_buffer.commit()
            while (event := await connection.recv()).type != f"{TRANSCRIPTION}.completed":
                pass
            return event.transcript

    assert asyncio.run(run()) == model.transcribe(speech("en")).text.strip()


@pytest.mark.parametrize(
    ("query", "status"), [("", 400), ("intent=conversation", 400), ("model=gpt-realtime", 404), ("model=digits", None)]
)
def test_other_sessions_are_refused(server, query, status):
    url = f"ws://{server.address}/v1/realtime?{query}"
    if status is None:
        with connect(url):
            return
    found, error = refused(url)
    assert (found, error["type"]) == (status, "invalid_request_error")


def test_sessions_are_limited():
    with running(max_sessions=1) as server:
        url = f"ws://{server.address}/v1/realtime?intent=transcription"
        with connect(url):
            assert refused(url)[0] == 429
            assert server.metric("whisper_apr_live_sessions") == 1
        wait_until(lambda: server.service.live.count == 0)
        with connect(url):
            pass


def test_a_session_needs_the_key_and_the_right_origin():
    with running(api_keys=("secret",)) as server:
        url = f"ws://{server.address}/v1/realtime?intent=transcription"
        for settings, status in (
            ({}, 401),
            ({"subprotocols": ["realtime", "openai-insecure-api-key.wrong"]}, 401),
            ({"additional_headers": {"Origin": "https://example.org"}}, 403),
        ):
            assert refused(url, **settings)[0] == status
        # as OpenAI's client does in a browser
        with connect(url, subprotocols=["realtime", "openai-insecure-api-key.secret"]) as socket:
            assert socket.subprotocol == "realtime"
        with server.client("secret").realtime.connect(model="whisper-1") as connection:
            assert connection.recv().type == "session.created"


def test_delays_are_steps(server):
    checker = server.service.checker
    for name, step in DELAYS.items():
        config = updated(SessionConfig(), session(transcription={"delay": name}), checker)
        assert config.live_options()["step"] == step
