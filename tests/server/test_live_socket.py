"""The WebSocket that takes samples and gives words."""

import json
from itertools import pairwise

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from recordings import speech, stretched
from running_server import pcm, refused, running, wait_until
from whisper_apr.server.live_audio import LiveStreams


def words(server, query, blocks):
    """Send samples, and return the settled words and all messages."""
    messages = []
    with connect(f"ws://{server.address}/v1/audio/live?{query}") as socket:
        for block in blocks:
            socket.send(block)
        socket.send("end")
        for message in socket:
            messages.append(json.loads(message))
        assert socket.protocol.close_code == 1000
    assert [message.get("final", False) for message in messages] == [False] * (len(messages) - 1) + [True]
    return [word for message in messages for word in message["settled"]], messages


def parts(data, size=9_999):
    """Divide bytes into messages that end inside of samples."""
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize(
    ("query", "data"),
    [
        ("", pcm(speech("en"))),
        ("format=f32le&step=0.5", speech("en").astype("<f4").tobytes()),
        ("rate=8000&language=en", pcm(stretched(speech("en"), 2))),
    ],
)
def test_words(server, model, query, data):
    settled, messages = words(server, query, parts(data))
    assert "".join(word["word"] for word in settled).split() == model.transcribe(speech("en")).text.split()
    assert settled[0].keys() == {"word", "start", "end", "probability"}
    assert all(a["end"] <= b["end"] for a, b in pairwise(settled))
    assert messages[-1]["tentative"] == []


def test_tentative_words_come_first(server):
    with connect(f"ws://{server.address}/v1/audio/live?step=0.5") as socket:
        socket.send(pcm(speech("en_three")[:32_000]))
        message = json.loads(socket.recv(timeout=60))
        assert message["tentative"]
        assert message["settled"] == []


def test_options(server, monkeypatch):
    seen, opened = {}, LiveStreams.open

    def spy(self, **options):
        seen.update(options)
        return opened(self, **options)

    monkeypatch.setattr(LiveStreams, "open", spy)
    words(server, "rate=8000&language=de&task=translate&prompt=six&step=0.5", [])
    assert seen == {
        "sampling_rate": 8000.0,
        "language": "de",
        "task": "translate",
        "initial_prompt": "six",
        "step": 0.5,
    }


@pytest.mark.parametrize(
    ("query", "param"),
    [("rate=fast", "rate"), ("rate=1", None), ("format=mp3", "format"), ("gain=1", "gain"), ("language=xx", None)],
)
def test_wrong_options(server, query, param):
    status, error = refused(f"ws://{server.address}/v1/audio/live?{query}")
    assert (status, error["param"]) == (400, param)


def test_samples_that_are_not_finite(server):
    with connect(f"ws://{server.address}/v1/audio/live?format=f32le") as socket:
        socket.send(np.full(1000, np.nan, "<f4").tobytes())
        with pytest.raises(ConnectionClosed):
            socket.recv()
        assert socket.protocol.close_code == 1003


def test_a_client_that_leaves_ends_its_session(server):
    with connect(f"ws://{server.address}/v1/audio/live?step=0.1") as socket:
        socket.send(pcm(*[speech("en_three")] * 5))
    wait_until(lambda: server.service.live.count == 0)


def test_sessions_end_when_the_server_stops():
    with running(stop_timeout=1) as server:
        url = f"ws://{server.address}/v1/audio/live"
        with connect(url) as socket:
            socket.send(pcm(speech("en")))
            server.server.should_exit = True
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=30)
