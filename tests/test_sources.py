"""Sources of bytes: paths, bytes, seekable and unseekable files."""

import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recordings import DATA, wav
from whisper_apr.audio import load_audio
from whisper_apr.audio.containers import AudioFile
from whisper_apr.audio.sources import ByteSource, RandomAccessBytes, SplicedFile, source_name
from whisper_apr.errors import AudioError

PATH = DATA / "de.wav"
BYTES = PATH.read_bytes()


class Slow(io.RawIOBase):
    """A file that returns a limited number of bytes in each read."""

    def __init__(self, content: bytes, most: int, *, seekable: bool) -> None:
        self._rest, self._most, self._seekable = io.BytesIO(content), most, seekable

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._rest.seek(offset, whence) if self._seekable else super().seek(offset, whence)

    def tell(self) -> int:
        return self._rest.tell() if self._seekable else super().tell()

    def readinto(self, buffer: Any) -> int:
        return self._rest.readinto(memoryview(buffer)[: self._most])


def pipe(content: bytes) -> io.BufferedReader:
    """Return the reading end of a pipe to which a thread writes."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb") as file:
            file.write(content)

    threading.Thread(target=write, daemon=True).start()
    return open(reading, "rb")


# ---- readable sources -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["de.wav", "silence.flac"])
@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        memoryview,
        lambda content: memoryview(content).cast("b"),
        lambda content: memoryview(b"".join(bytes([byte, 0]) for byte in content))[::2],
        io.BytesIO,
        lambda content: Slow(content, 1000, seekable=True),
        lambda content: Slow(content, 1000, seekable=False),
        lambda content: io.BufferedReader(Slow(content, 7, seekable=False)),
    ],
    ids=[
        "bytes",
        "bytearray",
        "memoryview",
        "signed",
        "strided",
        "file",
        "short reads",
        "no seeking",
        "7 bytes at a time",
    ],
)
def test_every_source_of_bytes(make: Any, name: str) -> None:
    np.testing.assert_array_equal(load_audio(make((DATA / name).read_bytes())), load_audio(DATA / name))


def test_a_pipe_can_be_read_repeatedly() -> None:
    expected = load_audio(PATH)
    with pipe(BYTES) as file:
        recording = AudioFile(file)
        for _ in range(3):
            np.testing.assert_array_equal(load_audio(recording), expected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    thread = threading.Thread(target=path.write_bytes, args=(BYTES,))
    thread.start()
    recording = AudioFile(path)
    np.testing.assert_array_equal(load_audio(recording), load_audio(PATH))
    np.testing.assert_array_equal(load_audio(recording), load_audio(PATH))  # the writer has finished
    thread.join()


def test_a_file_is_read_from_its_current_position() -> None:
    file = io.BytesIO(b"a head of another kind" + BYTES)
    file.seek(22)
    recording = AudioFile(file)
    file.seek(3)  # has no effect any more
    for _ in range(2):
        np.testing.assert_array_equal(load_audio(recording), load_audio(PATH))


def test_concurrent_readings() -> None:
    recording = AudioFile(io.BytesIO(BYTES))
    for (rate, a), (_, b) in zip(recording.blocks(), recording.blocks(), strict=True):
        assert rate == 16_000
        np.testing.assert_array_equal(a, b)


def test_a_bytearray_is_copied() -> None:
    content = bytearray(BYTES)
    recording = AudioFile(content)
    content[:] = bytes(len(content))
    np.testing.assert_array_equal(load_audio(recording), load_audio(PATH))


def test_descriptors_have_separate_positions(tmp_path: Path) -> None:
    """Another process moves the position of the file that it receives."""
    for source in (PATH, BYTES, io.BytesIO(b"--" + BYTES), pipe(BYTES), Slow(BYTES, 999, seekable=True)):
        if isinstance(source, io.BytesIO):
            source.seek(2)
        opened = ByteSource(source, "it")
        with opened.descriptor() as one, opened.descriptor() as other, opened.open() as content:
            assert os.read(one.fileno(), 100) == BYTES[:100]
            assert os.read(other.fileno(), 50) == BYTES[:50]
            assert content.read(10, 20) == BYTES[10:30]
            assert os.read(one.fileno(), 100) == BYTES[100:200]
            os.lseek(one.fileno(), 0, os.SEEK_SET)
            assert os.read(other.fileno(), 50) == BYTES[50:100]
        if isinstance(source, io.BufferedReader):
            source.close()


# ---- unreadable sources ---------------------------------------------------------------------------------------------


class Broken(io.BytesIO):
    """A file whose disk fails after some bytes."""

    def read(self, n: int | None = -1) -> bytes:
        if self.tell() >= 4000:
            raise OSError(5, "Input/output error")
        return super().read(n if n and n > 0 else 4000)[:4000]


class NotReady(io.BytesIO):
    def read(self, n: int | None = -1) -> Any:
        return None


def closed() -> io.BytesIO:
    file = io.BytesIO(BYTES)
    file.close()
    return file


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (closed(), "the recording: the file is closed"),
        (io.StringIO("text"), "the recording: opened as text; open it in binary mode, 'rb'"),
        (Broken(BYTES), "the recording: cannot be read: Input/output error"),
        (NotReady(BYTES), "the recording: its read\\(\\) returns no bytes"),
        ("\0", "embedded null"),
        ("nowhere.wav", "nowhere.wav: No such file"),
        (Path(DATA), "a folder, not a recording; name the files in it"),
        (b"", "the recording: the file is empty"),
        (io.BytesIO(), "the recording: the file is empty"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_unreadable_sources(source: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message) as caught:
        load_audio(source)
    assert "\n" not in str(caught.value)


def test_a_file_opened_as_text(tmp_path: Path) -> None:
    with open(PATH, encoding="latin-1") as file, pytest.raises(AudioError, match=r"de\.wav: opened as text"):
        load_audio(file)  # type: ignore[arg-type]


def test_a_file_opened_for_writing(tmp_path: Path) -> None:
    with open(tmp_path / "x", "wb") as file:
        file.write(BYTES)
        file.seek(0)
        with pytest.raises(AudioError, match="x: not opened for reading"):
            load_audio(file)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no such device")
def test_endless_device() -> None:
    with pytest.raises(AudioError, match="/dev/zero: a device, not a recording"):
        load_audio("/dev/zero")


def test_read_error_within_libsndfile(capfd: pytest.CaptureFixture[str]) -> None:
    """It reads through a callback, from which an exception must not be lost or printed."""

    class Interrupted(io.BytesIO):
        def read(self, n: int | None = -1) -> bytes:
            if self.tell() > 100_000:
                raise KeyboardInterrupt
            return super().read(n)

    with pytest.raises(KeyboardInterrupt):
        load_audio(Interrupted((DATA / "en_long.flac").read_bytes()))
    assert capfd.readouterr() == ("", "")


# ---- names ----------------------------------------------------------------------------------------------------------


def test_names(tmp_path: Path) -> None:
    class Named(io.BytesIO):
        def __init__(self, name: Any) -> None:
            super().__init__()
            self.name = name

    assert source_name("a/b.wav") == "a/b.wav"
    assert source_name(Path("a") / "b.wav") == str(Path("a") / "b.wav")
    assert source_name(Named("<stdin>")) == source_name(Named(0)) == "standard input"
    assert source_name(Named("x.wav")) == "x.wav"
    for source in (b"", io.BytesIO(), Named(7), Named(None), Named("")):
        assert source_name(source) == "the recording"
    with pytest.raises(AudioError, match=r"^standard input: the file is empty"):
        load_audio(Named("<stdin>"))


# ---- spliced files --------------------------------------------------------------------------------------------------


def test_spliced_file() -> None:
    content = RandomAccessBytes(io.BytesIO(bytes(range(100))), "it")
    file = SplicedFile(content, [b"abc", (10, 20), (20, 25), b"", (90, 100), 1000, b"end"])
    expected = b"abc" + bytes(range(10, 25)) + bytes(range(90, 100))
    assert file.size == len(expected) + 1003
    assert file.read(1000) == expected  # reading stops at the hole
    for position in range(len(expected)):
        file.seek(position)
        assert file.read(7) == expected[position : position + 7]
        file.seek(position)
        file.read_ahead(5)
        assert file.read(7) == expected[position : position + 7]
    assert file.seek(-3, os.SEEK_END) == file.size - 3
    assert file.read(10) == b"end"
    assert file.seek(-1000, os.SEEK_CUR) == file.size - 1000
    assert file.read(5) == b""
    assert file.readable()
    assert file.seekable()


def test_random_access_at_the_end_of_the_file() -> None:
    content = RandomAccessBytes(io.BytesIO(b"--0123456789"), "it", 2)
    assert content.size == 10
    assert content.read(8, 100) == b"89"
    assert content.read(0, 3) == b"012"
    assert content.read(10, 1) == content.read(99, 1) == b""


def test_a_wav_that_becomes_shorter_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(wav(bytes(16_000 * 2 * 60)))
    blocks = AudioFile(path).blocks()
    assert len(next(blocks)[1]) == 160_000
    os.truncate(path, 44 + 16_000 * 2 * 15)
    with pytest.raises(AudioError, match=r"x\.wav: became shorter while it was read"):
        list(blocks)
