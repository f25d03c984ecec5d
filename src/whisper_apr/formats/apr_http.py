"""An `.apr` over HTTP: what broke is taken up where it broke, what changed is begun anew."""

import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, BinaryIO

from ..errors import FormatError, ModelNotFoundError
from .apr_stream import HAS_THREADS, PIECE, AprStream, ChangedError, FileFeeder, Progress

TIMEOUT = 30.0  # seconds without a byte
RETRIES = 5  # in a row, none of which brought a byte further
FIRST_PAUSE = 0.25  # seconds before the first retry; each of the next waits twice as long
LONGEST_PAUSE = 10.0  # also where the server asks for more

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that may be another one a moment later
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

__all__ = ["ChangedError", "HttpFeeder", "open_stream"]


class _TryAgain(Exception):
    """A failure that may pass."""

    def __init__(self, what: str, pause: float | None = None) -> None:
        super().__init__(what)
        self.pause = pause


def _opener() -> urllib.request.OpenerDirector:
    """urllib's, for http and https only: a redirect leads to no file and to no ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class HttpFeeder:
    """Reads a URL for a stream."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opener = _opener()
        self._response: Any = None
        self._left: int | None = None  # bytes that the response still has to bring, where it said how many
        self._validator: tuple[str, str] | None = (
            None  # the header that tells versions of the file apart, and its value
        )
        self._failures = 0
        self._furthest = 0

    def pull(self, stream: AprStream) -> bool:
        if stream.is_complete:
            return False
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
        except http.client.InvalidURL as error:
            raise ModelNotFoundError(f"{self._url!r}: not a URL ({error})") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            self._again(stream, _TryAgain(f"{type(reason).__name__}: {reason}"))
            return True
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
                f"{self._url}: not to be loaded, {RETRIES} tries in a row failed; the last: {error}"
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
            response = self._opener.open(urllib.request.Request(self._url, headers=headers), timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # shorter than what has come: another file
                stream.restart()
                raise _TryAgain("the server's file became shorter") from error
            what = f"the server answered {error.code} {error.reason}"
            if error.code in _PASSING:
                raise _TryAgain(what, _seconds(error.headers.get("Retry-After"))) from error
            raise ModelNotFoundError(f"{self._url}: {what}") from error
        self._response = response
        self._left = _number(response.headers.get("Content-Length"))
        if response.status == 206:
            self._check_part(stream, response, offset)
        else:
            if offset:
                stream.restart()
            stream.length = self._left
        self._validator = _validator(response.headers)

    def _check_part(self, stream: AprStream, response: Any, offset: int) -> None:
        """A partial answer must go on with what has come; else the whole file is asked for."""
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not found or int(found[1]) != offset or self._validator not in (None, _validator(response.headers)):
            stream.restart()
            raise _TryAgain("the server's file changed, or it sent another part than was asked for")

    def _read(self, stream: AprStream) -> bool:
        """Feed one piece. False where the answer has come to the end that it announced."""
        piece = self._response.read1(PIECE)
        if not piece and self._left != 0:
            raise _TryAgain(f"the connection broke after {stream.position} bytes")
        if not piece:
            return False
        if self._left is not None:
            self._left -= len(piece)
        stream.accept(piece)
        return True


def _validator(headers: Mapping[str, str]) -> tuple[str, str] | None:
    for name in ("ETag", "Last-Modified"):
        if headers.get(name):
            return name, headers[name]
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text) else None


def _seconds(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d{1,6}", text) else None


def open_stream(
    source: str | BinaryIO, *, on_progress: Progress | None = None, background: bool = HAS_THREADS
) -> AprStream:
    """An `.apr` version 2 file as it arrives, from a URL (http, https) or from anything with `read(n)`.

    background: read in a thread beside, as fast as it comes; else whenever a tensor is asked for that is not there. What goes wrong, a
    FormatError for a file that is damaged, cut off or of another kind, a ModelNotFoundError for a URL that leads to none, is raised by the
    stream's checkpoint and tensors.
    """
    if isinstance(source, str):
        stream = AprStream(source, on_progress=on_progress)
        stream.read_from(HttpFeeder(source), background)
    else:
        stream = AprStream(str(getattr(source, "name", "stream")), on_progress=on_progress)
        stream.read_from(FileFeeder(source), background)
    return stream
