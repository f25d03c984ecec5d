"""The web page, served on this machine: its files, the wheel that it runs, and a model. `whisper-apr web` is the door."""

import hashlib
import json
import mimetypes
import os
import re
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from io import BufferedReader
from pathlib import Path
from urllib.parse import unquote, urlsplit

HOST = "127.0.0.1"
PAGE_FILES = ("index.html", "page.js", "style.css", "whisper.js", "worker.js", "download.js")
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def _kind(name: str) -> str:
    return TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


class Server(ThreadingHTTPServer):
    """Serves just the files that it is given, to just this machine. Raises OSError where the port is taken."""

    daemon_threads = True

    def __init__(self, port: int, paths: Mapping[str, Path], settings: Mapping[str, str]) -> None:
        """`paths`: what is served under each name, beside the page's own files. `settings`: what the page is told (`Whisper.load`'s options)."""
        super().__init__((HOST, port), _Handler)
        page = files("whisper_apr").joinpath("web")
        self.small = {name: page.joinpath(name).read_bytes() for name in PAGE_FILES}
        self.small["settings.json"] = json.dumps(dict(settings)).encode()
        self.paths = dict(paths)
        self._tags: dict[tuple[int, int, int], str] = {}

    def tag(self, file: BufferedReader) -> str:
        """The ETag of an open file, from its content: a model that was written anew for this server is the one that a browser may keep."""
        about = os.fstat(file.fileno())
        state = about.st_ino, about.st_mtime_ns, about.st_size
        if state not in self._tags:
            self._tags[state] = f'"{hashlib.file_digest(file, "sha256").hexdigest()[:32]}"'
            file.seek(0)
        return self._tags[state]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        # a page of another site that calls itself by a name of ours gets nothing
        if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        name = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
        if name in self.server.small:
            data = self.server.small[name]
            self._head(HTTPStatus.OK, name, len(data))
            if with_body:
                self.wfile.write(data)
        elif name in self.server.paths:
            self._send_file(name, self.server.paths[name], with_body)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _head(self, status: HTTPStatus, name: str, length: int, **more: str) -> None:
        self.send_response(status)
        headers = {"Content-Type": _kind(name), "Content-Length": str(length), "Cache-Control": "no-cache"}
        for key, value in (headers | {key.replace("_", "-"): value for key, value in more.items()}).items():
            self.send_header(key, value)
        self.end_headers()

    def _send_file(self, name: str, path: Path, with_body: bool) -> None:
        try:
            file = open(path, "rb")  # noqa: SIM115
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file:
            size, tag = os.fstat(file.fileno()).st_size, self.server.tag(file)
            wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
            if wanted is None or self.headers.get("If-Range", tag) != tag:
                self._head(HTTPStatus.OK, name, size, ETag=tag, Accept_Ranges="bytes")
                left = size
            else:
                begin, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
                if begin > last:
                    self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, name, 0, Content_Range=f"bytes */{size}")
                    return
                left = last - begin + 1
                place = f"bytes {begin}-{last}/{size}"
                self._head(HTTPStatus.PARTIAL_CONTENT, name, left, ETag=tag, Content_Range=place)
                file.seek(begin)
            while with_body and left and (piece := file.read(min(left, 1 << 20))):
                self.wfile.write(piece)
                left -= len(piece)

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):  # the page was closed, or a transfer cancelled
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """The terminal is for the user."""


def folder_paths(prefix: str, folder: Path) -> dict[str, Path]:
    """The files of a folder, not of its subfolders, under `prefix/`."""
    return {f"{prefix}/{path.name}": path for path in sorted(folder.iterdir()) if path.is_file()}
