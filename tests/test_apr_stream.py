"""Load a model while it arrives: pieces of any size, verification, and tensors as soon as they are complete."""

import io
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apr_files import DECODER, ENCODER, equal, parse_header, write_model
from models import ODD, random_checkpoint
from whisper_apr import load_model
from whisper_apr.errors import FormatError
from whisper_apr.formats.apr import AprStream, write_apr_v1
from whisper_apr.formats.apr import stream as apr_stream
from whisper_apr.formats.apr.http import open_stream
from whisper_apr.simd import PackedMatrix

# ---- feeding ----------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(data=st.data())
def test_pieces_of_any_size(either: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(either)), max_size=8).map(sorted))
    stream, seen = AprStream(on_progress=lambda *numbers: seen.append(numbers)), []  # type: ignore[var-annotated]
    for begin, end in zip([0, *cuts], [*cuts, len(either)], strict=True):
        stream.feed(either[begin:end])
        assert stream.position == end
    stream.finish()
    assert equal(stream.checkpoint, either)
    assert seen == sorted(seen)
    assert seen[-1] == (len(either), len(either))


def test_byte_by_byte(raw: bytes) -> None:
    stream, head = AprStream(), parse_header(raw)
    ends = {
        name: head.fixed.data_begin + min(-(-entry.end // 65536) * 65536, head.fixed.data_length)
        for name, entry in head.entries.items()
    }
    for i in range(0, len(raw), 101):
        assert [name for name in ends if stream.is_ready(name)] == [name for name in ends if ends[name] <= i]
        stream.feed(raw[i : i + 101])
    assert all(map(stream.is_ready, ends))


def test_other_threads_wait_for_tensors(raw: bytes) -> None:
    stream, got, waiting = AprStream(), [], threading.Event()  # type: ignore[var-annotated]

    def use() -> None:
        waiting.set()
        got.extend(stream.checkpoint.tensors.items())

    thread = threading.Thread(target=use)
    thread.start()
    waiting.wait()
    for i in range(0, len(raw), 10_000):
        stream.feed(raw[i : i + 10_000])
    thread.join(10)
    assert [name for name, _ in got] == list(parse_header(raw).entries)


@pytest.mark.parametrize("where", [0, 70, -1])
def test_waiting_threads_get_the_error(raw: bytes, where: int) -> None:
    stream, heard = AprStream("model"), []  # type: ignore[var-annotated]

    def use() -> None:
        try:
            stream.checkpoint.tensors[DECODER]
        except FormatError as error:
            heard.append(str(error))

    thread = threading.Thread(target=use)
    thread.start()
    damaged = bytearray(raw)
    damaged[where] ^= 1
    with pytest.raises(FormatError, match=r"^model: "):
        stream.feed(damaged)
    thread.join(10)
    assert len(heard) == 1


def test_damaged_block_can_be_fed_again(either: bytes) -> None:
    head = parse_header(either)
    begin, length = int(head.offsets[1]), int(head.lengths[1])
    damaged = bytearray(either)
    damaged[begin + length // 2] ^= 0x40
    stream = AprStream()
    with pytest.raises(FormatError, match="block 1"):
        stream.accept(damaged)
    assert stream.position == begin
    assert stream.is_ready(ENCODER)
    stream.accept(either[begin:])
    assert equal(stream.checkpoint, either)


def test_restart_with_the_same_file(either: bytes) -> None:
    stream = AprStream()
    stream.feed(either[:80_000])
    first = stream.checkpoint.tensors[ENCODER]
    stream.restart()
    assert stream.position == 0
    for i in range(0, len(either), 7000):
        stream.feed(either[i : i + 7000])
    assert equal(stream.checkpoint, either)
    again = stream.checkpoint.tensors[ENCODER]
    assert isinstance(first, PackedMatrix)
    assert isinstance(again, PackedMatrix)
    assert again.panels.ctypes.data == first.panels.ctypes.data


@pytest.mark.parametrize("size", [20, 4000, 100_000])
def test_restart_with_another_file(raw: bytes, tmp_path: Path, size: int) -> None:
    other = write_model(tmp_path / "other.apr", seed=1)
    stream = AprStream()
    stream.feed(raw[:size])
    stream.restart()
    stream.feed(other)
    assert equal(stream.checkpoint, other)


def test_restart_with_another_file_after_tensors_were_used(raw: bytes, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other.apr", seed=1)
    stream = AprStream("model")
    stream.feed(raw[:100_000])
    stream.checkpoint.tensors[ENCODER]
    stream.restart()
    with pytest.raises(FormatError, match="model: changed while it was being loaded"):
        stream.feed(other)


def test_too_short_and_too_long(raw: bytes) -> None:
    stream = AprStream("model")
    stream.feed(raw[:-1])
    with pytest.raises(FormatError, match=f"model: ended after {len(raw) - 1} of {len(raw)} bytes"):
        stream.finish()
    with pytest.raises(FormatError, match="ended after"):
        stream.checkpoint.tensors[DECODER]
    with pytest.raises(FormatError, match=f"bytes follow the end at {len(raw)}"):
        AprStream().feed(raw + b"\0")
    with pytest.raises(FormatError, match=f"has {len(raw) + 1} bytes instead of {len(raw)}"):
        AprStream(length=len(raw) + 1).feed(raw)
    with pytest.raises(FormatError, match="ended after 0 bytes"):
        AprStream().finish()


def test_other_formats(tmp_path: Path) -> None:
    write_apr_v1(random_checkpoint(ODD), tmp_path / "v1.apr")
    with pytest.raises(FormatError, match=r"only \.apr version 2"):
        AprStream().feed((tmp_path / "v1.apr").read_bytes())
    for other in (b"PK\x03\x04", b"<!doctype html>"):
        with pytest.raises(FormatError, match=r"not an \.apr file"):
            AprStream().feed(other.ljust(64))


def test_closed(raw: bytes) -> None:
    stream = AprStream("model")
    stream.feed(raw[:-1])
    stream.close()
    with pytest.raises(FormatError, match="model: closed before it was complete"):
        stream.checkpoint.tensors[DECODER]


# ---- file objects -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("background", [False, True])
def test_file_object(either: bytes, background: bool) -> None:
    assert equal(open_stream(io.BytesIO(either), background=background).checkpoint, either)


def test_without_threads_only_requested_data_is_read(raw: bytes) -> None:
    file = io.BytesIO(raw)
    tensors = open_stream(file, background=False).checkpoint.tensors
    assert file.tell() <= 2 * apr_stream.PIECE
    tensors[ENCODER]
    assert file.tell() <= 3 * apr_stream.PIECE < len(raw)
    tensors[DECODER]
    assert file.tell() == len(raw)


def test_fed_without_threads(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apr_stream, "HAS_THREADS", False)
    stream = AprStream("model")
    with pytest.raises(FormatError, match="model: the header has not arrived yet"):
        _ = stream.checkpoint
    stream.feed(raw[:100_000])
    stream.checkpoint.tensors[ENCODER]
    with pytest.raises(FormatError, match="has not arrived yet; feed more bytes first"):
        stream.checkpoint.tensors[DECODER]
    stream.feed(raw[100_000:])
    assert equal(stream.checkpoint, raw)


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize(
    ("file", "message"),
    [
        (io.StringIO("text"), "returned str instead of bytes"),
        (io.BytesIO(b"short"), "ended after 5 bytes"),
        (io.BytesIO(b"x" * 99), r"not an \.apr file"),
    ],
)
def test_not_a_model(file: io.BytesIO, message: str, background: bool) -> None:
    file.seek(0)
    with pytest.raises(FormatError, match=message):
        _ = open_stream(file, background=background).checkpoint
    file.seek(0)
    with pytest.raises(FormatError, match=message):
        load_model(file)


class Failing(io.RawIOBase):
    """A file object whose read() raises an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.name = 7  # like a file opened by descriptor

    def read(self, _: int = -1) -> bytes:
        raise self._error


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize(
    "error", [OSError("gone"), ValueError("closed"), EOFError(), type("ReadTimeout", (Exception,), {})("late")]
)
def test_file_object_raises(error: Exception, background: bool) -> None:
    with pytest.raises(FormatError, match=rf"^stream: cannot be read \({type(error).__name__}") as caught:
        open_stream(Failing(error), background=background).checkpoint  # noqa: B018
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("piece", [None, "text", 5, [1, 2]])
def test_file_object_returns_other_types(piece: object) -> None:
    class Odd:
        def read(self, _: int) -> object:
            return piece

    with pytest.raises(FormatError, match=rf"^stream: its read\(\) returned {type(piece).__name__} instead of bytes"):
        open_stream(Odd()).checkpoint  # type: ignore[arg-type]  # noqa: B018
