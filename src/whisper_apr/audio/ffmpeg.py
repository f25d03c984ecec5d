"""Recordings that only the program ffmpeg can decode."""

import os
import subprocess
from collections.abc import Iterator
from os import PathLike
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import AudioError

RATE = 16_000  # Hz, that ffmpeg is asked for


def ffmpeg_blocks(program: str, source: Any, file: IO[bytes], name: str) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Decode with the program at `program`: a path as a local file, whatever it looks like, anything else on its standard input."""
    is_path = isinstance(source, str | PathLike)
    argument = f"file:{os.path.abspath(os.fspath(source))}" if is_path else "pipe:0"
    command = [program, *([] if not is_path else ["-nostdin"]), "-v", "error", "-protocol_whitelist", "file,pipe"]
    command += ["-i", argument, "-f", "f32le", "-ac", "1", "-ar", str(RATE), "pipe:1"]
    done = subprocess.run(command, input=None if is_path else file.read(), capture_output=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise AudioError(f"{name}: ffmpeg cannot read it: {reason[-1] if reason else f'exit status {done.returncode}'}")
    yield RATE, np.frombuffer(done.stdout[: len(done.stdout) // 4 * 4], "<f4").reshape(-1, 1)
