"""Recordings written by other programs give the same samples as ffmpeg decodes from them."""

import io
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from whisper_apr.audio import SAMPLE_RATE, load_audio
from whisper_apr.errors import AudioError, AudioWarning

KINDS = {".wav", ".flac", ".mp3", ".m4a"}
CUT = {"az_katie.wav"}  # its header states 98 times the number of its samples


def decoded(path: Path) -> np.ndarray:
    """Return the samples that ffmpeg decodes, with the arguments that openai-whisper passes."""
    command = [
        "ffmpeg",
        "-nostdin",
        "-v",
        "error",
        "-i",
        str(path),
        *("-f", "f32le", "-ac", "1", "-ar", "16000"),
        "pipe:1",
    ]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, "<f4")


def test_every_recording_equals_ffmpegs(recordings: Path) -> None:
    paths = sorted(path for path in recordings.rglob("*") if path.suffix in KINDS)
    assert len(paths) >= 30
    for path in paths:
        with warnings.catch_warnings():
            if path.name in CUT:
                warnings.simplefilter("ignore", AudioWarning)
            samples = load_audio(path)
        expected = decoded(path)
        assert len(samples) / SAMPLE_RATE == pytest.approx(len(expected) / SAMPLE_RATE, abs=0.05), path.name
        n = min(len(samples), len(expected))
        # ffmpeg makes two equal channels 1.41 times as loud; the correlation does not depend on loudness
        assert np.corrcoef(samples[:n], expected[:n])[0, 1] > 0.99, path.name


def test_stated_length_98_times_too_large(recordings: Path) -> None:
    with pytest.warns(
        AudioWarning, match=r"az_katie\.wav: cut off: its header states 57704952 bytes of samples"
    ) as told:
        samples = load_audio(recordings / "az_katie.wav")
    assert len(told) == 1
    assert len(samples) / SAMPLE_RATE == pytest.approx(18.34, abs=0.01)
    with pytest.raises(AudioError, match="cut off"):
        load_audio(recordings / "az_katie.wav", strict=True)


def test_index_at_the_end_of_the_file(recordings: Path) -> None:
    path = recordings / "wk_ted_60.m4a"
    expected = load_audio(path)
    assert len(expected) / SAMPLE_RATE == pytest.approx(60, abs=0.05)
    content = path.read_bytes()
    np.testing.assert_array_equal(load_audio(content), expected)
    np.testing.assert_array_equal(load_audio(io.BytesIO(content)), expected)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(load_audio(file), expected)
    code = "import sys, whisper_apr as w; sys.stdout.buffer.write(w.load_audio(sys.stdin.buffer).tobytes())"
    done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, check=True)
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.float32), expected)


@pytest.mark.parametrize("name", ["jfk.flac", "wt_apollo11.mp3", "az_aboutSpeechSdk.wav"])
def test_truncated_recording(recordings: Path, name: str) -> None:
    """A truncated file gives the beginning of the recording."""
    whole = load_audio(recordings / name)
    content = (recordings / name).read_bytes()
    with pytest.warns(AudioWarning, match="cut off") as told:
        samples = load_audio(content[: len(content) * 6 // 10])
    assert len(told) == 1
    assert 0.3 * len(whole) < len(samples) < 0.75 * len(whole)
    # the last samples before the cut are resampled as if silence followed
    np.testing.assert_allclose(samples[:-500], whole[: len(samples) - 500], rtol=0, atol=1e-6)
