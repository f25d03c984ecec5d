"""An `.apr` over HTTP: what broke is taken up where it broke, what changed is begun anew."""

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
from ..urls import is_url, prepared_url, shown_url
from .stream import HAS_THREADS, PIECE, AprStream, ChangedError, FileFeeder, Progress

TIMEOUT = 30.0  # seconds for a connection, for the head of an answer, and without a byte of its body
RETRIES = 5  # in a row, none of which brought a byte further
FIRST_PAUSE = 0.25  # seconds before the first retry; each of the next waits twice as long
LONGEST_PAUSE = 10.0  # also where the server asks for more
MAX_REDIRECTS = 10

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that may be another one a moment later
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_ETAG = re.compile('(W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_LONGEST_REASON = 200  # characters of what the system or the server said of a failure

__all__ = ["ChangedError", "HttpFeeder", "is_url", "open_stream"]


class _TryAgain(Exception):
    """A failure that may pass."""

    def __init__(self, what: str, pause: float | None = None) -> None:
        super().__init__(what)
        self.pause = pause


class _Response(http.client.HTTPResponse):
    """An answer whose head comes within TIMEOUT, however slowly its bytes do; `wait` says the same of what is read next."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self._incoming = DeadlineReader(sock, time.monotonic() + TIMEOUT)
        self.fp = io.BufferedReader(self._incoming)

    def wait(self, seconds: float) -> None:
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


def _opener() -> urllib.request.OpenerDirector:
    """urllib's, for http and https only, and without redirects: they are followed here, where each can be refused."""
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
    """Reads a URL for a stream. Raises ModelNotFoundError for one that is malformed."""

    def __init__(self, url: str) -> None:
        self._where = shown_url(url)
        self._url = prepared_url(url)
        self._opener: urllib.request.OpenerDirector | None = None
        self._response: Any = None
        self._left: int | None = None  # bytes that the response still has to bring, where it said how many
        self._is_rest = True  # the response goes up to the file's end
        # the header that tells versions of the file apart, and its value
        self._validator: tuple[str, str] | None = None
        self._failures = 0
        self._furthest = 0

    def pull(self, stream: AprStream) -> bool:
        try:
            goes_on = not stream.is_complete and self._pull(stream)
        except BaseException:
            self.close()
            raise
        if not goes_on:
            self.close()
        return goes_on

    def _pull(self, stream: AprStream) -> bool:
        try:
            if self._response is None:
                self._connect(stream)
            if self._read(stream):
                return True
        except (ChangedError, ModelNotFoundError):  # nothing to try again
            raise
        except (_TryAgain, FormatError) as error:
            self._again(stream, error)
            return True
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            if _is_final(reason, stream.position):
                raise ModelNotFoundError(f"{self._where}: cannot be loaded ({_text(reason)})") from error
            self._again(stream, _TryAgain(_text(reason)))
            return True
        except ValueError as error:  # of urllib, for a proxy that is no URL and the like
            raise ModelNotFoundError(f"{self._where}: cannot be loaded ({_text(error)})") from error
        stream.finish()
        return False

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def _again(self, stream: AprStream, error: Exception) -> None:
        """Wait for the next try, or raise where there were enough."""
        self.close()
        if stream.position > self._furthest:
            self._furthest, self._failures = stream.position, 0
        self._failures += 1
        permanent = (
            isinstance(error, FormatError) and stream.position == 0
        )  # another file, or no model: no block to ask for again
        if permanent or (isinstance(error, FormatError) and self._failures > 1) or self._failures > RETRIES:
            if isinstance(error, FormatError):
                raise error
            raise ModelNotFoundError(
                f"{self._where}: not to be loaded, {RETRIES} tries in a row failed; the last: {error}"
            ) from error
        pause = FIRST_PAUSE * 2 ** (self._failures - 1)
        time.sleep(min(LONGEST_PAUSE, max(pause, getattr(error, "pause", None) or 0)))

    def _connect(self, stream: AprStream) -> None:
        offset = stream.position
        headers = {"User-Agent": "whisper-apr", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self._validator and not self._validator[1].startswith("W/"):  # If-Range takes strong ones only
                headers["If-Range"] = self._validator[1]
        try:
            response = self._open(headers)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # shorter than what has come: another file
                stream.restart()
                raise _TryAgain("the server's file became shorter") from error
            what = f"the server answered {_status(error.code)}"
            if error.code in _PASSING:
                raise _TryAgain(what, _seconds(error.headers.get("Retry-After"))) from error
            raise ModelNotFoundError(f"{self._where}: {what}") from error
        self._response = response
        self._check_head(response)
        self._left, self._is_rest = _number(response.headers.get("Content-Length")), True
        if response.status == 206:
            self._check_part(stream, response, offset)
        else:
            if offset:
                stream.restart()
            stream.length = self._left
        self._validator = _validator(response.headers)

    def _open(self, headers: Mapping[str, str]) -> Any:
        """The answer, after all redirects. Raises what urllib does, and ModelNotFoundError for a redirect that is not followed."""
        if self._opener is None:
            self._opener = _opener()
        url = self._url
        for _ in range(MAX_REDIRECTS + 1):
            try:
                return self._opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=TIMEOUT)
            except urllib.error.HTTPError as error:
                if error.code not in _REDIRECTS:
                    raise
                error.close()
                url = self._redirected(url, error.headers.get("Location"))
        raise ModelNotFoundError(f"{self._where}: more than {MAX_REDIRECTS} redirects")

    def _redirected(self, url: str, location: str | None) -> str:
        """Where a redirect leads to: another http or https URL, and from https no http."""
        try:
            target = urljoin(url, (location or "").strip())
            if location is None or not is_url(target):
                raise ValueError
            following = prepared_url(target)
        except ValueError:
            to = "nowhere" if location is None else f"what cannot be loaded, {shown_url(location.strip())}"
            raise ModelNotFoundError(f"{self._where}: the server redirects to {to}") from None
        except ModelNotFoundError as error:
            raise ModelNotFoundError(f"{self._where}: the server redirects to {error}") from None
        if url.startswith("https:") and not following.startswith("https:"):
            to = shown_url(following)
            raise ModelNotFoundError(
                f"{self._where}: the server redirects from https to http, {to}; use that URL if you trust it"
            )
        return following

    def _check_head(self, response: Any) -> None:
        """Refuse an answer that brings no file, or one in an encoding."""
        if response.status not in (200, 203, 206):
            raise ModelNotFoundError(f"{self._where}: the server answered {_status(response.status)}")
        for name, plain in (("Content-Encoding", ("", "identity")), ("Transfer-Encoding", ("", "identity", "chunked"))):
            encoding = response.headers.get(name, "").strip().lower()
            if encoding not in plain:
                raise ModelNotFoundError(
                    f"{self._where}: the server sends it encoded ({_text(encoding)}), which was not asked for"
                )

    def _check_part(self, stream: AprStream, response: Any, offset: int) -> None:
        """A partial answer must go on with what has come; else the whole file is asked for."""
        found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        fits = found is not None and int(found[1]) == offset <= int(found[2])
        if fits and found is not None:
            length, total = int(found[2]) + 1 - offset, None if found[3] == "*" else int(found[3])
            fits = self._left in (None, length) and (total is None or stream.length in (None, total))
            fits = fits and (total is None or offset + length <= total)
            self._left, self._is_rest = length, total is None or offset + length == total
            if fits and total is not None:
                stream.length = total
        if not fits or self._validator not in (None, _validator(response.headers)):
            stream.restart()
            raise _TryAgain("the server's file changed, or it sent another part than was asked for")

    def _read(self, stream: AprStream) -> bool:
        """Feed one piece. False where the answer has come to the end that it announced."""
        self._response.wait(TIMEOUT)
        piece = self._response.read1(PIECE)
        if not piece and (self._left != 0 or not self._is_rest):
            raise _TryAgain(f"the connection broke after {stream.position} bytes")
        if not piece:
            return False
        if self._left is not None:
            self._left -= len(piece)
        stream.accept(piece)
        return True


def _validator(headers: Mapping[str, str]) -> tuple[str, str] | None:
    tag, date = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if _ETAG.fullmatch(tag):
        return "ETag", tag
    return ("Last-Modified", date) if date and date.isascii() and date.isprintable() else None


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch("[0-9]{1,18}", text) else None


def _seconds(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch("[0-9]{1,6}", text) else None


def _status(code: int) -> str:
    """A status with its name; the server's own words may be anything."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _text(reason: object) -> str:
    """What is known of a failure, in one line."""
    said = str(reason).strip()
    text = " ".join(f"{type(reason).__name__}: {said}".split()) if isinstance(reason, BaseException) else said
    text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def _is_final(reason: object, position: int) -> bool:
    """Whether a failure is none that passes: a certificate that is not trusted, or a host that does not exist and has sent nothing yet."""
    if type(reason).__name__ == "SSLCertVerificationError":  # of ssl, which may not be there
        return True
    return isinstance(reason, socket.gaierror) and reason.errno == getattr(socket, "EAI_NONAME", None) and position == 0


def open_stream(
    source: str | BinaryIO, *, on_progress: Progress | None = None, background: bool = HAS_THREADS
) -> AprStream:
    """An `.apr` version 2 file as it arrives, from a URL (http, https) or from anything with `read(n)`.

    background: read in a thread beside, as fast as it comes; else whenever a tensor is asked for that is not there. What goes wrong, a
    FormatError for a file that is damaged, cut off or of another kind, a ModelNotFoundError for a URL that leads to none, is raised by the
    stream's checkpoint and tensors; a ModelNotFoundError for a URL that is malformed at once.
    """
    if isinstance(source, str):
        feeder = HttpFeeder(source)
        stream = AprStream(shown_url(source), on_progress=on_progress)
        stream.read_from(feeder, background)
    else:
        name = getattr(source, "name", None)
        stream = AprStream(name if isinstance(name, str) and name else "stream", on_progress=on_progress)
        stream.read_from(FileFeeder(source), background)
    return stream
