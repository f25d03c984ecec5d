"""A hub on 127.0.0.1: the endpoints that huggingface_hub asks for files, and the faults that a network has."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves `files[org/name]`, folders. `fault(method, file, handler)` may answer in its own way, and then returns True."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, Path] = {}
        self.requests: list[tuple[str, str]] = []  # (method, file)
        self.fault: Any = lambda method, file, handler: False
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        org, name, resolve, revision, file = self.path.strip("/").split("/", 4)
        assert resolve == "resolve"
        assert revision in ("main", COMMIT)
        self.server.requests.append((self.command, file))
        if self.server.fault(self.command, file, self):
            return
        folder = self.server.files.get(f"{org}/{name}")
        if folder is None:
            self.answer(401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
            return
        if not (folder / file).is_file():
            self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
            return
        self.serve((folder / file).read_bytes())

    def serve(self, content: bytes, etag: str | None = None, cut: int | None = None) -> None:
        etag = etag or hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        begin, status = 0, 200
        asked = self.headers.get("Range")
        if self.command == "GET" and asked:
            begin, status = int(asked.removeprefix("bytes=").split("-")[0]), 206
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        if self.command == "HEAD":
            headers["X-Linked-Size"] = str(len(content))
            headers["X-Linked-ETag"] = headers["ETag"]
        body = content[begin:]
        if cut is None:
            self.answer(status, body, **headers)
        else:  # fewer bytes than promised, then the line goes dead
            self.answer(status, body[:cut], **(headers | {"Content-Length": str(len(body))}))
            self.close_connection = True


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.over.set()
        hub.shutdown()
        thread.join()
        hub.server_close()
