"""The page's server: what it gives, to whom, and what it refuses."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from whisper_apr.server import PAGE_FILES, Server, folder_paths

pytestmark = pytest.mark.system

MODEL = bytes(range(256)) * 5000


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "secret.txt").write_text("secret")
    inside = folder / "inside"
    (inside / "deeper").mkdir(parents=True)
    (inside / "deeper" / "hidden.txt").write_text("hidden")
    (inside / "a.wasm").write_bytes(b"\0asm")
    (inside / "model.apr").write_bytes(MODEL)
    paths = {"model.apr": inside / "model.apr", "gone.apr": inside / "gone.apr", **folder_paths("engine", inside)}
    with Server(0, paths, {"model": "model.apr"}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: Server, path: str, method: str = "GET", host: str | None = None, **headers: str):
    """The answer and its body."""
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


def test_the_page_and_what_it_is_told(server):
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


def test_every_file_of_the_page_is_served():
    web = Path(__file__).parent.parent / "src" / "whisper_apr" / "web"
    if not web.is_dir():  # tests of an installed package
        import whisper_apr

        web = Path(whisper_apr.__file__).parent / "web"
    assert {path.name for path in web.iterdir()} - set(PAGE_FILES) == {"whisper.d.ts"}


def test_whole_and_in_ranges(server):
    answer, body = ask(server, "/model.apr")
    assert (answer.status, body) == (200, MODEL)
    assert answer.headers["Accept-Ranges"] == "bytes"
    size = len(MODEL)
    for wanted, begin, end in [("0-0", 0, 1), ("7-12", 7, 13), ("1000000-", 10**6, size), (f"9-{size * 9}", 9, size)]:
        answer, body = ask(server, "/model.apr", Range=f"bytes={wanted}")
        assert (answer.status, body) == (206, MODEL[begin:end])
        assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{size}"
    answer, body = ask(server, "/model.apr", Range=f"bytes={size}-")
    assert (answer.status, body) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    for odd in ("bytes=x-", "bytes=-5", "lines=1-2", "bytes=1-2,4-5"):  # what is not understood is no range
        assert ask(server, "/model.apr", Range=odd)[0].status == 200


def test_a_range_of_what_has_changed_is_the_whole(server):
    tag = ask(server, "/model.apr", "HEAD")[0].headers["ETag"]
    assert ask(server, "/model.apr", Range="bytes=5-", If_Range=tag)[0].status == 206
    answer, body = ask(server, "/model.apr", Range="bytes=5-", If_Range='"another"')
    assert (answer.status, body) == (200, MODEL)
    server.paths["model.apr"].write_bytes(bytes(len(MODEL)))
    assert ask(server, "/model.apr", "HEAD")[0].headers["ETag"] != tag
    server.paths["model.apr"].unlink()
    server.paths["model.apr"].write_bytes(
        MODEL
    )  # written anew, as `whisper-apr web` does: what a browser keeps is good
    assert ask(server, "/model.apr", "HEAD")[0].headers["ETag"] == tag


def test_head_brings_no_body(server):
    answer, body = ask(server, "/model.apr", "HEAD")
    assert (answer.status, body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(MODEL)


def test_who_calls_this_machine_by_another_name_gets_nothing(server):
    port = server.server_port
    for host in (f"localhost:{port}", f"127.0.0.1:{port}"):
        assert ask(server, "/", host=host)[0].status == 200
    for host in (
        f"evil.example:{port}",
        "evil.example",
        f"127.0.0.1.evil.example:{port}",
        f"127.0.0.1:{port}:{port}",
        "",
    ):
        assert ask(server, "/", host=host)[0].status == 403
        assert ask(server, "/model.apr", host=host)[0].status == 403


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
def test_only_what_is_named_is_served(server, path):
    answer, body = ask(server, path)
    assert answer.status == 404
    assert b"secret" not in body
    assert b"root:" not in body


def test_only_reading(server):
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(server, "/model.apr", method)[0].status == 501


def test_a_port_that_is_taken(server):
    with pytest.raises(OSError, match="in use"):
        Server(server.server_port, {}, {})


def test_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"
