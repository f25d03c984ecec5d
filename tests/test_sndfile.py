"""Decoding with libsndfile: samples before an error, and messages that it prints."""

import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recordings import DATA
from whisper_apr.audio import sndfile
from whisper_apr.audio.diagnostics import DamageReport
from whisper_apr.audio.sndfile import SndfileDecoder, sound_blocks
from whisper_apr.audio.sources import DecodeError, RandomAccessBytes, SplicedFile
from whisper_apr.errors import AudioError

FLAC = (DATA / "en_long.flac").read_bytes()


def pieces(content: bytes) -> SplicedFile:
    return SplicedFile(RandomAccessBytes(io.BytesIO(content), "it"), [(0, len(content))])


def test_whole_file() -> None:
    decoder = SndfileDecoder(pieces(FLAC), "it")
    blocks = [decoder.read() for _ in range(9)]
    expected = soundfile.read(DATA / "en_long.flac", dtype="float32", always_2d=True)[0]
    np.testing.assert_array_equal(np.concatenate(blocks), expected)
    assert (decoder.rate, decoder.channels, decoder.frames) == (16_000, 1, len(expected))
    assert [len(block) for block in blocks] == [160_000] * 7 + [len(expected) - 7 * 160_000, 0]
    decoder.close()


def test_samples_before_an_error_are_returned() -> None:
    """soundfile raises an exception and discards them."""
    content = bytearray(FLAC)
    content[500_000:500_050] = bytes(50)
    decoder = SndfileDecoder(pieces(bytes(content)), "it")
    block = decoder.read(2_000_000)
    assert decoder.error_message
    expected = soundfile.read(DATA / "en_long.flac", dtype="float32", always_2d=True)[0]
    assert 650_000 < len(block) < 670_000
    np.testing.assert_array_equal(block, expected[: len(block)])
    assert not len(decoder.read())
    decoder.close()


def test_unknown_format() -> None:
    with pytest.raises(DecodeError, match="Format not recognised"):
        SndfileDecoder(pieces(b"This is a text." * 100), "it")


@pytest.mark.parametrize("rate", [1, 99])
def test_header_values_out_of_range(rate: int) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(10), rate, format="AU")
    with pytest.raises(AudioError, match=f"it: a sampling rate of {rate} Hz"):
        SndfileDecoder(pieces(file.getvalue()), "it")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(DecodeError, match="the package soundfile is missing"):
        SndfileDecoder(pieces(FLAC), "it")


def test_output_is_limited_by_the_file_size() -> None:
    """Some codecs return silence up to the length in the header."""

    class Endless(SndfileDecoder):
        def read(self, n: int | None = None) -> Any:
            return np.zeros((100_000, 1), np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sndfile, "SndfileDecoder", Endless)
        n = sum(len(block) for _, block in sound_blocks(pieces(FLAC[:9000]), "it", DamageReport("it", False)))
    assert n < 20_000_000


# ---- messages on standard error -------------------------------------------------------------------------------------


def damaged_mp3() -> bytes:
    """Return a file for which libmpg123 prints "part2_3_length too large" and "dequantization failed"."""
    file = io.BytesIO()
    soundfile.write(file, soundfile.read(DATA / "en.wav")[0], 16_000, format="MP3")
    content = bytearray(file.getvalue())
    for at in range(2000, len(content), 1000):
        content[at : at + 90] = np.random.default_rng(at).bytes(90)
    return bytes(content)


def test_libmpg123_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    decoder = SndfileDecoder(pieces(damaged_mp3()), "it", quiet=True)
    decoder.read()
    decoder.close()
    assert decoder.error_message
    assert capfd.readouterr() == ("", "")


def test_libmpg123_prints_without_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    decoder = SndfileDecoder(pieces(damaged_mp3()), "it")
    decoder.read()
    decoder.close()
    assert "libmpg123" in capfd.readouterr().err


def test_output_of_other_threads_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    """In the order in which it was written."""
    done = threading.Event()
    lines: list[str] = []

    def write() -> None:
        while not done.is_set():
            lines.append(f"line {len(lines)}")
            os.write(2, lines[-1].encode() + b"\n")

    thread = threading.Thread(target=write)
    thread.start()
    content = damaged_mp3()
    for _ in range(20):
        decoder = SndfileDecoder(pieces(content), "it", quiet=True)
        decoder.read()
        decoder.close()
    done.set()
    thread.join()
    SndfileDecoder(pieces(content), "it", quiet=True).close()  # a write that was in progress is passed on now
    assert sorted(capfd.readouterr().err.splitlines()) == sorted(lines)
    assert len(lines) > 20


def test_captured_messages_keep_one_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of damaged recordings that a process reads."""
    files = []
    make = sndfile.tempfile.TemporaryFile
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **options: files.append(make(**options)) or files[-1])
    monkeypatch.setattr(sndfile, "MAX_CAPTURE", 0)
    for _ in range(3):
        decoder = SndfileDecoder(pieces(damaged_mp3()), "it", quiet=True)
        decoder.read()
        decoder.close()
    assert len(files) > 1
    assert [file.closed for file in files[:-1]] == [True] * (len(files) - 1)


def test_without_standard_error() -> None:
    """As in a program without a console."""
    saved = os.dup(2)
    os.close(2)
    try:
        decoder = SndfileDecoder(pieces(damaged_mp3()), "it", quiet=True)
        assert len(decoder.read())
        decoder.close()
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def test_without_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    decoder = SndfileDecoder(pieces(damaged_mp3()), "it", quiet=True)
    assert len(decoder.read())
    decoder.close()
