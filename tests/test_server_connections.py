"""Connections to the server of `whisper-apr web`: raw requests, time limits, and files that change."""

import http.client
import os
import socket
import struct
import time
from contextlib import suppress

import pytest

from web_server import ask, connected, request_head, running, send_raw, statuses
from whisper_apr.web.server import HOST

pytestmark = pytest.mark.system


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
