"""Supervision of the ffmpeg process: its command line, messages, stalls and end, with a script in place of ffmpeg."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whisper_apr
from matroska_files import matroska
from recordings import DATA, speech, wav
from whisper_apr.audio import SAMPLE_RATE, ffmpeg, load_audio
from whisper_apr.audio.containers import AudioFile
from whisper_apr.errors import AudioError, AudioWarning

pytestmark = pytest.mark.system

UNKNOWN = b"\x1aE\xdf\xa3" + bytes(100)  # not readable by any other decoder


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that puts a shell script called ffmpeg on PATH, with the commands that stand for decoding."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make_program(script: str, protocols: str = "fd") -> Path:
        program = folder / "ffmpeg"
        program.write_text(
            f'#!/bin/sh\ncase "$*" in *-protocols*) echo "Input: {protocols} Output: file"; exit;; esac\n'
            f'echo "$@" >> {folder}/arguments\n{script}\n'
        )
        program.chmod(0o755)
        ffmpeg._input_options.cache_clear()
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return folder

    yield make_program
    ffmpeg._input_options.cache_clear()


SOUND = np.linspace(-1, 1, 1000, dtype="<f4").reshape(-1, 1)


def test_command_line(stand_in: Any, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(matroska([(0.0, SOUND)], SAMPLE_RATE, 1))
    folder = stand_in(f"cat {tmp_path}/out")
    film = tmp_path / "-i film.mkv"
    film.write_bytes(UNKNOWN)
    np.testing.assert_array_equal(load_audio(film), SOUND[:, 0])
    np.testing.assert_array_equal(load_audio(UNKNOWN, track=3), SOUND[:, 0])
    one, other = (folder / "arguments").read_text().splitlines()
    for arguments in (one, other):
        assert "film" not in arguments  # the file name is not passed on
        assert "-protocol_whitelist fd -i fd:" in arguments
        assert f"-format_whitelist {ffmpeg.DEMUXERS} " in arguments
        assert "-ac" not in arguments.split()
        assert "-ar" not in arguments.split()
    assert "-map 0:a:3" in other


@pytest.mark.parametrize(
    ("protocols", "options"),
    [
        ("cache fd file pipe", "-protocol_whitelist fd -i fd:"),
        ("cache file pipe", "-protocol_whitelist cache,pipe -read_ahead_limit -1 -i cache:pipe:0"),
        ("file pipe", "-protocol_whitelist pipe -i pipe:0"),
    ],
)
def test_input_protocol_by_version(protocols: str, options: str, stand_in: Any, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(matroska([(0.0, SOUND)], SAMPLE_RATE, 1))
    folder = stand_in(f"cat {tmp_path}/out", protocols)
    load_audio(UNKNOWN)
    assert options in (folder / "arguments").read_text()


def test_error_message_of_ffmpeg(stand_in: Any) -> None:
    stand_in("echo '[mov,mp4 @ 0x55d0] moov atom not found' >&2; echo 'pipe:0: Invalid data' >&2; exit 1")
    with pytest.raises(AudioError, match=r"^the recording: ffmpeg cannot decode it: moov atom not found$"):
        load_audio(UNKNOWN)
    stand_in("exit 3")
    with pytest.raises(AudioError, match="exit status 3"):
        load_audio(UNKNOWN)
    stand_in("exit 0")
    with pytest.raises(AudioError, match="there is no audio in it"):
        load_audio(UNKNOWN)


def test_error_message_with_audio_is_a_warning(stand_in: Any, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(matroska([(0.0, SOUND)], SAMPLE_RATE, 1))
    stand_in(f"echo 'partial file' >&2; echo another >&2; cat {tmp_path}/out")
    with pytest.warns(AudioWarning, match=r"^the recording: damaged; ffmpeg says: partial file, and 1 more$"):
        np.testing.assert_array_equal(load_audio(UNKNOWN), SOUND[:, 0])
    stand_in(f"cat {tmp_path}/out; exit 69")
    with pytest.warns(AudioWarning, match="exit status 69"):
        load_audio(UNKNOWN)


def test_messages_of_video_decoders_are_ignored(stand_in: Any, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(matroska([(0.0, SOUND)], SAMPLE_RATE, 1))
    stand_in(f"echo '[h264 @ 0x55d0] non-existing PPS 0 referenced' >&2; cat {tmp_path}/out")
    np.testing.assert_array_equal(load_audio(UNKNOWN), SOUND[:, 0])


def test_number_of_kept_messages_is_limited(stand_in: Any, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(matroska([(0.0, SOUND)], SAMPLE_RATE, 1))
    stand_in(f"yes 'complaint that is rather long' | head -n 100000 >&2; cat {tmp_path}/out")
    with pytest.warns(AudioWarning, match="and 19 more"):
        load_audio(UNKNOWN)


def test_ffmpeg_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_bytes(b"\x7fELF" + bytes(100))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match=r"the recording: cannot run the program .*ffmpeg"):
        load_audio(UNKNOWN)


def test_ffmpeg_that_hangs(stand_in: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ffmpeg, "STALL_SECONDS", 1)
    stand_in("exec sleep 600")
    begin = time.monotonic()
    with pytest.raises(AudioError, match="no progress within 1 s"):
        load_audio(UNKNOWN)
    assert time.monotonic() - begin < 30
    (tmp_path / "out").write_bytes(matroska([(0.0, SOUND)], SAMPLE_RATE, 1))
    stand_in(f"cat {tmp_path}/out; exec sleep 600")
    with pytest.warns(AudioWarning, match="no progress within 1 s"):
        np.testing.assert_array_equal(load_audio(UNKNOWN), SOUND[:, 0])


def test_a_slow_consumer_is_not_a_stall(stand_in: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ffmpeg, "STALL_SECONDS", 1)
    (tmp_path / "out").write_bytes(matroska([(i, np.ones((SAMPLE_RATE, 1), "<f4")) for i in range(60)], SAMPLE_RATE, 1))
    stand_in(f"cat {tmp_path}/out")
    blocks = AudioFile(UNKNOWN).blocks()
    n = len(next(blocks)[1])
    time.sleep(2.5)
    assert n + sum(len(block) for _, block in blocks) == 60 * SAMPLE_RATE


def endless(tmp_path: Path) -> str:
    """Return a script that writes its process number and then endless audio."""
    (tmp_path / "out").write_bytes(matroska([(0.0, np.ones((SAMPLE_RATE, 1), "<f4"))], SAMPLE_RATE, 1))
    return f"echo $$ > {tmp_path}/pid; while cat {tmp_path}/out; do :; done"


def ended(pid: int, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with_state = Path(f"/proc/{pid}/stat")
        if with_state.exists() and with_state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_output_is_not_buffered(stand_in: Any, tmp_path: Path) -> None:
    stand_in(endless(tmp_path))
    blocks = AudioFile(UNKNOWN).blocks()
    next(blocks)
    tracemalloc.start()
    n = 0
    for _ in range(100):  # 1000 s of audio: 64 MB
        n += len(next(blocks)[1])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    blocks.close()
    assert n == 100 * 10 * SAMPLE_RATE
    assert peak < 8e6


def test_ffmpeg_ends_when_reading_ends(stand_in: Any, tmp_path: Path) -> None:
    stand_in(endless(tmp_path))
    for stop in ("close", "delete"):
        blocks = AudioFile(UNKNOWN).blocks()
        next(blocks)
        pid = int((tmp_path / "pid").read_text())
        if stop == "close":
            blocks.close()
        else:
            del blocks
        assert ended(pid), stop


def test_ffmpeg_ends_when_this_process_is_killed(stand_in: Any, tmp_path: Path) -> None:
    """Its output pipe is closed."""
    stand_in(endless(tmp_path))
    code = f"""
import sys, time
from whisper_apr.audio.containers import AudioFile
blocks = AudioFile({UNKNOWN!r}).blocks()
next(blocks)
print("ready", flush=True)
time.sleep(600)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(whisper_apr.__file__).parent.parent)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        pid = int((tmp_path / "pid").read_text())
        child.send_signal(signal.SIGKILL)
    assert ended(pid)


def test_gaps_are_filled_and_backward_jumps_lose_nothing(stand_in: Any, tmp_path: Path) -> None:
    one, two = np.full((SAMPLE_RATE, 2), 0.1, "<f4"), np.full((SAMPLE_RATE, 2), 0.2, "<f4")

    def read(*times: float) -> Any:
        blocks = [(seconds, (one, two)[i % 2]) for i, seconds in enumerate(times)]
        (tmp_path / "out").write_bytes(matroska(blocks, SAMPLE_RATE, 2))
        stand_in(f"cat {tmp_path}/out")
        return np.concatenate([block[:, 0] for _, block in AudioFile(UNKNOWN).blocks()])

    second = SAMPLE_RATE
    parts = [one[:, 0], two[:, 0]]
    np.testing.assert_array_equal(read(0, 1), np.concatenate(parts))
    np.testing.assert_array_equal(read(0.05, 1.1), np.concatenate(parts))  # codec delay
    silence = np.zeros(2 * second, np.float32)
    np.testing.assert_array_equal(read(2, 3), np.concatenate([silence, *parts]))
    np.testing.assert_array_equal(read(0, 3), np.concatenate([parts[0], silence, parts[1]]))
    np.testing.assert_array_equal(read(0, 1.2, 2.1), np.concatenate([*parts, parts[0]]))  # clock drift
    np.testing.assert_array_equal(
        read(5, 0, 1, 4), np.concatenate([np.zeros(5 * second), *parts, parts[0], silence, parts[1]])
    )


def test_nan_samples(stand_in: Any, tmp_path: Path) -> None:
    bad = SOUND.copy()
    bad[7] = np.nan
    (tmp_path / "out").write_bytes(matroska([(0.0, bad)], SAMPLE_RATE, 1))
    stand_in(f"cat {tmp_path}/out")
    with pytest.warns(AudioWarning, match="1 sample from 0.00 s on is not a number"):
        assert np.isfinite(load_audio(UNKNOWN)).all()


def test_ffmpeg_is_not_used_for_other_formats(stand_in: Any) -> None:
    folder = stand_in("exit 1")
    load_audio(DATA / "en.wav")
    load_audio(DATA / "silence.flac")
    load_audio(wav((speech("en") * 2**15).astype("<i2").tobytes()))
    assert not (folder / "arguments").exists()
