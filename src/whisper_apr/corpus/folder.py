"""The folder of a corpus's results: its settings, the lock of a run, and the report."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..atomic import check_folder, write_atomically
from ..errors import OptionError, OutputError
from .shards import shard_paths

SETTINGS = "settings.json"
MAX_SETTINGS = 1 << 20  # bytes

Part = tuple[int, int]  # number, from 0, and count


def report_name(part: Part) -> str:
    """Return the name of the report of a part."""
    return "report.json" if part[1] == 1 else f"report-{part[0] + 1}-of-{part[1]}.json"


@contextmanager
def opened_folder(folder: str, settings: dict[str, Any], part: Part) -> Iterator[Path]:
    """Create a folder if it is missing, and let no other run write the same part of the corpus to it meanwhile.

    Args:
        folder: Its path.
        settings: What the records depend on, as JSON has it. They are stored, and must be those of earlier records.
        part: The part that is written.

    Raises:
        OptionError: The folder has records with other settings, or another run writes to it.
        OutputError: It cannot be written to.
    """
    top = Path(folder)
    try:
        top.mkdir(parents=True, exist_ok=True)
        check_folder(top)
        with open(top / f".part-{part[0] + 1}-of-{part[1]}.lock", "wb") as lock:
            _lock(lock.fileno(), folder)
            _check_settings(top / SETTINGS, settings)
            yield top
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{folder} cannot be written to: {error.strerror or error}") from error


def _lock(file: int, folder: str) -> None:
    """Lock a file until it is closed, as the end of the process does, too. Systems without flock have no lock."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock
    except ImportError:  # Windows
        return
    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError as error:
        raise OptionError(f"{folder}: another run writes to this folder; wait until it ends, or see --part") from error


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    wanted = json.loads(json.dumps(settings))
    if not shard_paths(path.parent):  # an earlier run wrote nothing: its model's name was misspelled, for example
        write_json(path, wanted)
        return
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(MAX_SETTINGS))
        if not isinstance(found, dict):
            raise ValueError("it must be an object")
    except FileNotFoundError:
        write_json(path, wanted)
        return
    except (ValueError, RecursionError) as error:
        raise OutputError(f"{path} is damaged ({error}); choose another folder") from error
    if different := sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)):
        key = different[0]
        raise OptionError(
            f"{path.parent} has results with other settings: {key} is {found.get(key)!r} there, and now "
            f"{wanted.get(key)!r}; choose another folder"
        )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object to a file, atomically. Raises OSError."""
    with write_atomically(os.fspath(path)) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
