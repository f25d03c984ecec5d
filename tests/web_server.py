"""The server of `whisper-apr web` in a thread, and clients that send it well-formed requests or any bytes."""

import http.client
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from whisper_apr.web.server import HOST, Server, files_in_folder

MODEL = bytes(range(256)) * 5000


@contextmanager
def running(paths: dict[str, Path], **limits: float) -> Iterator[Server]:
    with Server(0, paths, {"model": "model.apr"}, **limits) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving_a_folder(folder: Path) -> Iterator[Server]:
    """Serve a model and the files of a folder, beside files that must not be served."""
    (folder / "secret.txt").write_text("secret")
    inside = folder / "inside"
    (inside / "deeper").mkdir(parents=True)
    (inside / "deeper" / "hidden.txt").write_text("hidden")
    (inside / "a.wasm").write_bytes(b"\0asm")
    (inside / "model.apr").write_bytes(MODEL)
    paths = {"model.apr": inside / "model.apr", "gone.apr": inside / "gone.apr", **files_in_folder("engine", inside)}
    with running(paths) as server:
        yield server


def ask(server: Server, path: str, method: str = "GET", host: str | None = None, **headers: str):
    """Send a request, and return the response and its body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        if host != "":
            connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def connected(server: Server) -> socket.socket:
    return socket.create_connection((HOST, server.server_port), timeout=10)


def send_raw(server: Server, data: bytes) -> bytes:
    """Send bytes, and return all that is received until the server closes the connection.

    Raises TimeoutError if it does not.
    """
    with connected(server) as connection:
        connection.sendall(data)
        received = b""
        with suppress(ConnectionResetError):
            while piece := connection.recv(1 << 16):
                received += piece
        return received


def statuses(received: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]


def request_head(server: Server, *lines: str, request: str = "GET /settings.json HTTP/1.1") -> bytes:
    return "\r\n".join([request, f"Host: localhost:{server.server_port}", *lines, "", ""]).encode("latin-1")
