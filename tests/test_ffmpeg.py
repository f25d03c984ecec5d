"""Decoding with ffmpeg: formats, tracks, damaged files and odd file names.

tests/test_ffmpeg_process.py has the tests of the process, tests/test_ffmpeg_references.py those of files that name
other files.
"""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whisper_apr
from ffmpeg_files import TONE, make, needs_ffmpeg
from whisper_apr.audio import SAMPLE_RATE, load_audio
from whisper_apr.audio.containers import AudioFile
from whisper_apr.errors import AudioError, AudioWarning

pytestmark = [pytest.mark.system, needs_ffmpeg]

KINDS = {
    "m4a": "-c:a aac",
    "mp4": "-c:a aac",
    "mov": "-c:a alac",
    "mkv": "-c:a flac",
    "webm": "-c:a opus -strict -2",
    "flv": "-c:a aac",
    "ts": "-c:a mp2",
    "mpg": "-c:a mp2",
    "avi": "-c:a mp2",
    "wma": "-c:a wmav2",
    "aac": "-c:a aac",
    "ac3": "-c:a ac3",
    "tta": "-c:a tta",
    "wv": "-c:a wavpack",
    "nut": "-c:a pcm_s16le",
}


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that makes three seconds of a tone in a format."""
    folder = tmp_path_factory.mktemp("tones")

    def file(kind: str) -> Path:
        path = folder / f"tone.{kind}"
        return path if path.exists() else make(path, f"{TONE} {KINDS[kind]}")

    return file


@pytest.mark.parametrize("kind", KINDS)
def test_every_format(kind: str, tone: Any) -> None:
    """From a path, bytes and a file, with the index at the end or not."""
    path = tone(kind)
    ((rate, _),) = {(rate, block.shape[1]) for rate, block in AudioFile(path).blocks()}
    assert rate == (48_000 if kind == "webm" else 44_100)  # the recording's own rate
    samples = load_audio(path)
    assert len(samples) == pytest.approx(3 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)
    t = np.arange(5000, 40_000)
    level = abs(np.exp(-2j * np.pi * 440 / SAMPLE_RATE * t) @ samples[5000:40_000]) / 17_500
    assert level == pytest.approx(0.125, rel=0.02)  # of lavfi's tone
    content = path.read_bytes()
    np.testing.assert_array_equal(load_audio(content), samples)
    np.testing.assert_array_equal(load_audio(io.BytesIO(content)), samples)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(load_audio(file), samples)


def test_standard_input(tone: Any) -> None:
    """A pipe, with the index at the end of the file."""
    path = tone("m4a")
    code = "import sys; from whisper_apr import load_audio; print(len(load_audio(sys.stdin.buffer)))"
    environment = {**os.environ, "PYTHONPATH": str(Path(whisper_apr.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], input=path.read_bytes(), capture_output=True, env=environment, check=True
    )
    assert int(done.stdout) == len(load_audio(path))


def test_channels_are_mixed_as_in_other_formats(tmp_path: Path) -> None:
    """ffmpeg's own downmix makes two equal channels 1.41 times as loud."""
    path = make(tmp_path / "x.mkv", f"{TONE} -ac 2 -c:a pcm_s16le")
    wave_file = make(tmp_path / "x.wav", f"{TONE} -ac 2 -c:a pcm_s16le")
    np.testing.assert_array_equal(load_audio(path), load_audio(wave_file))
    np.testing.assert_array_equal(load_audio(path, channel="each"), load_audio(wave_file, channel="each"))


@pytest.mark.parametrize("kind", ["mp4", "mkv", "mov"])
def test_a_track_that_begins_later_keeps_its_time(kind: str, tmp_path: Path) -> None:
    film = "-f lavfi -i testsrc=duration=6:size=32x32:rate=5 -itsoffset 2 -f lavfi -i sine=440:duration=3"
    samples = load_audio(
        make(
            tmp_path / f"x.{kind}",
            f"{film} -c:v mpeg4 -c:a pcm_s16le" if kind != "mp4" else f"{film} -c:v mpeg4 -c:a aac",
        )
    )
    loud = np.flatnonzero(np.abs(samples) > 0.05)
    assert loud[0] / SAMPLE_RATE == pytest.approx(2, abs=0.03)
    assert loud[-1] / SAMPLE_RATE == pytest.approx(5, abs=0.03)


def test_tracks(tmp_path: Path) -> None:
    path = make(
        tmp_path / "x.mp4", "-f lavfi -i sine=440:duration=3 -f lavfi -i sine=880:duration=2 -map 0 -map 1 -c:a aac"
    )
    for track, seconds, hertz in ((None, 3, 440), (0, 3, 440), (1, 2, 880)):
        samples = load_audio(path, track=track)
        assert len(samples) / SAMPLE_RATE == pytest.approx(seconds, abs=0.05)
        assert np.argmax(np.abs(np.fft.rfft(samples[:16_000]))) == hertz
    with pytest.raises(AudioError, match=r"x\.mp4: no audio track 2; there are 2, counted from 0"):
        load_audio(path, track=2)


def test_video_without_audio(tmp_path: Path) -> None:
    path = make(tmp_path / "x.mp4", "-f lavfi -i testsrc=duration=1:size=32x32:rate=5 -c:v mpeg4")
    for track in (None, 0):
        with pytest.raises(AudioError, match=r"x\.mp4: no audio track in it"):
            load_audio(path, track=track)


@pytest.mark.parametrize("kind", ["mkv", "mp4", "mov"])
def test_truncated_file(kind: str, tone: Any, tmp_path: Path) -> None:
    path = make(tmp_path / f"x.{kind}", f"-i {tone(kind)} -c copy" + (" -movflags faststart" if kind != "mkv" else ""))
    content = path.read_bytes()
    cut = content[: len(content) * 6 // 10]
    with pytest.warns(AudioWarning, match="damaged; ffmpeg says: ") as told:
        samples = load_audio(cut)
    assert len(told) == 1
    assert 0.5 * SAMPLE_RATE < len(samples) < 2.5 * SAMPLE_RATE
    with pytest.raises(AudioError, match="damaged; ffmpeg says: "):
        load_audio(cut, strict=True)


def test_missing_index(tone: Any) -> None:
    content = tone("m4a").read_bytes()
    with pytest.raises(AudioError, match="the recording: ffmpeg cannot decode it: moov atom not found"):
        load_audio(content[: len(content) // 2])


@pytest.mark.parametrize("name", ["-i.mkv", "http:x.mkv", "concat:a|b.mkv", "%d.mkv", "pipe:0", "x'y\"z.mkv"])
def test_file_names_that_look_like_options_or_protocols(
    name: str, tone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(tone("mkv"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(load_audio(name), load_audio(tone("mkv")))


def test_silence_is_limited_by_the_file_size(tmp_path: Path) -> None:
    """A packet's timestamp is days later."""
    path = make(tmp_path / "x.mkv", f"{TONE} -c:a pcm_s16le -af asetpts=PTS+gt(T\\,1)*50000/TB")
    with pytest.warns(AudioWarning, match=r"its timestamps jump by \d+\.\d\d s at 1\.\d\d s"):
        assert len(load_audio(path)) == pytest.approx(3 * SAMPLE_RATE, abs=1000)
