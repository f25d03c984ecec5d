"""Recordings that cannot be read raise AudioError with one sentence."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recordings import DATA, chunk, wav
from whisper_apr.audio import load_audio
from whisper_apr.errors import AudioError, AudioWarning


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"This is a text, not a recording.\n" * 40, "not a WAV, FLAC, OGG or MP3 recording", id="a text"),
        pytest.param(b"RIFF", "not a WAV", id="4 bytes"),
        pytest.param(b"RIFF\x24\0\0\0WAVEfmt ", "not a WAV", id="cut within its head"),
        pytest.param(b"RIFF\x24\0\0\0WAVE" + chunk(b"data", b""), "no samples", id="without a head"),
        pytest.param(b"RIFF\x24\0\0\0WAVE" + chunk(b"data", bytes(9)), "not a WAV", id="samples without a head"),
        pytest.param(wav(bytes(2000))[:44], "cut off: its header states 2000 bytes of samples, but 0 are", id="cut"),
        pytest.param(wav(b""), "no samples", id="no samples"),
        pytest.param(wav(bytes(2000), rate=0), "recording.wav: ", id="0 Hz"),
        pytest.param(wav(bytes(2000), rate=50), "sampling rate of 50 Hz", id="50 Hz"),
        pytest.param(wav(bytes(2000), rate=2_000_000_000), "recording.wav: ", id="2 GHz"),
        pytest.param(wav(bytes(2000), channels=1000), "recording.wav: ", id="1000 channels"),
        pytest.param(wav(bytes(2000), channels=0), "recording.wav: ", id="0 channels"),
        pytest.param(wav(bytes(2000), kind=0x7777), "recording.wav: ", id="an unknown coding"),
        pytest.param(b"fLaC" + bytes(100), "not a WAV", id="a broken FLAC"),
        pytest.param(b"OggS" + bytes(100), "not a WAV", id="a broken OGG"),
        pytest.param(b"\x1aE\xdf\xa3" + bytes(100), "other formats need the program ffmpeg", id="Matroska"),
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
def test_truncated_files_are_an_error_or_shorter(name: str) -> None:
    whole = (DATA / name).read_bytes()
    n_whole = len(load_audio(whole))
    for length in range(0, len(whole), 1 + len(whole) // 40):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AudioWarning)
            try:
                assert len(load_audio(whole[:length])) < n_whole
            except AudioError as error:
                assert "the recording" in str(error)  # noqa: PT017  # either is right


@pytest.mark.usefixtures("no_ffmpeg")
def test_damaged_bytes_raise_only_audio_errors() -> None:
    whole = np.frombuffer((DATA / "en_three.flac").read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = whole.copy()
        damaged[random.integers(0, 4000, 3)] = random.integers(0, 256, 3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AudioWarning)
            try:
                assert np.isfinite(load_audio(damaged.tobytes())).all()
            except AudioError as error:
                assert "the recording" in str(error)  # noqa: PT017  # either is right


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"^[^:]+: a folder, not a recording"):
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
def test_other_objects(source: Any) -> None:
    with pytest.raises(AudioError):
        load_audio(source)


def test_nan_is_located() -> None:
    x = np.zeros(400_000, np.float32)
    x[333_333] = np.nan
    with pytest.raises(AudioError, match="sample 333333 "):
        load_audio(x)
