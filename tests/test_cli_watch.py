"""`whisper-apr transcribe --watch`: recordings that appear while it runs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli_files import DE, EN, transcribe
from whisper_apr.cli import watch as watching

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform == "win32", reason="interrupts a process by a signal"),
]

WAIT = 120.0  # seconds, for a busy machine


@pytest.fixture
def started(tmp_path):
    """The command, watching a folder `in` that has one recording."""
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(EN, folder)
    os.utime(folder / "en.wav", (1, 1))  # complete since long ago
    command = [sys.executable, "-m", "whisper_apr", "transcribe", folder, "--watch", "-o", tmp_path / "out"]
    command += ["-f", "txt", "--model", "digits", "--beam-size", "None", "--language", "en"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process, folder, tmp_path / "out"
    process.kill()
    process.wait()


def wait_for(process: subprocess.Popen[str], path: Path) -> str:
    end = time.monotonic() + WAIT
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, path
        time.sleep(0.05)
    return path.read_text("utf-8")


def test_recordings_that_appear_are_transcribed(started):
    process, folder, out = started
    assert "three one four" in wait_for(process, out / "en.txt")
    (folder / "sub").mkdir()
    content = DE.read_bytes()
    with open(folder / "sub" / "slow.wav", "wb") as file:  # written in two parts
        file.write(content[: len(content) // 2])
        file.flush()
        time.sleep(watching.SETTLED / 2)
        file.write(content[len(content) // 2 :])
    (folder / "damaged.wav").write_bytes(b"RIFF")
    whole = wait_for(process, out / "sub" / "slow.txt")
    shutil.copy(DE, folder / "sub" / "whole.wav")
    assert wait_for(process, out / "sub" / "whole.txt") == whole
    process.send_signal(signal.SIGINT)
    printed, messages = process.communicate(timeout=WAIT)
    assert process.returncode == 130
    assert sorted(Path(line).name for line in printed.splitlines()) == ["en.txt", "slow.txt", "whole.txt"]
    assert "3 done, 1 failed" in messages
    assert messages.count("damaged.wav") == 1  # it is tried once


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["."], "--watch needs --output-dir"),
        ([".", "-o", "out", "--overwrite"], "leave out --overwrite"),
        ([EN, "-o", "out"], "en.wav: --watch needs folders"),
    ],
)
def test_wrong_arguments(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert transcribe(*arguments, "--watch") == 2
    assert message in capsys.readouterr().err


def test_the_package_watchfiles_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert transcribe(tmp_path, "--watch", "-o", tmp_path / "out") == 2
    assert "pip install whisper-apr[watch]" in capsys.readouterr().err
