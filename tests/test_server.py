"""The server of `whisper-apr web`: responses, ranges, hosts, malformed requests, time limits and files that change."""

import http.client
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.web.server import HOST, PAGE_FILES, Server, files_in_folder, is_this_server, parse_range

pytestmark = pytest.mark.system

MODEL = bytes(range(256)) * 5000


@contextmanager
def running(paths: dict[str, Path], **limits: float) -> Iterator[Server]:
    with Server(0, paths, {"model": "model.apr"}, **limits) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "secret.txt").write_text("secret")
    inside = folder / "inside"
    (inside / "deeper").mkdir(parents=True)
    (inside / "deeper" / "hidden.txt").write_text("hidden")
    (inside / "a.wasm").write_bytes(b"\0asm")
    (inside / "model.apr").write_bytes(MODEL)
    paths = {"model.apr": inside / "model.apr", "gone.apr": inside / "gone.apr", **files_in_folder("engine", inside)}
    with running(paths) as server:
        yield server


def ask(server: Server, path: str, method: str = "GET", host: str | None = None, **headers: str):
    """Send a request, and return the response and its body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        if host != "":
            connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_page_and_settings(server):
    page, body = ask(server, "/")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html"
    assert body == ask(server, "/index.html")[1]
    for name in PAGE_FILES:
        answer, body = ask(server, f"/{name}?x=1")
        assert answer.status == 200
        assert len(body) == int(answer.headers["Content-Length"]) > 0
    assert ask(server, "/page.js")[0].headers["Content-Type"] == "text/javascript"
    assert ask(server, "/engine/a.wasm")[0].headers["Content-Type"] == "application/wasm"
    assert json.loads(ask(server, "/settings.json")[1]) == {"model": "model.apr"}


def test_all_files_of_the_page_are_served():
    web = Path(__file__).parent.parent / "src" / "whisper_apr" / "web" / "static"
    if not web.is_dir():  # an installed package is tested
        import whisper_apr

        web = Path(whisper_apr.__file__).parent / "web" / "static"
    assert {path.name for path in web.iterdir()} - set(PAGE_FILES) == {"whisper.d.ts"}


SIZE = len(MODEL)


def test_whole_file(server):
    answer, body = ask(server, "/model.apr")
    assert (answer.status, body) == (200, MODEL)
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("wanted", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=7-12", 7, 13),
        ("bytes=1000000-", 10**6, SIZE),
        (f"bytes=9-{SIZE * 9}", 9, SIZE),
        (f"bytes={SIZE - 1}-{SIZE - 1}", SIZE - 1, SIZE),
        ("bytes=-500", SIZE - 500, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
        (f"bytes=5-{'9' * 5000}", 5, SIZE),
        (f"bytes=-{'9' * 5000}", 0, SIZE),
        (f"bytes={'0' * 5000}5-6", 5, 7),
        ("Bytes = 3-4 ", 3, 5),
        ("bytes=,3-4,", 3, 5),
        (f"bytes=3-4,{SIZE}-", 3, 5),  # only one of the two is within the file
    ],
)
def test_ranges(server, wanted, begin, end):
    answer, body = ask(server, "/model.apr", Range=wanted)
    assert (answer.status, body) == (206, MODEL[begin:end])
    assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(end - begin)
    answer, body = ask(server, "/model.apr", "HEAD", Range=wanted)  # a range is GET's alone
    assert (answer.status, answer.headers["Content-Length"], body) == (200, str(SIZE), b"")


@pytest.mark.parametrize(
    "wanted",
    [
        f"bytes={SIZE}-",
        f"bytes={SIZE}-{SIZE + 5}",
        f"bytes={'9' * 5000}-",
        "bytes=-0",
        f"bytes={SIZE}-,-0",
        "bytes=5-2",
        f"bytes={SIZE + 9}-{SIZE + 2}",
        "bytes=x-",
        "bytes=-",
        "bytes=",
        "bytes=,",
        "bytes=--5",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=1 - 2",
        "bytes=0x1-0x2",
        "bytes=1.5-2",
        "bytes=1-2;3-4",
        "bytes=\u00b2-3",  # a digit to Python, not to the protocol
        "bytes=0-1, bytes=2-3",
    ],
)
def test_ranges_that_cannot_be_had(server, wanted):
    answer, body = ask(server, "/model.apr", Range=wanted)
    assert (answer.status, body) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    assert ask(server, "/model.apr", "HEAD", Range=wanted)[0].status == 200


@pytest.mark.parametrize("wanted", ["lines=1-2", "bytes", "", "=", "bytes=1-2,4-5", "bytes=0-0,-1", "byte=1-2"])
def test_unsupported_ranges_are_ignored(server, wanted):
    answer, body = ask(server, "/model.apr", Range=wanted)
    assert (answer.status, body) == (200, MODEL)


@given(
    st.text(st.sampled_from("bytes=0123456789-, \t;x"), max_size=20) | st.from_regex(r"bytes=(\d*-\d*,?)*"),
    st.integers(0, 99),
)
def test_any_parsed_range_is_within_the_file(header, size):
    try:
        part = parse_range(header, size)
    except ValueError:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


def test_if_range_with_a_changed_file_returns_the_whole_file(server):
    tag = ask(server, "/model.apr", "HEAD")[0].headers["ETag"]
    assert ask(server, "/model.apr", Range="bytes=5-", If_Range=tag)[0].status == 206
    answer, body = ask(server, "/model.apr", Range="bytes=5-", If_Range='"another"')
    assert (answer.status, body) == (200, MODEL)
    server.paths["model.apr"].write_bytes(bytes(len(MODEL)))
    assert ask(server, "/model.apr", "HEAD")[0].headers["ETag"] != tag
    server.paths["model.apr"].unlink()
    # the same content as before, as after a restart of `whisper-apr web`: the browser's cache is valid
    server.paths["model.apr"].write_bytes(MODEL)
    assert ask(server, "/model.apr", "HEAD")[0].headers["ETag"] == tag


def test_head_has_no_body(server):
    answer, body = ask(server, "/model.apr", "HEAD")
    assert (answer.status, body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(MODEL)


def test_requests_for_other_hosts_are_forbidden(server):
    port = server.server_port
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"LocalHost:{port}", f"localhost.:{port}", f"[::1]:{port}"):
        assert ask(server, "/", host=host)[0].status == 200
    for host in (
        f"evil.example:{port}",
        "evil.example",
        f"127.0.0.1.evil.example:{port}",
        f"localhost.evil.example:{port}",
        f"evil-localhost:{port}",
        "localhost",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        f"127.0.0.1:{port}0",
        "127.0.0.1:",
        f"127.0.0.1:{'9' * 5000}",
        f"[::2]:{port}",
        f"127.0.0.2:{port}",
        f"localhost..:{port}",
        f":{port}",
    ):
        for path in ("/", "/model.apr"):
            assert ask(server, path, host=host)[0].status == 403


def test_malformed_hosts(server):
    port = server.server_port
    for host in (
        f"127.0.0.1:{port}:{port}",
        f"localhost:{port}x",
        f"localhost:-{port}",
        f"[::1:{port}",
        f"[]:{port}",
        f"[1::2::3]:{port}",
        f"user@localhost:{port}",
        f"localhost:{port}/",
        f"localhost:{port}, evil.example",
        f"local host:{port}",
        f"localhost:{port} {port}",
        f"l\u00f6calhost:{port}",
        "",  # no Host header
    ):
        assert ask(server, "/", host=host)[0].status == 400


@pytest.mark.parametrize(
    ("authority", "port", "expected"),
    [
        ("localhost", 80, True),
        ("LOCALHOST.", 80, True),
        ("127.0.0.1:80", 80, True),
        ("127.0.0.1:080", 80, True),
        ("127.0.0.1:", 80, True),
        ("[::1]", 80, True),
        ("[0:0:0:0:0:0:0:1]:8008", 8008, True),
        ("localhost", 8008, False),
        ("localhost:80", 8008, False),
        ("[::ffff:127.0.0.1]", 80, False),
    ],
)
def test_loopback_names_and_ports(authority, port, expected):
    assert is_this_server(authority, port) is expected


@given(st.text(max_size=30) | st.text(st.sampled_from("localhost127.0.:[]0123456789@/ "), max_size=30))
def test_any_host_is_recognized_or_refused(authority):
    try:
        ours = is_this_server(authority, 8008)
    except ValueError:
        return
    assert not ours or authority.strip(" \t").lower() in {
        f"{name}:{zeros}8008"
        for name in ("127.0.0.1", "127.0.0.1.", "localhost", "localhost.")
        for zeros in ("", "0", "00")
    }


# ---- raw requests -----------------------------------------------------------------------------------------------


def connected(server: Server) -> socket.socket:
    return socket.create_connection((HOST, server.server_port), timeout=10)


def send_raw(server: Server, data: bytes) -> bytes:
    """Send bytes, and return all that is received until the server closes the connection.

    Raises TimeoutError if it does not.
    """
    with connected(server) as connection:
        connection.sendall(data)
        received = b""
        with suppress(ConnectionResetError):
            while piece := connection.recv(1 << 16):
                received += piece
        return received


def statuses(received: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]


def request_head(server: Server, *lines: str, request: str = "GET /settings.json HTTP/1.1") -> bytes:
    return "\r\n".join([request, f"Host: localhost:{server.server_port}", *lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /settings.json HTTP/1.1", 200),
        ("GET /settings.json HTTP/1.0", 200),
        ("HEAD /settings.json HTTP/1.1", 200),
        ("GET http://localhost:PORT/settings.json HTTP/1.1", 200),
        ("GET http://LOCALHOST:PORT HTTP/1.1", 400),
        ("GET http://evil.example/settings.json HTTP/1.1", 403),
        ("GET http://localhost:1/settings.json HTTP/1.1", 403),
        ("GET http://user@localhost:PORT/settings.json HTTP/1.1", 400),
        ("GET https://localhost:PORT/settings.json HTTP/1.1", 400),
        ("GET http://[::1/settings.json HTTP/1.1", 400),
        ("GET file:///etc/passwd HTTP/1.1", 400),
        ("GET settings.json HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET ?x HTTP/1.1", 400),
        ("GET /%ff%00%zz HTTP/1.1", 404),
        ("GET /\xe9 HTTP/1.1", 404),
        ("GET  HTTP/1.1", 400),
        ("GET /settings.json", 200),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/1.1.1", 400),
        ("GET / HTTP/x.y", 400),
        ("GET / FTP/1.1", 400),
        ("GET / a b HTTP/1.1", 400),
        ("POST / HTTP/1.1", 501),
        ("get / HTTP/1.1", 501),
        ("\0\x01\x02", 400),
        ("X" * 100, 400),
        (f"GET /{'a' * 70000} HTTP/1.1", 414),
        (f"GET /{'a' * 60000} HTTP/1.1", 404),
    ],
)
def test_request_lines(server, request_line, status, capsys):
    line = request_line.replace("PORT", str(server.server_port))
    received = send_raw(server, request_head(server, "Connection: close", request=line))
    assert statuses(received) == [status]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["X: " + "a" * 70000], 431),
        ([f"X-{i}: a" for i in range(200)], 431),
        (["no colon", "Connection: close"], 200),
        (["Host: localhost"], 400),
        (["Host: localhost:PORT"], 400),  # the same one twice
        (["Host: evil.example"], 400),
    ],
)
def test_headers(server, lines, status):
    lines = [line.replace("PORT", str(server.server_port)) for line in lines]
    with connected(server) as connection:
        connection.sendall(request_head(server, *lines))
        connection.shutdown(socket.SHUT_WR)
        received = connection.makefile("rb").read()
    assert statuses(received) == [status]


def test_requests_without_a_host(server):
    assert statuses(send_raw(server, b"GET / HTTP/1.0\r\n\r\n")) == [403]
    assert statuses(send_raw(server, b"GET / HTTP/1.1\r\n\r\n")) == [400]


def test_a_body_is_not_read_as_a_request(server):
    inner = request_head(server, "Connection: close")
    for lines in ([f"Content-Length: {len(inner)}"], ["Transfer-Encoding: chunked"], ["Content-Length: x"]):
        received = send_raw(server, request_head(server, *lines) + inner)
        assert statuses(received) == [200]


def test_pipelined_requests(server):
    received = send_raw(server, request_head(server) * 3 + request_head(server, "Connection: close"))
    assert statuses(received) == [200] * 4


# ---- time limits, and files that change -------------------------------------------------------------------------


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("start", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: loc"])
def test_an_incomplete_request_times_out(start):
    with running({}, time_limit=0.2) as server:
        began = time.monotonic()
        with connected(server) as connection:
            connection.sendall(start)
            assert is_closed(connection)
        assert time.monotonic() - began > 0.1


def test_a_slow_request_times_out():
    with running({}, time_limit=0.3) as server:
        request, taken = b"GET / HTTP/1.1\r\nX: " + b"a" * 1000, 0
        with connected(server) as connection, suppress(ConnectionError):
            for byte in request:
                connection.sendall(bytes([byte]))
                taken += 1
                time.sleep(0.02)
        assert 1 < taken < len(request)


def test_an_idle_connection_is_closed():
    with running({}, time_limit=0.2) as server, connected(server) as connection:
        connection.sendall(request_head(server))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.read() == b'{"model": "model.apr"}'
        assert is_closed(connection)


def test_a_client_that_does_not_read_is_dropped(tmp_path):
    """With a single connection allowed, the next request is served."""
    (tmp_path / "model.apr").write_bytes(bytes(64 << 20))
    paths = {"model.apr": tmp_path / "model.apr"}
    with running(paths, time_limit=0.3, max_connections=1) as server, connected(server) as connection:
        connection.sendall(request_head(server, request="GET /model.apr HTTP/1.1"))
        deadline = time.monotonic() + 60
        while (found := statuses(send_raw(server, request_head(server, "Connection: close")))) != [200]:
            assert found in ([503], [])  # the response may be lost if the connection is closed at once
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_connections_beyond_the_limit_are_refused():
    with running({}, time_limit=20, max_connections=3) as server:
        kept = [connected(server) for _ in range(3)]
        for connection in kept:
            connection.sendall(request_head(server))
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        with connected(server) as connection:
            assert statuses(connection.recv(1 << 16)) == [503]
            assert is_closed(connection)
        for connection in kept:
            connection.close()
        deadline = time.monotonic() + 60
        while statuses(send_raw(server, request_head(server, "Connection: close"))) != [200]:
            assert time.monotonic() < deadline


def test_simultaneous_connections_are_all_served():
    with running({}, max_connections=64) as server:
        connections = [connected(server) for _ in range(50)]
        for connection in connections:
            connection.sendall(request_head(server, "Connection: close"))
        assert [statuses(connection.makefile("rb").read()) for connection in connections] == [[200]] * 50
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("range_", [None, "bytes=100-"])
def test_a_shrinking_file_ends_the_response(tmp_path, range_):
    path, size = tmp_path / "model.apr", 64 << 20
    path.write_bytes(bytes(size))
    with running({"model.apr": path}) as server:
        connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
        connection.request("GET", "/model.apr", headers={"Range": range_} if range_ else {})
        answer = connection.getresponse()
        assert int(answer.headers["Content-Length"]) == size - (100 if range_ else 0)
        os.truncate(path, 1000)
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
        connection.close()
        answer, body = ask(server, "/model.apr")  # the file's present content
        assert (answer.status, len(body)) == (200, 1000)


def test_a_file_that_is_removed_or_grows(tmp_path):
    path, size = tmp_path / "model.apr", 64 << 20
    path.write_bytes(bytes(size))
    with running({"model.apr": path}) as server:
        connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
        connection.request("GET", "/model.apr")
        answer = connection.getresponse()
        with open(path, "ab") as file:
            file.write(b"more")
        path.unlink()
        assert len(answer.read()) == size  # the Content-Length
        connection.request("GET", "/model.apr")
        assert connection.getresponse().status == 404
        connection.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_fifos_and_folders_are_not_found(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with running({"pipe": tmp_path / "pipe", "folder": tmp_path}) as server:
        assert ask(server, "/pipe")[0].status == 404
        assert ask(server, "/folder")[0].status == 404


def test_an_empty_file(tmp_path):
    (tmp_path / "empty").touch()
    with running({"empty": tmp_path / "empty"}) as server:
        answer, body = ask(server, "/empty")
        assert (answer.status, answer.headers["Content-Length"], body) == (200, "0", b"")
        for wanted in ("bytes=0-", "bytes=0-0", "bytes=-5"):
            assert ask(server, "/empty", Range=wanted)[0].status == 416


def test_a_reset_connection_prints_nothing(server, capfd):
    for _ in range(5):
        with connected(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with a reset
            connection.sendall(request_head(server, request="GET /model.apr HTTP/1.1"))
    time.sleep(0.2)
    assert ask(server, "/")[0].status == 200
    assert capfd.readouterr() == ("", "")


# ---- paths and methods ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/gone.apr",
        "/secret.txt",
        "/../secret.txt",
        "/engine/../secret.txt",
        "/engine/%2e%2e/secret.txt",
        "/engine/..%2fsecret.txt",
        "//etc/passwd",
        "/engine/",
        "/engine/deeper/hidden.txt",
        "/whisper.d.ts/..",
        "/%00",
    ],
)
def test_other_paths_are_not_found(server, path):
    answer, body = ask(server, path)
    assert answer.status == 404
    assert b"secret" not in body
    assert b"root:" not in body


def test_only_get_and_head(server):
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(server, "/model.apr", method)[0].status == 501


def test_a_port_in_use(server):
    with pytest.raises(OSError, match="in use"):
        Server(server.server_port, {}, {})


def test_listens_on_loopback_only(server):
    assert server.server_address[0] == "127.0.0.1"
