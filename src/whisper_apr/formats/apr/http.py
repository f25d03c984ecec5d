"""Load an `.apr` file over HTTP: a broken transfer is resumed with a range request, a changed file is restarted."""

import http.client
import io
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, BinaryIO
from urllib.parse import urljoin

from ...errors import FormatError, ModelNotFoundError
from ...sockets import DeadlineReader
from ..urls import is_url, normalize_url, redact_url
from .stream import HAS_THREADS, PIECE, AprStream, ChangedError, FileFeeder, Progress

TIMEOUT = 30.0  # seconds to connect, to receive a response's status and headers, and for each read of the body
RETRIES = 5  # consecutive, without receiving a new byte
FIRST_PAUSE = 0.25  # seconds before the first retry; doubled for each consecutive retry
MAX_PAUSE = 10.0  # seconds, also if the server's Retry-After asks for more
MAX_REDIRECTS = 10

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that are worth a retry
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_ETAG = re.compile('(W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_MAX_REASON = 200  # characters of the reason for a failure in an error message

__all__ = ["ChangedError", "HttpFeeder", "is_url", "open_stream"]


class _TransientError(Exception):
    """A failure that is worth a retry, after `pause` seconds if the server says so."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class _Response(http.client.HTTPResponse):
    """A response whose status and headers must arrive within TIMEOUT seconds, however slowly byte by byte."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self._incoming = DeadlineReader(sock, time.monotonic() + TIMEOUT)
        self.fp = io.BufferedReader(self._incoming)

    def limit_read(self, seconds: float) -> None:
        """Set the time limit for reading the next part of the body."""
        self._incoming.deadline = time.monotonic() + seconds


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


def _make_opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https only, which does not follow redirects: HttpFeeder validates them."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(),
        _Https(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class HttpFeeder:
    """Feeds a stream from a URL.

    Raises:
        ModelNotFoundError: The URL is malformed.
    """

    def __init__(self, url: str) -> None:
        self._where = redact_url(url)
        self._url = normalize_url(url)
        self._opener: urllib.request.OpenerDirector | None = None
        self._response: Any = None
        self._left: int | None = None  # bytes of the response's body yet to come, if known
        self._reaches_end = True  # the response extends to the end of the file
        # the validator of the file's version: the name and the value of a response header (RFC 9110, section 8.8)
        self._validator: tuple[str, str] | None = None
        self._failures = 0  # consecutive
        self._furthest = 0  # the stream's position at the latest failure

    def pull(self, stream: AprStream) -> bool:
        """Feed one piece, or wait before a retry. Returns whether more may follow; see `Feeder.pull`."""
        try:
            has_more = not stream.is_complete and self._pull(stream)
        except BaseException:
            self.close()
            raise
        if not has_more:
            self.close()
        return has_more

    def _pull(self, stream: AprStream) -> bool:
        try:
            if self._response is None:
                self._connect(stream)
            if self._read(stream):
                return True
        except (ChangedError, ModelNotFoundError):  # a retry cannot help
            raise
        except (_TransientError, FormatError) as error:
            self._prepare_retry(stream, error)
            return True
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            if _is_permanent(reason, stream.position):
                raise ModelNotFoundError(f"{self._where}: cannot be loaded ({_describe(reason)})") from error
            self._prepare_retry(stream, _TransientError(_describe(reason)))
            return True
        except ValueError as error:  # urllib raises it for an invalid proxy setting, among others
            raise ModelNotFoundError(f"{self._where}: cannot be loaded ({_describe(error)})") from error
        stream.finish()
        return False

    def close(self) -> None:
        """Close the connection."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def _prepare_retry(self, stream: AprStream, error: Exception) -> None:
        """Wait before the next attempt, or raise if there were enough, or if a retry cannot help."""
        self.close()
        if stream.position > self._furthest:
            self._furthest, self._failures = stream.position, 0
        self._failures += 1
        if isinstance(error, FormatError):
            # a damaged block is requested once more; at position 0 the header is wrong, and would be again
            if stream.position == 0 or self._failures > 1:
                raise error
        elif self._failures > RETRIES:
            raise ModelNotFoundError(
                f"{self._where}: cannot be loaded, {RETRIES} retries in a row failed; the last: {error}"
            ) from error
        pause = FIRST_PAUSE * 2 ** (self._failures - 1)
        time.sleep(min(MAX_PAUSE, max(pause, getattr(error, "pause", None) or 0)))

    def _connect(self, stream: AprStream) -> None:
        """Request the file from the stream's position on, and validate the response."""
        offset = stream.position
        headers = {"User-Agent": "whisper-apr", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self._validator and not self._validator[1].startswith("W/"):  # If-Range needs a strong one
                headers["If-Range"] = self._validator[1]
        try:
            response = self._open(headers)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # range not satisfiable: the file became shorter, so it is another one
                stream.restart()
                raise _TransientError("the server's file became shorter") from error
            reason = f"the server answered {_status(error.code)}"
            if error.code in _TRANSIENT:
                raise _TransientError(reason, _parse_seconds(error.headers.get("Retry-After"))) from error
            raise ModelNotFoundError(f"{self._where}: {reason}") from error
        self._response = response
        self._check_response(response)
        self._left, self._reaches_end = _parse_length(response.headers.get("Content-Length")), True
        if response.status == 206:
            self._check_range(stream, response, offset)
        else:
            if offset:
                stream.restart()
            stream.length = self._left
        self._validator = _find_validator(response.headers)

    def _open(self, headers: Mapping[str, str]) -> Any:
        """Send the request and follow redirects.

        Raises:
            ModelNotFoundError: A redirect is refused.
            OSError: The request fails; HTTPError for an error status.
        """
        if self._opener is None:
            self._opener = _make_opener()
        url = self._url
        for _ in range(MAX_REDIRECTS + 1):
            try:
                return self._opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=TIMEOUT)
            except urllib.error.HTTPError as error:
                if error.code not in _REDIRECTS:
                    raise
                error.close()
                url = self._resolve_redirect(url, error.headers.get("Location"))
        raise ModelNotFoundError(f"{self._where}: more than {MAX_REDIRECTS} redirects")

    def _resolve_redirect(self, url: str, location: str | None) -> str:
        """Return the target of a redirect: an http or https URL, but not http after https."""
        try:
            target = urljoin(url, (location or "").strip())
            if location is None or not is_url(target):
                raise ValueError
            following = normalize_url(target)
        except ValueError:
            if location is None:
                raise ModelNotFoundError(f"{self._where}: the server redirects without saying where to") from None
            target = redact_url(location.strip())
            raise ModelNotFoundError(
                f"{self._where}: the server redirects to {target}, which is not a valid http or https URL"
            ) from None
        except ModelNotFoundError as error:
            raise ModelNotFoundError(f"{self._where}: the server redirects to {error}") from None
        if url.startswith("https:") and not following.startswith("https:"):
            raise ModelNotFoundError(
                f"{self._where}: the server redirects from https to http, {redact_url(following)}; "
                "use that URL if you trust it"
            )
        return following

    def _check_response(self, response: Any) -> None:
        """Raise ModelNotFoundError for a response without a file, or with an encoded one."""
        if response.status not in (200, 203, 206):
            raise ModelNotFoundError(f"{self._where}: the server answered {_status(response.status)}")
        for name, plain in (("Content-Encoding", ("", "identity")), ("Transfer-Encoding", ("", "identity", "chunked"))):
            encoding = response.headers.get(name, "").strip().lower()
            if encoding not in plain:
                raise ModelNotFoundError(
                    f"{self._where}: the server sends it encoded ({_describe(encoding)}), which was not requested"
                )

    def _check_range(self, stream: AprStream, response: Any, offset: int) -> None:
        """Restart the stream unless a partial response continues the same file at the offset."""
        found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        fits = found is not None and int(found[1]) == offset <= int(found[2])
        if fits and found is not None:
            length, total = int(found[2]) + 1 - offset, None if found[3] == "*" else int(found[3])
            fits = self._left in (None, length) and (total is None or stream.length in (None, total))
            fits = fits and (total is None or offset + length <= total)
            self._left, self._reaches_end = length, total is None or offset + length == total
            if fits and total is not None:
                stream.length = total
        if not fits or self._validator not in (None, _find_validator(response.headers)):
            stream.restart()
            raise _TransientError("the server's file changed, or it sent another range than was requested")

    def _read(self, stream: AprStream) -> bool:
        """Feed one piece of the body. Returns False at the end that the response announced."""
        self._response.limit_read(TIMEOUT)
        piece = self._response.read1(PIECE)
        if not piece and (self._left != 0 or not self._reaches_end):
            raise _TransientError(f"the connection broke after {stream.position} bytes")
        if not piece:
            return False
        if self._left is not None:
            self._left -= len(piece)
        stream.accept(piece)
        return True


def _find_validator(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the header that identifies the file's version, ETag or else Last-Modified, and its value."""
    tag, date = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if _ETAG.fullmatch(tag):
        return "ETag", tag
    return ("Last-Modified", date) if date and date.isascii() and date.isprintable() else None


def _parse_length(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch("[0-9]{1,18}", text) else None


def _parse_seconds(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch("[0-9]{1,6}", text) else None


def _status(code: int) -> str:
    """Return a status with its standard phrase; the server's own phrase may be anything."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _describe(reason: object) -> str:
    """Return the reason for a failure as one printable line."""
    text = str(reason).strip()
    if isinstance(reason, BaseException):
        text = " ".join(f"{type(reason).__name__}: {text}".split())
    text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}..."


def _is_permanent(reason: object, position: int) -> bool:
    """Return whether a retry cannot help: an untrusted certificate, or an unknown host before it has sent anything."""
    if type(reason).__name__ == "SSLCertVerificationError":  # by name, because Python may be built without ssl
        return True
    return isinstance(reason, socket.gaierror) and reason.errno == getattr(socket, "EAI_NONAME", None) and position == 0


def open_stream(
    source: str | BinaryIO, *, on_progress: Progress | None = None, background: bool = HAS_THREADS
) -> AprStream:
    """Load an `.apr` version 2 file while it arrives.

    Args:
        source: An http or https URL, or a binary file object.
        on_progress: Called with the bytes received and the bytes in total.
        background: Read in a background thread; otherwise whenever a missing tensor is accessed.

    Returns:
        The stream. Accessing its checkpoint and tensors raises FormatError if the file is damaged, cut off or of
        another format, and ModelNotFoundError if the URL cannot be loaded.

    Raises:
        ModelNotFoundError: The URL is malformed.
    """
    if isinstance(source, str):
        feeder = HttpFeeder(source)
        stream = AprStream(redact_url(source), on_progress=on_progress)
        stream.read_from(feeder, background)
    else:
        name = getattr(source, "name", None)
        stream = AprStream(name if isinstance(name, str) and name else "stream", on_progress=on_progress)
        stream.read_from(FileFeeder(source), background)
    return stream
