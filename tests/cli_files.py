"""Files for tests of `whisper-apr transcribe`, and a short way to call it."""

import os
from pathlib import Path

import pytest

from recordings import DATA
from whisper_apr.cli import main

EN, DE = DATA / "en.wav", DATA / "de.wav"

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX links and permissions")


def tree(folder: Path, *names: str) -> Path:
    """Create files with a byte each, and their folders."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def transcribe(*arguments: object) -> int:
    return main(["transcribe", "--model", "digits", "--beam-size", "None", *map(str, arguments)])
