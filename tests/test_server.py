"""The server of `whisper-apr web`: responses, ranges, hosts, paths and methods."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web_server import MODEL, ask
from whisper_apr.web.server import Server, is_this_server, parse_range

pytestmark = pytest.mark.system


def test_page_and_settings(server):
    page, body = ask(server, "/")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html"
    assert body == ask(server, "/index.html")[1]
    for name in server.in_memory:
        answer, body = ask(server, f"/{name}?x=1")
        assert answer.status == 200
        assert len(body) == int(answer.headers["Content-Length"]) > 0
    assert ask(server, "/page/main.js")[0].headers["Content-Type"] == "text/javascript"
    assert ask(server, "/engine/a.wasm")[0].headers["Content-Type"] == "application/wasm"
    for name in ("/", "/thread.js", "/model.apr", "/engine/a.wasm"):
        headers = ask(server, name)[0].headers
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert json.loads(ask(server, "/settings.json")[1]) == {"model": "model.apr"}


def test_all_files_of_the_page_are_served(server):
    web = Path(__file__).parent.parent / "src" / "whisper_apr" / "web" / "static"
    if not web.is_dir():  # an installed package is tested
        import whisper_apr

        web = Path(whisper_apr.__file__).parent / "web" / "static"
    there = {path.relative_to(web).as_posix() for path in web.rglob("*") if path.is_file()}
    declarations = {"whisper.d.ts", "pipeline.d.ts"}
    assert there - set(server.in_memory) == declarations
    for name in there - declarations:
        assert ask(server, f"/{name}")[1] == (web / name).read_bytes()


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


@pytest.mark.parametrize("path", ["/model.apr", "/worker.js", "/engine/a.wasm"])
def test_a_file_that_the_browser_has_is_not_sent_again(server, path):
    tag = ask(server, path)[0].headers["ETag"]
    for header in (tag, f"W/{tag}", f'"another", {tag}', "*"):
        answer, body = ask(server, path, If_None_Match=header)
        assert (answer.status, body, answer.headers["ETag"]) == (304, b"", tag)
    for header in ('"another"', "", tag.strip('"')):
        answer, body = ask(server, path, If_None_Match=header)
        assert (answer.status, answer.headers["ETag"]) == (200, tag)
        assert body
    assert ask(server, path, "HEAD", If_None_Match=tag)[0].status == 304


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
