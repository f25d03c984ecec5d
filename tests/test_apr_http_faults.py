"""Load a model from a misbehaving server: the model, or a clear error without secrets, in bounded time."""

import itertools
import re
import socket
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apr_files import equal
from scripted_server import LAST, OK, SECRET, Script, Scripted, drips, fails, resets, says, serves, shorten_timeout
from whisper_apr import load_model
from whisper_apr.errors import FormatError, ModelNotFoundError
from whisper_apr.formats.apr import http as apr_http
from whisper_apr.formats.apr.http import open_stream

pytestmark = pytest.mark.system

HEADS = {
    "nothing": (says(b""), LAST + "RemoteDisconnected"),
    "no HTTP": (says(b"hello\r\n\r\n"), LAST + "BadStatusLine: hello"),
    "zeros": (says(bytes(1000)), LAST + "BadStatusLine"),
    "control characters": (says(b"\x1b[31m\r\n\r\n"), LAST + "BadStatusLine"),
    "no status": (says("HTTP/1.1\n\n"), LAST + "BadStatusLine"),
    "a status that is no number": (says("HTTP/1.1 abc OK\n\n"), LAST + "BadStatusLine"),
    "a status out of range": (says("HTTP/1.1 99 OK\n\n"), LAST + "BadStatusLine"),
    "another protocol": (says("HTTP/9.9 200 OK\n\n"), LAST),
    "a long status line": (says(b"HTTP/1.1 200 " + b"a" * 10**5), LAST + "LineTooLong"),
    "a long header": (says(OK.encode() + b"X: " + b"a" * 10**5), LAST + "LineTooLong"),
    "many headers": (says(OK + "X: y\n" * 200 + "\n"), LAST + "HTTPException: got more than 100 headers"),
    "a head that stops": (says(OK, ends=False), LAST + "TimeoutError"),
    "a head that drips": (drips(b"HTTP/1.1 200 OK\r\nX: ", itertools.repeat(b"a")), LAST + "TimeoutError"),
    "a status line that drips": (drips(b"HTTP/1.1 2", itertools.repeat(b"0")), LAST + "TimeoutError"),
    "goes on for ever": (drips(b"", itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")), LAST + "TimeoutError"),
    "switching protocols": (says("HTTP/1.1 101 Switching Protocols\n\n"), "answered 101 Switching Protocols"),
    "created": (says("HTTP/1.1 201 Created\nContent-Length: 0\n\n"), "the server answered 201 Created"),
    "no content": (says("HTTP/1.1 204 No Content\n\n"), "the server answered 204 No Content"),
    "multiple choices": (
        says("HTTP/1.1 300 Choose\nLocation: /x\nContent-Length: 0\n\n"), "answered 300 Multiple Choices"
    ),
    "not modified": (says("HTTP/1.1 304 Not Modified\n\n"), "the server answered 304 Not Modified"),
    "refused": (says("HTTP/1.1 404 \x1b[31mhunter2\nContent-Length: 0\n\n"), "the server answered 404 Not Found$"),
    "a status of nobody's": (says("HTTP/1.1 799 Strange\nContent-Length: 0\n\n"), "the server answered 799$"),
    "always busy": (says("HTTP/1.1 503 Busy\nRetry-After: 0\n\n"), LAST + "503 Service Unavailable"),
    "busy till a date": (says("HTTP/1.1 503 Busy\nRetry-After: Wed, 21 Oct 2115 07:28:00 GMT\n\n"), LAST + "503"),
    "no such range, always": (says("HTTP/1.1 416 No\nContent-Length: 0\n\n"), LAST + "became shorter"),
    "a part of nothing": (says("HTTP/1.1 206 Partial\nContent-Length: 5\n\n", b"12345"), LAST + "another range"),
    "a part that is none": (says("HTTP/1.1 206 Partial\nContent-Range: bytes */5\nContent-Length: 5\n\n"), LAST),
    "a part from elsewhere": (
        says("HTTP/1.1 206 Partial\nContent-Range: bytes 5-9/10\n\n", b"12345"), LAST + "another range"
    ),
    "a part backwards": (
        says("HTTP/1.1 206 Partial\nContent-Range: bytes 0--5/10\n\n", b"12345"), LAST + "another range"
    ),
    "a part beyond the end": (
        says("HTTP/1.1 206 Partial\nContent-Range: bytes 0-9/5\n\n", bytes(9)), LAST + "another range"
    ),
    "a part of many digits": (says(f"HTTP/1.1 206 Partial\nContent-Range: bytes 0-{'9' * 5000}/*\n\n"), LAST),
    "parts": (says("HTTP/1.1 206 Partial\nContent-Type: multipart/byteranges; boundary=x\n\n", b"--x"), LAST),
    "compressed": (says(OK + "Content-Encoding: gzip\n\n", b"\x1f\x8b"), r"the server sends it encoded \(gzip\)"),
    "compressed anyhow": (says(OK + "Content-Encoding: \x1b[31m\n\n"), r"the server sends it encoded \("),
    "compressed for the way": (says(OK + "Transfer-Encoding: gzip, chunked\n\n"), r"encoded \(gzip, chunked\)"),
    "chunks that are none": (says(OK + "Transfer-Encoding: chunked\n\nxyz\n"), LAST + "IncompleteRead"),
    "chunks of many digits": (says(OK + f"Transfer-Encoding: chunked\n\n{'f' * 70000}\n"), LAST),
    "a last chunk at once": (says(OK + "Transfer-Encoding: chunked\n\n0\n\n"), LAST + "broke after 0 bytes"),
    "a trailer that does not end": (
        drips((OK + "Transfer-Encoding: chunked\n\n0\n").replace("\n", "\r\n").encode(), itertools.repeat(b"X: y\r\n")),
        LAST + "TimeoutError",
    ),
    "an empty body": (says(OK + "Content-Length: 0\n\n"), "ended after 0 bytes"),
    "a body that never comes": (says(OK + "Content-Length: 5000\n\n", ends=False), LAST + "TimeoutError"),
    "a page": (says(OK + "Content-Length: 18\n\n", b"<html>nothing here"), "ended after 18 of 18 bytes"),
    "a long page": (says(OK + "\n", b"<html>" * 1000), "not an .apr"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_invalid_responses(scripted: Callable[..., Scripted], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, message = HEADS[name]
    if message == LAST + "TimeoutError":
        shorten_timeout(monkeypatch)
    server = scripted(script)
    is_format_error = message in ("ended after 0 bytes", "ended after 18 of 18 bytes", "not an .apr")
    with fails(FormatError if is_format_error else ModelNotFoundError, message, server.url):
        load_model(server.url + SECRET)
    assert len(server.requests) <= apr_http.RETRIES + 1
    assert all(request.startswith(b"GET /model.apr?token=hunter2 HTTP/1.1\r\n") for request in server.requests)


@pytest.mark.parametrize(
    "head",
    [
        "",
        "Content-Length: -5\n",
        "Content-Length: abc\n",
        "Content-Length: \n",
        f"Content-Length: {'9' * 30}\n",
        f"Content-Length: {'9' * 5000}\n",
        "Content-Length: LENGTH\nContent-Length: 5\n",
        "Content-Length: LENGTH\nContent-Encoding: identity\nETag: nonsense\nLast-Modified: \xe9\n",
        "Content-Range: bytes 0-0/1\n",
        "no colon\n",
    ],
)
def test_odd_headers_before_the_model(raw: bytes, scripted: Callable[..., Scripted], head: str) -> None:
    server = scripted(says(OK + head.replace("LENGTH", str(len(raw))) + "\n", raw))
    assert equal(open_stream(server.url).checkpoint, raw)


def chunked(data: bytes, size: int = 30_000) -> bytes:
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x;x=y\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX: y\r\n\r\n"


def test_chunked_transfer(raw: bytes, scripted: Callable[..., Scripted]) -> None:
    head = OK + "Transfer-Encoding: chunked\n\n"
    assert equal(open_stream(scripted(says(head, chunked(raw))).url).checkpoint, raw)
    server = scripted(says(head, chunked(raw)[:40_000]), serves(raw))  # cut off within a chunk, then resumed
    assert equal(open_stream(server.url).checkpoint, raw)
    assert [b"Range:" in request for request in server.requests] == [False, True]


def test_ranges_smaller_than_requested(raw: bytes, scripted: Callable[..., Scripted]) -> None:
    def small_ranges(connection: socket.socket, head: bytes) -> None:
        asked = re.search(rb"Range: bytes=(\d+)-", head)
        begin = int(asked[1]) if asked else 0
        end = min(begin + 50_000, len(raw))
        head = f"HTTP/1.1 206 Partial\r\nContent-Range: bytes {begin}-{end - 1}/{len(raw)}\r\n\r\n".encode()
        connection.sendall(head + raw[begin:end])

    server = scripted(small_ranges)
    assert equal(open_stream(server.url).checkpoint, raw)
    assert len(server.requests) == -(-len(raw) // 50_000)


def test_wrong_lengths(raw: bytes, scripted: Callable[..., Scripted]) -> None:
    for length in (len(raw) - 9, len(raw) + 9, 10**17):
        server = scripted(says(OK + f"Content-Length: {length}\n\n", raw))
        with fails(FormatError, f"has {length} bytes instead of {len(raw)}", server.url):
            load_model(server.url)


def test_range_of_a_file_of_another_length(raw: bytes, scripted: Callable[..., Scripted]) -> None:
    begin = f"HTTP/1.1 200 OK\nContent-Length: {len(raw)}\n\n"
    other = f"HTTP/1.1 206 Partial\nContent-Range: bytes 1000-{len(raw)}/{len(raw) + 1}\n\n"
    server = scripted(says(begin, raw[:1000]), says(other, raw[1000:] + b"x"), serves(raw))
    assert equal(open_stream(server.url).checkpoint, raw)


# ---- interrupted transfers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 3, 5000, 200_000])
@pytest.mark.parametrize("how", ["resets", "stops", "ends"])
@pytest.mark.parametrize("lasting", [True, False], ids=["always", "once"])
def test_interrupted_transfer(
    raw: bytes, scripted: Callable[..., Scripted], at: int, how: str, lasting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "stops":
        shorten_timeout(monkeypatch)
    head = OK + f"Content-Length: {len(raw)}\n\n"
    script = {
        "resets": resets(head, raw[:at]),
        "stops": says(head, raw[:at], ends=False),
        "ends": says(head, raw[:at]),
    }[how]
    server = scripted(*[script] * (1 if lasting else 2), *([] if lasting else [serves(raw)]))
    if not lasting:
        assert equal(open_stream(server.url).checkpoint, raw)
        return
    with fails(ModelNotFoundError, LAST, server.url):
        open_stream(server.url).checkpoint.tensors["decoder.ln.weight"]
    assert len(server.requests) <= apr_http.RETRIES + 2


def test_connection_breaks_after_each_byte(raw: bytes, scripted: Callable[..., Scripted]) -> None:
    """A retry that receives a byte resets the count of failures."""

    def one(connection: socket.socket, head: bytes) -> None:
        asked = re.search(rb"Range: bytes=(\d+)-", head)
        begin = int(asked[1]) if asked else 0
        if begin > 20:
            return serves(raw)(connection, head)
        status = f"206 Partial\r\nContent-Range: bytes {begin}-{len(raw) - 1}/{len(raw)}" if asked else "200 OK"
        connection.sendall(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(raw) - begin}\r\n\r\n".encode() + raw[begin : begin + 1]
        )
        return None

    assert equal(open_stream(scripted(one).url).checkpoint, raw)


def test_file_changes_with_each_request(raw: bytes, scripted: Callable[..., Scripted]) -> None:
    count = itertools.count()

    def other(connection: socket.socket, _: bytes) -> None:
        head = f'HTTP/1.1 200 OK\r\nETag: "{next(count)}"\r\nContent-Length: {len(raw)}\r\n\r\n'
        connection.sendall(head.encode() + raw[:100])

    server = scripted(other)
    with fails(ModelNotFoundError, LAST, server.url):
        load_model(server.url)


# ---- arbitrary responses ----------------------------------------------------------------------------------------

LINES = st.sampled_from(
    [
        "Content-Length: LENGTH", "Content-Length: 0", "Content-Length: -1", "Content-Length: 1e3",
        "Content-Range: bytes 0-LAST/LENGTH", "Content-Range: bytes 0-0/LENGTH", "Content-Range: bytes 5-LAST/LENGTH",
        "Content-Range: x", "Transfer-Encoding: chunked", "Transfer-Encoding: x", "Content-Encoding: gzip",
        'ETag: "a"', 'ETag: W/"a"', "Last-Modified: x", "Location: /", "Location: x:y",
        "Retry-After: 0", "Retry-After: x", "Connection: keep-alive", "X", ": x", " folded", "\x00", "\xff: \xff",
    ]
)  # fmt: skip
ANSWERS = st.tuples(
    st.sampled_from([200, 200, 200, 206, 206, 204, 302, 416, 503, 100, 999]),
    st.lists(LINES, max_size=4),
    st.sampled_from(["all", "some", "none", "zeros"]),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(answers=st.lists(ANSWERS, min_size=1, max_size=4))
def test_arbitrary_responses(
    raw: bytes, scripted: Callable[..., Scripted], answers: list[tuple[int, list[str], str]]
) -> None:
    def script(status: int, lines: list[str], body: str) -> Script:
        head = f"HTTP/1.1 {status} x\n" + "".join(f"{line}\n" for line in lines) + "\n"
        head = head.replace("LENGTH", str(len(raw))).replace("LAST", str(len(raw) - 1))
        return says(head, {"all": raw, "some": raw[:70_000], "none": b"", "zeros": bytes(100)}[body])

    server = scripted(*(script(*answer) for answer in answers))
    began = time.monotonic()
    message = ""
    try:
        assert equal(open_stream(server.url).checkpoint, raw)
    except (FormatError, ModelNotFoundError) as error:
        message = str(error)
    assert not message or message.startswith(f"{server.url}: ")
    assert time.monotonic() - began < 60  # it ends
    server.close()
