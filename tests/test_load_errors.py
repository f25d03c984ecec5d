"""Recordings that cannot be read: one sentence, and no other exception. And those for which ffmpeg is asked."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recordings import DATA, OTHER_CHUNKS, chunk, wav
from whisper_apr.audio import load_audio
from whisper_apr.errors import AudioError

NAN = np.array([0, np.nan, 0], "<f4").tobytes()
INFINITE = np.array([0, 0, -np.inf], "<f4").tobytes()


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "empty, not one byte", id="empty"),
        pytest.param(b"This is a text, not a recording.\n" * 40, "not a WAV, FLAC, OGG or MP3 recording", id="a text"),
        pytest.param(b"RIFF", "not a WAV", id="4 bytes"),
        pytest.param(b"RIFF\x24\0\0\0WAVEfmt ", "not a WAV", id="cut within its head"),
        pytest.param(b"RIFF\x24\0\0\0WAVE" + chunk(b"data", b""), "not a WAV", id="without a head"),
        pytest.param(wav(bytes(2000))[:-1001], "cut off; its head promises 2000 bytes of samples, 999 are", id="cut"),
        pytest.param(wav(bytes(2000))[:44], "cut off", id="cut before its samples"),
        pytest.param(wav(bytes(2000), extensible=True)[:-2], "cut off", id="extensible and cut"),
        pytest.param(wav(bytes(2000), before=OTHER_CHUNKS)[:-2], "cut off", id="with other chunks and cut"),
        pytest.param(wav(b""), "no samples", id="no samples"),
        pytest.param(wav(bytes(2000), rate=0), "recording.wav: ", id="0 Hz"),
        pytest.param(wav(bytes(2000), rate=50), "sampling rate of 50 Hz", id="50 Hz"),
        pytest.param(wav(bytes(2000), rate=2_000_000_000), "recording.wav: ", id="2 GHz"),
        pytest.param(wav(bytes(2000), channels=1000), "recording.wav: ", id="1000 channels"),
        pytest.param(wav(bytes(2000), channels=0), "recording.wav: ", id="0 channels"),
        pytest.param(wav(NAN, kind=3, bits=32), "sample 1 is not a finite number", id="NaN"),
        pytest.param(wav(INFINITE, kind=3, bits=32), "sample 2 is not a finite number", id="infinite"),
        pytest.param(wav(bytes(2000), kind=0x7777), "recording.wav: ", id="an unknown coding"),
        pytest.param(b"fLaC" + bytes(100), "not a WAV", id="a broken FLAC"),
        pytest.param(b"OggS" + bytes(100), "not a WAV", id="a broken OGG"),
        pytest.param(b"\x1aE\xdf\xa3" + bytes(100), "other kinds need the program ffmpeg", id="Matroska"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "recording.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=message) as caught:
        load_audio(path)
    assert "recording.wav" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(AudioError, match=message.replace("recording.wav: ", "the recording: ")):
        load_audio(content)


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("name", ["en_three.flac", "en.wav"])
def test_every_truncation_of_a_file_is_an_error_or_shorter(name: str) -> None:
    whole = (DATA / name).read_bytes()
    n_whole = len(load_audio(whole))
    for length in range(0, len(whole), 1 + len(whole) // 40):
        try:
            assert len(load_audio(whole[:length])) < n_whole
        except AudioError as error:
            assert "the recording" in str(error)  # noqa: PT017  # either is right


@pytest.mark.usefixtures("no_ffmpeg")
def test_damaged_bytes_raise_nothing_else() -> None:
    whole = np.frombuffer((DATA / "en_three.flac").read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = whole.copy()
        damaged[random.integers(0, 4000, 3)] = random.integers(0, 256, 3)
        try:
            assert np.isfinite(load_audio(damaged.tobytes())).all()
        except AudioError as error:
            assert "the recording" in str(error)  # noqa: PT017  # either is right


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="a folder, not a recording"):
        load_audio(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"nowhere\.wav: No such file"):
        load_audio(tmp_path / "nowhere.wav")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.zeros((0, 2), np.float32), "no samples"),
        (np.zeros((5, 0), np.float32), "0 channels"),
        (np.zeros((5, 65), np.float32), "65 channels"),
        (np.zeros((2, 2, 2)), "must be real numbers"),
        (np.zeros(()), "must be real numbers"),
        (np.zeros(5, complex), "must be real numbers"),
        (np.zeros(5, bool), "must be real numbers"),
        (np.array(["a"]), "must be real numbers"),
        (np.array([None]), "must be real numbers"),
        (np.array([0, np.nan]), "sample 1 is not a finite number"),
        (np.array([np.inf, 0]), "sample 0 is not a finite number"),
        (np.array([[0, 0], [0, np.nan]]), "sample 1 is not a finite number"),
        (np.array([1e300]), "sample 0 is not a finite number"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_arrays(array: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        load_audio(array)


@pytest.mark.parametrize("source", [None, 3, 1.5, {"path": "x"}, io.StringIO("text")])
def test_what_is_no_recording(source: Any) -> None:
    with pytest.raises(AudioError):
        load_audio(source)


def test_nan_far_into_a_recording_is_named_where_it_is() -> None:
    x = np.zeros(400_000, np.float32)
    x[333_333] = np.nan
    with pytest.raises(AudioError, match="sample 333333 "):
        load_audio(x)


# ---- ffmpeg ---------------------------------------------------------------------------------------------------------


def make_ffmpeg(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name on PATH; in the tests it need not be the real one."""
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_ffmpeg_is_asked_for_other_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.linspace(-1, 1, 100, dtype="<f4")
    (tmp_path / "samples").write_bytes(samples.tobytes())
    make_ffmpeg(tmp_path, f'echo "$@" > {tmp_path}/arguments; cat {tmp_path}/samples', monkeypatch)
    film = tmp_path / "-i film.mkv"
    film.write_bytes(b"\x1aE\xdf\xa3" + bytes(100))
    np.testing.assert_array_equal(load_audio(film), samples)
    arguments = (tmp_path / "arguments").read_text()
    assert f"-i file:{film}" in arguments  # a name that begins with a hyphen or with "http:" is a file's
    assert "-protocol_whitelist file,pipe" in arguments
    np.testing.assert_array_equal(load_audio(film.read_bytes()), samples)
    assert "-i pipe:0" in (tmp_path / "arguments").read_text()


def test_ffmpegs_complaint_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_ffmpeg(tmp_path, "echo first >&2; echo 'Invalid data found' >&2; exit 1", monkeypatch)
    with pytest.raises(AudioError, match="ffmpeg cannot read it: Invalid data found"):
        load_audio(b"\x1aE\xdf\xa3" + bytes(100))
    make_ffmpeg(tmp_path, "exit 3", monkeypatch)
    with pytest.raises(AudioError, match="exit status 3"):
        load_audio(b"\x1aE\xdf\xa3" + bytes(100))
