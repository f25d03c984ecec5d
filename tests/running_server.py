"""A server in a thread of this process, and clients of it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from encoded import digits
from recordings import Samples, join, wav
from whisper_apr import Recognizer
from whisper_apr.server.http_server import Server, listen
from whisper_apr.server.settings import Settings


class Running:
    """A server that runs."""

    def __init__(self, server: Server, port: int, wyoming_port: int) -> None:
        self.server = server
        self.wyoming_port = wyoming_port
        self.service = server.app.state.service
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"
        self._clients: list[openai.OpenAI] = []

    def client(self, key: str = "unused", **settings: Any) -> openai.OpenAI:
        """Return OpenAI's client, which does not try again after an error. It is closed before the server ends.

        It refers to itself: the garbage collector would find it in any test, and perhaps its open sockets before it.
        """
        settings = {"max_retries": 0} | settings
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, **settings)
        self._clients.append(client)
        return client

    def close_clients(self) -> None:
        for client in self._clients:
            client.close()

    def get(self, path: str, **settings: Any) -> httpx.Response:
        return httpx.get(self.url + path, **settings)

    def post(self, path: str, **settings: Any) -> httpx.Response:
        return httpx.post(self.url + path, timeout=120, **settings)

    def metric(self, name: str) -> float:
        """Return the sum of a metric's samples."""
        lines = [line for line in self.get("/metrics").text.splitlines() if line.startswith(name)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def wait_until_idle(self) -> None:
        """Wait until no request runs."""
        wait_until(lambda: self.service.admission.count == 0)


def refused(url: str, **settings: Any) -> tuple[int, dict[str, Any]]:
    """Return the status and the error with which a WebSocket is refused."""
    with pytest.raises(InvalidStatus) as caught, connect(url, **settings):
        pass
    response = caught.value.response
    return response.status_code, json.loads(response.body)["error"]


def recording(*parts: Samples) -> bytes:
    """Return a WAV file of sounds one after another."""
    return wav(pcm(*parts))


def pcm(*parts: Samples) -> bytes:
    """Return sounds one after another as 16-bit samples at 16 kHz."""
    return (join(*parts) * 32767).astype("<i2").tobytes()


def wait_until(condition: Any) -> None:
    """Wait until a condition holds, at most a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it took more than a minute"
        time.sleep(0.01)


@contextmanager
def running(model: Recognizer | None = None, **settings: Any) -> Iterator[Running]:
    """Serve a model, by default `digits`, and the Wyoming protocol, on free ports."""
    with listen("127.0.0.1", 0, "") as listening, listen("127.0.0.1", 0, "") as wyoming:
        server = Server(model or digits(), Settings("digits", **settings), wyoming)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            started = Running(server, listening.getsockname()[1], wyoming.getsockname()[1])
            try:
                yield started
            finally:
                started.close_clients()
        finally:
            server.should_exit = True
            thread.join()
