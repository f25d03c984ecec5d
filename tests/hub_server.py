"""A local server with the endpoints of the Hugging Face hub that huggingface_hub downloads from, and with faults."""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest

import models
from whisper_apr import load_model

NAME = "someone/small-model"  # the model of `serving_a_model`
TENSORS = models.random_tensors(models.SMALLEST, 3)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves the folders in `files`, unless `fault(method, file, handler)` answers a request and returns True."""

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
        """Ignore clients that disconnect."""


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
        if self.path.startswith("/api/models/"):
            self.describe(*self.path.removeprefix("/api/models/").split("/")[:3])
            return
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

    def describe(self, org: str, name: str, what: str) -> None:
        """Answer with what a repository holds: its `revision`, or its `tree`."""
        folder = self.server.files.get(f"{org}/{name}")
        if folder is None:
            self.answer(401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
            return
        files = [(path.name, path.stat().st_size) for path in folder.iterdir()]
        names = [{"rfilename": file} for file, _ in files]
        tree = [{"type": "file", "path": file, "size": size, "oid": COMMIT} for file, size in files]
        content = tree if what == "tree" else {"id": f"{org}/{name}", "sha": COMMIT, "siblings": names}
        self.answer(200, json.dumps(content).encode(), Content_Type="application/json")

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
        else:  # fewer bytes than announced, then the connection breaks
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


@contextmanager
def serving_a_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve the model in `folder/served`, with an empty cache in `folder/home` and short pauses between retries."""
    models.write_huggingface(folder / "served", models.SMALLEST, TENSORS)
    (folder / "served" / "generation_config.json").write_text('{"alignment_heads": [[1, 0]]}')
    constants = huggingface_hub.constants
    monkeypatch.setenv("HF_HOME", str(folder / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "home" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    pause = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: pause(min(seconds, 0.01)))
    with running_hub() as server:
        server.files[NAME] = folder / "served"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield server


def expected(folder: Path) -> np.ndarray:
    """Return the logits of the served model, loaded from a `.pt` file."""
    return models.logits(load_model(models.write_pt(folder / "model.pt", models.SMALLEST, TENSORS)))


def get_only(answer: Callable[[Any, bytes], None]) -> Callable[[str, str, Any], bool]:
    """Return a fault that affects only the download of the weights."""

    def fault(method: str, file: str, handler: Any) -> bool:
        if method != "GET" or not file.endswith("safetensors"):
            return False
        answer(handler, (handler.server.files[NAME] / file).read_bytes())
        return True

    return fault
