"""The Wyoming protocol, by wyoming's client as Home Assistant uses it."""

import asyncio
import json
import warnings

import pytest

from recordings import silence, speech, stretched
from running_server import pcm, running, wait_until
from whisper_apr.server.wyoming import MAX_DATA, MAX_PAYLOAD

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # wyoming imports audioop
    from wyoming.asr import Transcribe, Transcript, TranscriptChunk
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.client import AsyncTcpClient
    from wyoming.error import Error
    from wyoming.event import Event
    from wyoming.info import Describe, Info
    from wyoming.ping import Ping, Pong

LAST = ("transcript-stop", "error", "info", "pong")


def talk(server, *events):
    """Send events, and return those of the answer."""

    async def run():
        async with AsyncTcpClient("127.0.0.1", server.wyoming_port) as client:
            for event in events:
                await client.write_event(event if isinstance(event, Event) else event.event())
            answers = []
            while (answer := await client.read_event()) is not None:
                answers.append(answer)
                if answer.type in LAST:
                    break
            return answers

    return asyncio.run(run())


def spoken(samples, rate=16_000, size=2_000, **layout):
    layout = {"rate": rate, "width": 2, "channels": 1} | layout
    chunks = [AudioChunk(audio=samples[at : at + size], **layout) for at in range(0, len(samples), size)]
    return [AudioStart(**layout), *chunks, AudioStop()]


def text_of(answers):
    (event,) = (answer for answer in answers if Transcript.is_type(answer.type))
    return Transcript.from_event(event)


def test_description(server):
    (answer,) = talk(server, Describe())
    (program,) = Info.from_event(answer).asr
    assert [model.name for model in program.models] == ["digits"]
    assert {"en", "de"} <= set(program.models[0].languages)
    assert program.supports_transcript_streaming


def test_text(server, model):
    answers = talk(server, Transcribe(), *spoken(pcm(speech("en"))))
    found, expected = text_of(answers), model.transcribe(speech("en"))
    assert (found.text, found.language) == (expected.text.strip(), "en")
    assert [answer.type for answer in answers] == [
        "transcript-start",
        "transcript-chunk",
        "transcript",
        "transcript-stop",
    ]


def test_text_comes_in_parts(server, model):
    sound = pcm(speech("en"), silence(29), speech("de"))
    answers = talk(server, *spoken(sound, size=100_000))
    parts = [TranscriptChunk.from_event(each).text for each in answers if TranscriptChunk.is_type(each.type)]
    assert len(parts) > 1
    assert "".join(parts) == text_of(answers).text


def test_other_layouts_of_samples(server, model):
    expected = model.transcribe(speech("en")).text.strip()
    stereo = [sample for each in memoryview(pcm(speech("en"))).cast("h") for sample in (each, each)]
    data = b"".join(sample.to_bytes(2, "little", signed=True) for sample in stereo)
    assert text_of(talk(server, *spoken(data, channels=2, size=50_000))).text == expected
    slow = pcm(stretched(speech("en"), 2))
    assert text_of(talk(server, *spoken(slow, rate=8_000))).text == expected


def test_language_model_and_words(server, model):
    request = Transcribe(name="whisper-1", language="de", transcript_names=["six"], transcript_terms=["two"])
    found = text_of(talk(server, request, *spoken(pcm(speech("en")))))
    expected = model.transcribe(speech("en"), language="de", hotwords=("six", "two"))
    assert (found.text, found.language) == (expected.text.strip(), "de")


def test_several_requests_in_one_connection(server, model):
    async def run():
        async with AsyncTcpClient("127.0.0.1", server.wyoming_port) as client:
            texts = []
            for name in ("en", "de"):
                for event in spoken(pcm(speech(name))):
                    await client.write_event(event.event())
                while not Transcript.is_type((answer := await client.read_event()).type):
                    pass
                texts.append(Transcript.from_event(answer).text)
            return texts

    assert asyncio.run(run()) == [model.transcribe(speech(name)).text.strip() for name in ("en", "de")]


def test_ping(server):
    (answer,) = talk(server, Ping(text="here"))
    assert Pong.from_event(answer).text == "here"


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([Transcribe(name="large-v9")], "'large-v9' does not exist"),
        ([Transcribe(language="xx")], "'xx' is not known"),
        ([AudioStart(rate=0, width=2, channels=1)], "rate of the audio must be from 1000"),
        ([AudioStart(rate=16_000, width=9, channels=1)], "width of the audio"),
        ([Event("audio-start", {"rate": "x"})], "rate of the audio"),
        ([AudioStart(rate=16_000, width=2, channels=1), AudioStop()], "no samples"),
    ],
)
def test_errors(server, events, message):
    (*_, answer) = talk(server, *events)
    assert message in Error.from_event(answer).text


def test_a_recording_above_the_limit_is_refused():
    with running(max_upload=10_000) as server:
        (answer,) = talk(server, *spoken(pcm(speech("en")))[:-1])
        assert "too long" in Error.from_event(answer).text


def test_the_number_of_requests_is_limited(model):
    with running(max_requests=1) as server, server.service.admission.enter():
        (answer,) = talk(server, *spoken(pcm(speech("en"))))
        assert Error.from_event(answer).code == "rate_limit_exceeded"


def test_a_request_that_takes_too_long_is_ended():
    with running(timeout=0.5) as server:
        (*_, answer) = talk(server, *spoken(pcm(*[speech("en_three"), silence(28)] * 6), size=500_000))
        assert "more than 0.5 s" in Error.from_event(answer).text


@pytest.mark.parametrize(
    "data",
    [
        b"no JSON\n",
        b"[1]\n",
        b"{}\n",
        b"x" * 100_000,
        b'{"type": 5}\n',
        b"[" * 60_000 + b"\n",
        json.dumps({"type": "audio-chunk", "payload_length": MAX_PAYLOAD + 1}).encode() + b"\n",
        json.dumps({"type": "audio-chunk", "payload_length": "9"}).encode() + b"\n",
        json.dumps({"type": "audio-chunk", "data_length": MAX_DATA + 1}).encode() + b"\n",
        json.dumps({"type": "describe", "data_length": 3}).encode() + b"\nxyz",
    ],
)
def test_what_is_no_event_closes_the_connection(server, data):
    async def run():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.wyoming_port)
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    assert asyncio.run(run()) == b""
    assert talk(server, Ping(text="still here"))


def test_a_client_that_leaves_cancels_its_work(server):
    cancelled = server.metric("whisper_apr_cancelled_total")

    async def run():
        async with AsyncTcpClient("127.0.0.1", server.wyoming_port) as client:
            for event in spoken(pcm(*[speech("en_three"), silence(28)] * 6), size=500_000):
                await client.write_event(event.event())
            assert (await client.read_event()).type == "transcript-start"

    asyncio.run(run())
    server.wait_until_idle()
    wait_until(lambda: server.metric("whisper_apr_cancelled_total") == cancelled + 1)


def test_requests_are_finished_when_the_server_stops(model):
    sound = [speech("en_three"), silence(28)] * 3

    async def run(server):
        async with AsyncTcpClient("127.0.0.1", server.wyoming_port) as client:
            for event in spoken(pcm(*sound), size=500_000):
                await client.write_event(event.event())
            assert (await client.read_event()).type == "transcript-start"
            server.server.should_exit = True
            while not Transcript.is_type((answer := await client.read_event()).type):
                pass
            return Transcript.from_event(answer).text

    with running() as server:
        text = asyncio.run(run(server))
    assert text.startswith(model.transcribe(sound[0]).text.strip())


def test_open_connections_end_quietly_when_the_server_stops(caplog):
    async def run(server):
        async with AsyncTcpClient("127.0.0.1", server.wyoming_port) as client:
            await client.write_event(Ping().event())
            assert (await client.read_event()).type == "pong"
            server.server.should_exit = True
            assert await client.read_event() is None

    with running() as server:
        asyncio.run(run(server))
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
