"""Load a model over HTTP: transfers that break, files that change, and use before the transfer is complete."""

import http.server
import io
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from apr_files import DECODER, ENCODER, equal, parse_header, write_model
from models import ODD, dimensions, random_checkpoint
from whisper_apr import load_model
from whisper_apr.errors import FormatError, ModelNotFoundError
from whisper_apr.formats.apr import AprStream, write_apr
from whisper_apr.formats.apr import http as apr_http
from whisper_apr.formats.apr.http import open_stream

# ---- over HTTP --------------------------------------------------------------------------------------------------


@dataclass
class Answers:
    """How a server answers each request, and the ranges that were requested. Further requests get a plain answer."""

    data: bytes
    then: list[Callable[["Handler", "Answers"], None]] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)  # the Range header of each request


class Handler(http.server.BaseHTTPRequestHandler):
    answers: Answers

    def do_GET(self) -> None:
        answers = self.answers
        answers.ranges.append(self.headers.get("Range"))
        (answers.then.pop(0) if answers.then else plain)(self, answers)

    def log_message(self, *_: object) -> None: ...


def send(
    handler: Handler,
    data: bytes,
    *,
    begin: int = 0,
    etag: str = '"1"',
    total: int | None = None,
    count: int | None = None,
) -> None:
    """Send the data from `begin` on; after `count` bytes the connection breaks."""
    handler.send_response(206 if begin else 200)
    total = len(data) if total is None else total
    if begin:
        handler.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
    handler.send_header("Content-Length", str(total - begin))
    if etag:
        handler.send_header("ETag", etag)
    handler.end_headers()
    handler.wfile.write(data[begin:][:count])


def plain(handler: Handler, answers: Answers, **how: object) -> None:
    """Answer like a server that supports ranges."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", "bytes=0-"))
    etag = how.get("etag", '"1"')
    unchanged = handler.headers.get("If-Range", etag) == etag
    send(handler, answers.data, begin=int(asked[1]) if asked and unchanged else 0, **how)  # type: ignore[arg-type]


def breaking(count: int) -> Callable[[Handler, Answers], None]:
    return lambda handler, answers: plain(handler, answers, count=count)


def status(code: int, **headers: str) -> Callable[[Handler, Answers], None]:
    def answer(handler: Handler, answers: Answers) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[str, Answers]]]:
    monkeypatch.setattr(apr_http, "FIRST_PAUSE", 0.0)
    servers = []

    def start(data: bytes, *then: Callable[[Handler, Answers], None]) -> tuple[str, Answers]:
        answers = Answers(data, list(then))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("OneHandler", (Handler,), {"answers": answers}))
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/model.apr", answers

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_over_http(either: bytes, serve) -> None:
    url, answers = serve(either)
    assert equal(open_stream(url).checkpoint, either)
    assert answers.ranges == [None]


@pytest.mark.parametrize("background", [False, True])
def test_broken_transfer_is_resumed(either: bytes, serve, background: bool) -> None:
    url, answers = serve(either, breaking(30), breaking(50_000), breaking(0), breaking(3))
    assert equal(open_stream(url, background=background).checkpoint, either)
    assert answers.ranges == [None, "bytes=30-", "bytes=50030-", "bytes=50030-", "bytes=50033-"]


def test_server_without_ranges(raw: bytes, serve) -> None:
    def whole(handler: Handler, answers: Answers) -> None:
        send(handler, answers.data, etag="")

    url, answers = serve(raw, breaking(100_000), whole)
    assert equal(open_stream(url).checkpoint, raw)
    assert answers.ranges == [None, "bytes=100000-"]


@pytest.mark.parametrize("conditional", [True, False], ids=["answers If-Range", "ignores If-Range"])
def test_changed_etag_restarts_the_transfer(raw: bytes, tmp_path: Path, serve, conditional: bool) -> None:
    other = write_model(tmp_path / "other.apr", seed=1)
    assert len(other) == len(raw)

    def changed(handler: Handler, answers: Answers) -> None:
        answers.data = other
        if conditional:
            plain(handler, answers, etag='"2"')
        else:
            send(handler, other, begin=100_000, etag='"2"')

    def after(handler: Handler, answers: Answers) -> None:
        plain(handler, answers, etag='"2"')

    url, answers = serve(raw, breaking(100_000), changed, after)
    stream = AprStream(url)
    feeder = apr_http.HttpFeeder(url)
    while feeder.pull(stream):
        pass
    assert equal(stream.checkpoint, other)
    assert answers.ranges == [None, "bytes=100000-"] + ([] if conditional else [None])


def test_file_changes_after_its_tensors_were_used(raw: bytes, tmp_path: Path, serve) -> None:
    other, used = write_model(tmp_path / "other.apr", seed=1), threading.Event()

    def changed(handler: Handler, answers: Answers) -> None:
        used.wait(10)
        send(handler, other, etag='"2"')

    url, _ = serve(raw, breaking(100_000), changed, changed)
    tensors = open_stream(url).checkpoint.tensors
    tensors[ENCODER]
    used.set()
    with pytest.raises(FormatError, match=f"{url}: changed while it was being loaded"):
        tensors[DECODER]


def test_file_changes_before_its_tensors_were_used(raw: bytes, tmp_path: Path, serve) -> None:
    """The new file is loaded, because no tensor of the old one has been used."""
    other = write_model(tmp_path / "other.apr", seed=1)

    def changed(handler: Handler, answers: Answers) -> None:
        send(handler, other, etag='"2"')

    url, answers = serve(raw, breaking(20_000), *[changed] * 9)
    tokens, mel = np.array([[1, 2]]), np.ones((ODD.n_mels, 2 * ODD.n_audio_ctx), np.float32)
    model, expected = load_model(url), load_model(io.BytesIO(other))
    np.testing.assert_array_equal(model.embed_audio(mel), expected.embed_audio(mel))
    np.testing.assert_array_equal(*[m.logits(tokens, m.embed_audio(mel)[None]) for m in (model, expected)])
    assert answers.ranges[:2] == [None, "bytes=20000-"]


def test_damaged_block_is_requested_again(raw: bytes, serve) -> None:
    begin = int(parse_header(raw).offsets[1])
    damaged = raw[: begin + 9] + b"\xff" + raw[begin + 10 :]
    assert damaged != raw
    url, answers = serve(raw, lambda handler, answers: send(handler, damaged))
    assert equal(open_stream(url).checkpoint, raw)
    assert answers.ranges == [None, f"bytes={begin}-"]


def test_file_damaged_on_the_server(raw: bytes, serve) -> None:
    begin = int(parse_header(raw).offsets[1])
    url, answers = serve(raw[: begin + 9] + b"\xff" + raw[begin + 10 :])
    with pytest.raises(FormatError, match=f"{url}: damaged: the checksum of block 1"):
        open_stream(url).checkpoint.tensors[DECODER]
    assert len(answers.ranges) == 2


@pytest.mark.parametrize("passing", [status(503), status(429, Retry_After="0"), status(500), breaking(0)])
def test_transient_failures(raw: bytes, serve, passing: Callable) -> None:
    url, answers = serve(raw, *[passing] * apr_http.RETRIES)
    assert equal(open_stream(url).checkpoint, raw)
    assert len(answers.ranges) == apr_http.RETRIES + 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (status(503), "503 Service Unavailable"),
        (breaking(0), "the connection broke after 0 bytes"),
    ],
)
def test_lasting_failures(raw: bytes, serve, answer: Callable, message: str) -> None:
    url, answers = serve(raw, *[answer] * 50)
    with pytest.raises(
        ModelNotFoundError, match=f"{url}: cannot be loaded, 5 retries in a row failed; the last: .*{message}"
    ):
        load_model(url)
    assert len(answers.ranges) == apr_http.RETRIES + 1


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_permanent_statuses(raw: bytes, serve, code: int) -> None:
    url, answers = serve(raw, status(code))
    with pytest.raises(ModelNotFoundError, match=f"{url}: the server answered {code}"):
        load_model(url)
    assert len(answers.ranges) == 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_redirect_to_another_scheme_is_refused(raw: bytes, serve, target: str) -> None:
    url, _ = serve(raw, *[status(302, Location=target)] * 9)
    with pytest.raises(ModelNotFoundError, match=re.escape(url)):
        load_model(url)


def test_redirect_is_followed(raw: bytes, serve) -> None:
    there, _ = serve(raw)
    url, _ = serve(b"", status(302, Location=there))
    assert equal(open_stream(url).checkpoint, raw)


def test_wrong_lengths(raw: bytes, serve) -> None:
    url, _ = serve(raw[:-7])
    with pytest.raises(FormatError, match=f"{url}: it has {len(raw) - 7} bytes instead of {len(raw)}"):
        load_model(url)
    url, _ = serve(b"<html>nothing here")
    with pytest.raises(FormatError, match=f"{url}: ended after 18 of 18 bytes"):
        load_model(url)


def test_server_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apr_http, "FIRST_PAUSE", 0.0)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        port = server.server_port
    with pytest.raises(ModelNotFoundError, match="ConnectionRefusedError"):
        load_model(f"http://127.0.0.1:{port}/")
    with pytest.raises(ModelNotFoundError, match="not a URL"):
        load_model("http://a b/")


# ---- use before the transfer is complete ------------------------------------------------------------------------


def test_encoder_runs_before_the_decoder_has_arrived(raw: bytes, serve) -> None:
    """The server sends the decoder only after the encoder has run."""
    head, events, encoded = parse_header(raw), [], threading.Event()  # type: ignore[var-annotated]
    last = head.entries["encoder.ln_post.bias"].end
    cut = min(head.fixed.data_begin + -(-last // 65536) * 65536, len(raw))
    assert cut < head.fixed.data_begin + head.entries[DECODER].end

    def slowly(handler: Handler, answers: Answers) -> None:
        send(handler, raw, count=cut)
        handler.wfile.flush()
        events.append("encoder sent")
        assert encoded.wait(20)
        events.append("decoder sent")
        handler.wfile.write(raw[cut:])

    url, _ = serve(raw, slowly)
    model = load_model(url, on_progress=lambda done, total: events.append("all there") if done == total else None)
    mel = np.random.default_rng(0).standard_normal((ODD.n_mels, 2 * ODD.n_audio_ctx), np.float32)
    features = model.embed_audio(mel)
    events.append("encoder ran")
    encoded.set()
    logits = model.logits(np.array([[1, 2]]), features[None])
    events.append("decoder ran")
    events.remove("encoder sent")  # may be recorded only after the encoder has run
    assert events == ["encoder ran", "decoder sent", "all there", "decoder ran"]
    whole = load_model(io.BytesIO(raw))
    np.testing.assert_array_equal(logits, whole.logits(np.array([[1, 2]]), whole.embed_audio(mel)[None]))


@pytest.mark.parametrize("compress", [False, True], ids=["stored", "LZ4"])
def test_memory_use(tmp_path: Path, serve, compress: bool) -> None:
    path = tmp_path / "model.apr"
    write_apr(random_checkpoint(dimensions(512, 8, 4, n_vocab=9999, audio_ctx=100)), path, "int8", compress)
    url, _ = serve(path.read_bytes())
    code = """
import sys, tracemalloc
import whisper_apr, whisper_apr.formats.apr.http
tracemalloc.start()
model = whisper_apr.load_model(sys.argv[1])
model.decoder
print(tracemalloc.get_traced_memory()[1])
"""
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    size = parse_header(path.read_bytes()).fixed.data_length
    assert size > 30 << 20
    assert int(done.stdout) < size + (8 << 20)
