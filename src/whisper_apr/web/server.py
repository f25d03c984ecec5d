"""The web page, served on this machine: its files, the wheel that it runs, and a model. `whisper-apr web` is the door."""

import hashlib
import ipaddress
import json
import mimetypes
import os
import re
import stat
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from io import BufferedReader
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..sockets import DeadlineReader

HOST = "127.0.0.1"
DEFAULT_PORT = 80  # of http, where a Host names none
TIME_LIMIT = 30.0  # seconds for a request to come, and for each piece of an answer to be taken
MAX_CONNECTIONS = 64  # each has a thread; a browser keeps six
PIECE = 256 << 10  # bytes of a file that are read and sent at a time
PAGE_FILES = ("index.html", "page.js", "style.css", "whisper.js", "worker.js", "download.js")
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}

# RFC 3986's authority without user information: a name, an IPv4 address or a bracketed IPv6 address, and a port
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-_~%!$&'()*+,;=]*)(?::([0-9]*))?")
_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
_MOST_DIGITS = 18  # a longer number is beyond any file's end


class BadRequestError(ValueError):
    """Something in a request's head that the protocol does not allow."""


def _kind(name: str) -> str:
    return TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def is_this_server(authority: str, port: int) -> bool:
    """Tell whether a Host header, or a URL's authority, names this machine by its loopback name or address, and this port.

    Raises BadRequestError for one that is malformed.
    """
    found = _AUTHORITY.fullmatch(authority.strip(" \t"))
    if found is None:
        raise BadRequestError("malformed Host")
    name, digits = found[1].lower().removesuffix("."), found[2]
    if name.startswith("["):
        try:
            name = str(ipaddress.IPv6Address(name[1:-1]))
        except ValueError:
            raise BadRequestError("malformed Host") from None
    return name in (HOST, "localhost", "::1") and (_number(digits) if digits else DEFAULT_PORT) == port


def wanted_range(header: str, size: int) -> tuple[int, int] | None:
    """Find what a Range header asks for of `size` bytes: from where, and up to where.

    None: everything, since the header is empty, in another unit than bytes, or names several stretches: RFC 9110 (section 14.2) leaves it
    to the server to answer those. Raises ValueError for one that is malformed, or that no byte of the file satisfies.
    """
    unit, equals, specs = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    parts = [part for spec in specs.split(",") if (part := spec.strip(" \t"))]
    found = [stretch for part in parts if (stretch := _stretch(part, size)) is not None]
    if not found:
        raise ValueError("no byte of the file is in the range")
    return found[0] if len(found) == 1 else None


def _stretch(spec: str, size: int) -> tuple[int, int] | None:
    """From where and up to where `first-last`, `first-` or `-length` reaches; None where the file has nothing there."""
    match = _RANGE.fullmatch(spec)
    if match is None or spec == "-":
        raise ValueError(f"malformed range {spec!r}")
    first, last = match.groups()
    if not first:
        begin, end = size - min(size, _number(last)), size
    else:
        begin, end = _number(first), _number(last) + 1 if last else size
        if last and end <= begin:
            raise ValueError(f"a range that ends before it begins: {spec!r}")
    return (begin, min(end, size)) if begin < min(end, size) else None


class Server(ThreadingHTTPServer):
    """Serves just the files that it is given, to just this machine. Raises OSError where the port is taken."""

    daemon_threads = True
    request_queue_size = 128  # connections that wait to be taken

    def __init__(
        self,
        port: int,
        paths: Mapping[str, Path],
        settings: Mapping[str, str],
        *,
        time_limit: float = TIME_LIMIT,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """Listen on a port.

        paths: what is served under each name, beside the page's own files. settings: what the page is told (`Whisper.load`'s options).
        time_limit: seconds for a request to come, from when the connection is open or the answer before it is sent, and for each piece of
        an answer to be taken. max_connections: those beyond are answered 503.
        """
        super().__init__((HOST, port), _Handler)
        page = files("whisper_apr").joinpath("web", "static")
        self.small = {name: page.joinpath(name).read_bytes() for name in PAGE_FILES}
        self.small["settings.json"] = json.dumps(dict(settings)).encode()
        self.paths = dict(paths)
        self.time_limit = time_limit
        self._free = threading.BoundedSemaphore(max_connections)
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

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            with suppress(OSError):
                request.settimeout(1)
                request.sendall(
                    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no news; anything else is a fault of ours, and shown as one."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # of a request that names none, or is none: its answer has a head too
    server_version, sys_version = "whisper_apr", ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._incoming = DeadlineReader(self.connection, time.monotonic() + self.server.time_limit)
        self.rfile = BufferedReader(self._incoming)

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):  # the page was closed, or a transfer cancelled
            self.close_connection = True

    def handle_one_request(self) -> None:
        self._incoming.deadline = time.monotonic() + self.server.time_limit
        super().handle_one_request()

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        self.connection.settimeout(self.server.time_limit)
        if self.headers.get("Content-Length", "0").strip() != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # what follows the head is no request
        try:
            name = self._asked_for()
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        if name is None:
            self.send_error(HTTPStatus.FORBIDDEN)
        elif name in self.server.small:
            data = self.server.small[name]
            self._head(HTTPStatus.OK, name, len(data))
            if with_body:
                self.wfile.write(data)
        elif name in self.server.paths:
            self._send_file(name, self.server.paths[name], with_body)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _asked_for(self) -> str | None:
        """The name that is asked for; None where a page of another site calls itself by a name of ours. Raises ValueError."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) > 1 or (not hosts and self.request_version >= "HTTP/1.1"):
            raise BadRequestError("one Host is expected")  # RFC 9112, section 3.2
        url = urlsplit(self.path)
        if url.scheme not in ("", "http") or bool(url.scheme) != bool(url.netloc) or not url.path.startswith("/"):
            raise BadRequestError("neither a path nor a URL")
        if not all(
            is_this_server(authority, self.server.server_port) for authority in [*hosts, url.netloc] if authority
        ):
            return None
        if not any(hosts) and not url.netloc:
            return None
        return unquote(url.path).lstrip("/") or "index.html"

    def _head(self, status: HTTPStatus, name: str, length: int, **more: str) -> None:
        self.send_response(status)
        headers = {"Content-Type": _kind(name), "Content-Length": str(length), "Cache-Control": "no-cache"}
        for key, value in (headers | {key.replace("_", "-"): value for key, value in more.items()}).items():
            self.send_header(key, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _send_file(self, name: str, path: Path, with_body: bool) -> None:
        try:
            file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            size = about.st_size
            try:
                tag = self.server.tag(file)
            except OSError:
                self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
                return
            # RFC 9110, section 14.2: a range is for GET alone, and for the version that the client has a part of
            counts = with_body and self.headers.get("If-Range", tag) == tag
            try:
                part = wanted_range(", ".join(self.headers.get_all("Range", [])), size) if counts else None
            except ValueError:
                self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, name, 0, Content_Range=f"bytes */{size}")
                return
            begin, end = part or (0, size)
            more = {"ETag": tag, "Accept_Ranges": "bytes"}
            if part is not None:
                more["Content_Range"] = f"bytes {begin}-{end - 1}/{size}"
            self._head(HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT, name, end - begin, **more)
            if with_body:
                self._send(file, begin, end)

    def _send(self, file: BufferedReader, begin: int, end: int) -> None:
        """Send a part of a file. Where there is less by now, the connection is closed: that ends the answer, short of what was promised."""
        try:
            file.seek(begin)
            while begin < end and (piece := file.read(min(end - begin, PIECE))):
                self.wfile.write(piece)
                begin += len(piece)
        except OSError:
            self.close_connection = True
        if begin < end:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """The terminal is for the user."""


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for whoever writes into a pipe of that name."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def files_in_folder(prefix: str, folder: Path) -> dict[str, Path]:
    """The files of a folder, not of its subfolders, under `prefix/`."""
    return {f"{prefix}/{path.name}": path for path in sorted(folder.iterdir()) if path.is_file()}
