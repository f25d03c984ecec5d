"""Load a model from a misbehaving server: the model, or a clear error without secrets, in bounded time."""

import itertools
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apr_files import equal
from whisper_apr import load_model
from whisper_apr.errors import FormatError, ModelNotFoundError
from whisper_apr.formats.apr import http as apr_http
from whisper_apr.formats.apr.http import open_stream

pytestmark = pytest.mark.system

CERTIFICATE = Path(__file__).parent / "data" / "localhost.pem"  # self-signed, for localhost and 127.0.0.1, with its key
Script = Callable[[socket.socket, bytes], None]  # handles a connection after the request was read


class Scripted:
    """A server that handles each connection with the next script, further ones with the last."""

    def __init__(self, *scripts: Script, context: ssl.SSLContext | None = None) -> None:
        self._scripts, self._context = list(scripts), context
        self.requests: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}/model.apr"
        self.is_over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self.is_over.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        if self._context is not None:
            try:
                connection = self._context.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        with suppress(OSError), connection:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := connection.recv(1 << 16)):
                    return
                head += piece
            self.requests.append(head)
            script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
            script(connection, head)
            if self._context is not None:
                connection.unwrap()

    def close(self) -> None:
        self.is_over.set()
        self.listener.close()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scripted]]:
    monkeypatch.setattr(apr_http, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(apr_http, "TIMEOUT", 10.0)
    servers: list[Scripted] = []

    def start(*scripts: Script, **how: object) -> Scripted:
        servers.append(Scripted(*scripts, **how))  # type: ignore[arg-type]
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def shorten_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeout, for tests that run into it; the others need a long one on a busy machine."""
    monkeypatch.setattr(apr_http, "TIMEOUT", 0.15)


def says(head: str | bytes, body: bytes = b"", *, ends: bool = True) -> Script:
    """Send headers (with \\n for \\r\\n) and a body; with ends=False the connection then stays open."""
    head = head.replace("\n", "\r\n").encode("latin-1") if isinstance(head, str) else head

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head + body)
        if not ends:
            time.sleep(1)

    return script


def resets(head: str, body: bytes) -> Script:
    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head.replace("\n", "\r\n").encode() + body)
        time.sleep(0.05)  # so that the client reads it
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return script


def drips(start: bytes, rest: Iterator[bytes]) -> Script:
    """Send pieces without end."""

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(start)
        for piece in rest:
            connection.sendall(piece)
            time.sleep(0.002)

    return script


def serves(data: bytes) -> Script:
    """Answer like a server that supports ranges."""

    def script(connection: socket.socket, head: bytes) -> None:
        asked = re.search(rb"Range: bytes=(\d+)-", head)
        begin = int(asked[1]) if asked else 0
        status = (
            f"206 Partial Content\r\nContent-Range: bytes {begin}-{len(data) - 1}/{len(data)}" if asked else "200 OK"
        )
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(data) - begin}\r\n\r\n".encode() + data[begin:])

    return script


SECRET = "?token=hunter2#hunter2"


@contextmanager
def fails(kind: type[Exception], message: str, url: str) -> Iterator[None]:
    """Expect an error within seconds, whose message names the URL but no secret."""
    began = time.monotonic()
    with pytest.raises(kind, match=message) as caught:
        yield
    assert type(caught.value) in (FormatError, ModelNotFoundError)
    text = str(caught.value)
    assert text.startswith(url.partition("?")[0] + ": ")
    assert text.isprintable()
    assert "hunter2" not in text
    assert len(text) < 500
    assert time.monotonic() - began < 60  # it ends


OK = "HTTP/1.1 200 OK\n"
LAST = "retries in a row failed; the last: .*"

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


# ---- redirects --------------------------------------------------------------------------------------------------


def redirects(location: str | None, code: int = 302, body: bytes = b"") -> Script:
    where = "" if location is None else f"Location: {location}\n"
    return says(f"HTTP/1.1 {code} Found\n{where}Content-Length: {len(body)}\n\n", body)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed(raw: bytes, scripted: Callable[..., Scripted], code: int) -> None:
    there = scripted(redirects("/f%C3%BCr", code), redirects("../f\xc3\xbcr dich?a=b c#d", code), serves(raw))
    url = scripted(redirects(f"//127.0.0.1:{there.port}/x/y?q", code)).url
    assert equal(open_stream(url).checkpoint, raw)
    paths = [request.split(b" ")[1] for request in there.requests]
    assert paths[:2] == [b"/x/y?q", b"/f%C3%BCr"]
    assert re.fullmatch(rb"/f[%0-9A-F]+r%20dich\?a=b%20c", paths[2])


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (None, "the server redirects without saying where to"),
        ("file:///etc/passwd", "the server redirects to file:///etc/passwd, which is not a valid"),
        ("ftp://hunter2@127.0.0.1/x", "the server redirects to ftp://127.0.0.1/x, which is not a valid"),
        ("data:,x", "the server redirects to data:,x, which is not a valid"),
        ("javascript:1", "the server redirects to .* which is not a valid http or https URL"),
        ("http:", "more than 10 redirects"),
        ("http://[::1", "the server redirects to .* which is not a valid http or https URL"),
        ("//127.0.0.1:99999/", "the server redirects to .*port must be from 1 to 65535"),
        ("http://a:hunter2@127.0.0.1/", "the server redirects to .*user name or password, which is not supported"),
        ("http://a..b/", "the server redirects to .*its host or port is malformed"),
        ("\x01\x02", "more than 10 redirects"),
        ("", "more than 10 redirects"),
        ("/model.apr", "more than 10 redirects"),
        ("?x=hunter2", "more than 10 redirects"),
        ("x/../model.apr", "more than 10 redirects"),
    ],
)
def test_invalid_redirects(scripted: Callable[..., Scripted], location: str | None, message: str) -> None:
    server = scripted(redirects(location))
    with fails(ModelNotFoundError, message, server.url):
        load_model(server.url + SECRET)
    assert len(server.requests) <= apr_http.MAX_REDIRECTS + 1


def test_redirect_loop(scripted: Callable[..., Scripted]) -> None:
    one = scripted(lambda connection, head: redirects(other.url)(connection, head))
    other = scripted(redirects(one.url))
    with fails(ModelNotFoundError, "more than 10 redirects", one.url):
        load_model(one.url)


def test_body_of_a_redirect_is_not_read(raw: bytes, scripted: Callable[..., Scripted]) -> None:
    there = scripted(serves(raw))
    endless = drips(f"HTTP/1.1 302 Found\r\nLocation: {there.url}\r\n\r\n".encode(), itertools.repeat(bytes(1000)))
    assert equal(open_stream(scripted(endless).url).checkpoint, raw)


# ---- https ------------------------------------------------------------------------------------------------------


@pytest.fixture
def context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


@pytest.mark.usefixtures("trusted")
def test_https(raw: bytes, scripted: Callable[..., Scripted], context: ssl.SSLContext) -> None:
    server = scripted(says(OK + f"Content-Length: {len(raw)}\n\n", raw[:70_000]), serves(raw), context=context)
    assert equal(open_stream(server.url).checkpoint, raw)
    upwards = scripted(redirects(server.url))
    assert equal(open_stream(upwards.url).checkpoint, raw)


@pytest.mark.usefixtures("trusted")
def test_redirect_from_https_to_http_is_refused(
    raw: bytes, scripted: Callable[..., Scripted], context: ssl.SSLContext
) -> None:
    there = scripted(serves(raw))
    server = scripted(redirects(there.url + SECRET), context=context)
    with fails(ModelNotFoundError, f"the server redirects from https to http, {there.url}; use that URL", server.url):
        load_model(server.url)
    assert there.requests == []


def test_untrusted_certificate(scripted: Callable[..., Scripted], context: ssl.SSLContext) -> None:
    server = scripted(says(OK), context=context)
    with fails(ModelNotFoundError, "cannot be loaded .*certificate", server.url):
        load_model(server.url)
    assert server.requests == []


def test_http_and_https_confused(
    scripted: Callable[..., Scripted], context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_timeout(monkeypatch)
    server = scripted(says(OK), context=context)
    url = server.url.replace("https", "http")
    with fails(ModelNotFoundError, LAST, url):
        load_model(url)
    server = scripted(says(OK))
    url = server.url.replace("http", "https")
    with fails(ModelNotFoundError, LAST, url):
        load_model(url)


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
