"""Files made with the program ffmpeg, for tests that need it."""

import shutil
import subprocess
from pathlib import Path

import pytest

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is not on PATH")


def make(path: Path, options: str) -> Path:
    """Make a file with ffmpeg."""
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *options.split(), str(path)], check=True)
    return path


TONE = "-f lavfi -i sine=440:duration=3"
