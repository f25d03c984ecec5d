"""A server that answers each connection with the next of its scripts, for tests of misbehaving servers."""

import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from whisper_apr.errors import FormatError, ModelNotFoundError
from whisper_apr.formats.apr import http as apr_http

Script = Callable[[socket.socket, bytes], None]  # handles a connection after the request was read


class Scripted:
    """A server that handles each connection with the next script, further ones with the last."""

    def __init__(self, *scripts: Script, context: ssl.SSLContext | None = None) -> None:
        self._scripts, self._context = list(scripts), context
        self.requests: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}/model.apr"
        self.is_over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self.is_over.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        if self._context is not None:
            try:
                connection = self._context.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        with suppress(OSError), connection:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := connection.recv(1 << 16)):
                    return
                head += piece
            self.requests.append(head)
            script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
            script(connection, head)
            if self._context is not None:
                connection.unwrap()

    def close(self) -> None:
        self.is_over.set()
        self.listener.close()


@contextmanager
def serving_scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scripted]]:
    """Provide a function that starts servers, which end with the block."""
    monkeypatch.setattr(apr_http, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(apr_http, "TIMEOUT", 10.0)
    servers: list[Scripted] = []

    def start(*scripts: Script, **how: object) -> Scripted:
        servers.append(Scripted(*scripts, **how))  # type: ignore[arg-type]
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def shorten_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeout, for tests that run into it; the others need a long one on a busy machine."""
    monkeypatch.setattr(apr_http, "TIMEOUT", 0.15)


def says(head: str | bytes, body: bytes = b"", *, ends: bool = True) -> Script:
    """Send headers (with \\n for \\r\\n) and a body; with ends=False the connection then stays open."""
    head = head.replace("\n", "\r\n").encode("latin-1") if isinstance(head, str) else head

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head + body)
        if not ends:
            time.sleep(1)

    return script


def resets(head: str, body: bytes) -> Script:
    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head.replace("\n", "\r\n").encode() + body)
        time.sleep(0.05)  # so that the client reads it
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return script


def drips(start: bytes, rest: Iterator[bytes]) -> Script:
    """Send pieces without end."""

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(start)
        for piece in rest:
            connection.sendall(piece)
            time.sleep(0.002)

    return script


def serves(data: bytes) -> Script:
    """Answer like a server that supports ranges."""

    def script(connection: socket.socket, head: bytes) -> None:
        asked = re.search(rb"Range: bytes=(\d+)-", head)
        begin = int(asked[1]) if asked else 0
        status = (
            f"206 Partial Content\r\nContent-Range: bytes {begin}-{len(data) - 1}/{len(data)}" if asked else "200 OK"
        )
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(data) - begin}\r\n\r\n".encode() + data[begin:])

    return script


SECRET = "?token=hunter2#hunter2"


@contextmanager
def fails(kind: type[Exception], message: str, url: str) -> Iterator[None]:
    """Expect an error within seconds, whose message names the URL but no secret."""
    began = time.monotonic()
    with pytest.raises(kind, match=message) as caught:
        yield
    assert type(caught.value) in (FormatError, ModelNotFoundError)
    text = str(caught.value)
    assert text.startswith(url.partition("?")[0] + ": ")
    assert text.isprintable()
    assert "hunter2" not in text
    assert len(text) < 500
    assert time.monotonic() - began < 60  # it ends


OK = "HTTP/1.1 200 OK\n"
LAST = "retries in a row failed; the last: .*"
