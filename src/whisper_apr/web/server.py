"""The HTTP server of `whisper-apr web`: it serves the page, the wheel and the model, to this machine only."""

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
from importlib.resources.abc import Traversable
from io import BufferedReader
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..sockets import DeadlineReader

HOST = "127.0.0.1"
DEFAULT_PORT = 80  # of a Host header without a port
TIME_LIMIT = 30.0  # seconds for receiving a request, and for sending each piece of a response
MAX_CONNECTIONS = 64  # each has a thread; a browser opens six
PIECE = 256 << 10  # bytes of a file that are read and sent at once
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CONTENT_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".apr": "application/octet-stream",  # systems know the suffix as that of another format
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
}
# With these, the page is cross-origin isolated and may share memory between threads. What it loads from another origin
# must be requested with CORS, as modules and `fetch` are.
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}

# RFC 3986's authority without user information: a name, an IPv4 address or an IPv6 address in brackets, and a port
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-_~%!$&'()*+,;=]*)(?::([0-9]*))?")
_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
_ETAG = re.compile(r'(?:W/)?("[^"]*")')
_MAX_DIGITS = 18  # a longer number is larger than any file


class BadRequestError(ValueError):
    """A request's header violates the protocol."""


def _content_type(name: str) -> str:
    return CONTENT_TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _parse_number(digits: str) -> int:
    """Parse decimal digits; numbers that are too long become 10**_MAX_DIGITS."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS


def is_this_server(authority: str, port: int) -> bool:
    """Return whether a Host header or a URL's authority names this machine's loopback interface and a port.

    Requests for other names are refused, because a page of another site could send them through a DNS name that leads
    to this machine (DNS rebinding).

    Args:
        authority: The name or address, with or without a port.
        port: This server's port.

    Raises:
        BadRequestError: The authority is malformed.
    """
    found = _AUTHORITY.fullmatch(authority.strip(" \t"))
    if found is None:
        raise BadRequestError(f"malformed Host {authority!r}")
    name, digits = found[1].lower().removesuffix("."), found[2]
    if name.startswith("["):
        try:
            name = str(ipaddress.IPv6Address(name[1:-1]))
        except ValueError:
            raise BadRequestError(f"malformed Host {authority!r}") from None
    return name in (HOST, "localhost", "::1") and (_parse_number(digits) if digits else DEFAULT_PORT) == port


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Parse a Range header.

    Args:
        header: The header's value, or "".
        size: The file's size in bytes.

    Returns:
        The first byte and the one after the last, or None for the whole file. That is so if the header is empty, has a
        unit other than bytes, or has several ranges, which RFC 9110 (section 14.2) allows a server to ignore.

    Raises:
        ValueError: The header is malformed, or the file has no byte in any of its ranges.
    """
    unit, equals, specs = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    parts = [part for spec in specs.split(",") if (part := spec.strip(" \t"))]
    found = [each for part in parts if (each := _parse_byte_range(part, size)) is not None]
    if not found:
        raise ValueError(f"the file of {size} bytes has none in the range {header!r}")
    return found[0] if len(found) == 1 else None


def _parse_byte_range(spec: str, size: int) -> tuple[int, int] | None:
    """Parse `first-last`, `first-` or `-length`.

    Returns the first byte and the one after the last, or None if the file has no byte in the range.
    """
    match = _RANGE.fullmatch(spec)
    if match is None or spec == "-":
        raise ValueError(f"malformed range {spec!r}")
    first, last = match.groups()
    if not first:
        begin, end = size - min(size, _parse_number(last)), size
    else:
        begin, end = _parse_number(first), _parse_number(last) + 1 if last else size
        if last and end <= begin:
            raise ValueError(f"the range {spec!r} ends before it begins")
    return (begin, min(end, size)) if begin < min(end, size) else None


def _hash(digest: Any) -> str:
    """Return a digest as an ETag."""
    return f'"{digest.hexdigest()[:32]}"'


def _has_etag(header: str, etag: str) -> bool:
    """Return whether an If-None-Match header has an ETag, compared weakly (RFC 9110, section 13.1.2), or is `*`."""
    return header.strip() == "*" or etag in _ETAG.findall(header)


class Server(ThreadingHTTPServer):
    """An HTTP server for a fixed set of files, on 127.0.0.1 only. Raises OSError if the port is in use."""

    daemon_threads = True
    request_queue_size = 128  # connections that wait to be accepted

    def __init__(
        self,
        port: int,
        paths: Mapping[str, Path],
        settings: Mapping[str, Any],
        *,
        time_limit: float = TIME_LIMIT,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """Listen on a port.

        Args:
            port: The port; 0 is any free one.
            paths: Files to serve besides the page's own, by name.
            settings: Options of `Whisper.load` for the page, and the models to choose from, served as settings.json.
            time_limit: Seconds for receiving a request, counted from the opening of the connection or from the previous
                response, and for sending each piece of a response.
            max_connections: Number of connections served at once; further ones are answered with status 503.
        """
        super().__init__((HOST, port), _Handler)
        self.in_memory = read_page(files("whisper_apr").joinpath("web", "static"))
        self.in_memory["settings.json"] = json.dumps(dict(settings)).encode()
        self.paths = dict(paths)
        self.time_limit = time_limit
        self._connections = threading.BoundedSemaphore(max_connections)
        self._etags: dict[tuple[int, int, int], str] = {}

    def etag(self, file: BufferedReader) -> str:
        """Return the ETag of an open file, a hash of its content.

        It does not depend on the file's time, so that a model that is converted each time the server starts stays valid
        in the browser's cache.
        """
        about = os.fstat(file.fileno())
        state = about.st_ino, about.st_mtime_ns, about.st_size
        if state not in self._etags:
            self._etags[state] = _hash(hashlib.file_digest(file, "sha256"))
            file.seek(0)
        return self._etags[state]

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self.server_port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, or answer with status 503 if there are too many."""
        if not self._connections.acquire(blocking=False):
            with suppress(OSError):
                request.settimeout(1)
                request.sendall(BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, then let another one take its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of the connection, and print others, which are bugs."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # for requests without a version, so that their responses have headers too
    server_version, sys_version = "whisper_apr", ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._reader = DeadlineReader(self.connection, time.monotonic() + self.server.time_limit)
        self.rfile = BufferedReader(self._reader)

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):  # the page was closed, or a download cancelled
            self.close_connection = True

    def handle_one_request(self) -> None:
        self._reader.deadline = time.monotonic() + self.server.time_limit
        super().handle_one_request()

    def do_GET(self) -> None:
        self._respond(with_body=True)

    def do_HEAD(self) -> None:
        self._respond(with_body=False)

    def _respond(self, with_body: bool) -> None:
        self.connection.settimeout(self.server.time_limit)
        if self.headers.get("Content-Length", "0").strip() != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body follows, which must not be read as the next request
        try:
            name = self._requested_name()
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        if name is None:
            self.send_error(HTTPStatus.FORBIDDEN)
        elif name in self.server.in_memory:
            data = self.server.in_memory[name]
            etag = _hash(hashlib.sha256(data))
            if self._is_cached(etag):
                self._send_not_modified(etag)
                return
            self._send_headers(HTTPStatus.OK, name, len(data), ETag=etag)
            if with_body:
                self.wfile.write(data)
        elif name in self.server.paths:
            self._send_file(name, self.server.paths[name], with_body)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _requested_name(self) -> str | None:
        """Return the requested file's name, or None if the request is for another host.

        Raises ValueError if the request is malformed.
        """
        hosts = self.headers.get_all("Host", [])
        if len(hosts) > 1 or (not hosts and self.request_version >= "HTTP/1.1"):
            raise BadRequestError(f"{len(hosts)} Host headers instead of one")  # RFC 9112, section 3.2
        url = urlsplit(self.path)
        if url.scheme not in ("", "http") or bool(url.scheme) != bool(url.netloc) or not url.path.startswith("/"):
            raise BadRequestError(f"{self.path!r} is neither a path nor a URL")
        if not all(
            is_this_server(authority, self.server.server_port) for authority in [*hosts, url.netloc] if authority
        ):
            return None
        if not any(hosts) and not url.netloc:
            return None
        return unquote(url.path).lstrip("/") or "index.html"

    def _send_headers(self, status: HTTPStatus, name: str, length: int, **more: str) -> None:
        self.send_response(status)
        headers = {"Content-Type": _content_type(name), "Content-Length": str(length), "Cache-Control": "no-cache"}
        for key, value in (headers | ISOLATION | {key.replace("_", "-"): value for key, value in more.items()}).items():
            self.send_header(key, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _is_cached(self, etag: str) -> bool:
        """Return whether the client has this version of a file, so that it need not be sent."""
        return _has_etag(", ".join(self.headers.get_all("If-None-Match", [])), etag)

    def _send_not_modified(self, etag: str) -> None:
        """Tell the client to use its copy. Browsers then use the WebAssembly that they have compiled from it, too."""
        self.send_response(HTTPStatus.NOT_MODIFIED)
        self.send_header("ETag", etag)
        self.send_header("Cache-Control", "no-cache")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _send_file(self, name: str, path: Path, with_body: bool) -> None:
        try:
            file = open(path, "rb", opener=_open_nonblocking)  # noqa: SIM115
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
                etag = self.server.etag(file)
            except OSError:
                self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
                return
            if self._is_cached(etag):
                self._send_not_modified(etag)
                return
            # RFC 9110, sections 13.1.5 and 14.2: Range applies to GET only, and only if the version is that of If-Range
            has_range = with_body and self.headers.get("If-Range", etag) == etag
            try:
                part = parse_range(", ".join(self.headers.get_all("Range", [])), size) if has_range else None
            except ValueError:
                self._send_headers(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, name, 0, Content_Range=f"bytes */{size}")
                return
            begin, end = part or (0, size)
            more = {"ETag": etag, "Accept_Ranges": "bytes"}
            if part is not None:
                more["Content_Range"] = f"bytes {begin}-{end - 1}/{size}"
            self._send_headers(HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT, name, end - begin, **more)
            if with_body:
                self._send_bytes(file, begin, end)

    def _send_bytes(self, file: BufferedReader, begin: int, end: int) -> None:
        """Send bytes of a file. If it has shrunk, close the connection, so that the client notices missing bytes."""
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
        """Print nothing: requests are not shown on the terminal."""


def _open_nonblocking(path: str, flags: int) -> int:
    """Open a file; if it is a FIFO, do not wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_page(folder: Traversable, prefix: str = "") -> dict[str, bytes]:
    """Return the files of a folder and its subfolders, by their paths in it. TypeScript's declarations are left out."""
    found: dict[str, bytes] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = prefix + entry.name
        if entry.is_dir():
            found |= read_page(entry, f"{name}/")
        elif not name.endswith(".d.ts"):
            found[name] = entry.read_bytes()
    return found


def files_in_folder(prefix: str, folder: Path) -> dict[str, Path]:
    """Return the files of a folder, without its subfolders, as a dictionary from `prefix/name` to their paths."""
    return {f"{prefix}/{path.name}": path for path in sorted(folder.iterdir()) if path.is_file()}
