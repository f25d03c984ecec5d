"""Measurements in processes of their own."""

import subprocess
from collections.abc import Mapping, Sequence


def last_line(
    command: Sequence[str], timeout: float | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command and return its last line of output.

    Raises:
        RuntimeError: It failed or timed out; the message is the last line of its errors.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, env=environment)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"timed out after {timeout} s") from None
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return (done.stdout.strip().splitlines() or [""])[-1]
