"""Open files for reading: memory-mapped bytes, and JSON of bounded size."""

import json
import os
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError

MAX_JSON = 2 << 20  # bytes; parsed, JSON can take about twenty times its size in memory


def map_bytes(path: str | PathLike[str]) -> npt.NDArray[np.uint8]:
    """Map a file read-only, or read it where the file system does not support mapping.

    Returns:
        The file's bytes. A mapped page is read from disk when it is first accessed.

    Raises:
        FormatError: The path is not a readable file.
    """
    try:
        if not os.path.getsize(path):  # an empty file cannot be mapped
            return np.zeros(0, np.uint8)
        try:
            return np.memmap(path, np.uint8, "r")
        except (OSError, ValueError):  # some file systems, among them Emscripten's
            return np.fromfile(path, np.uint8)
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read ({error})") from error


def read_json(path: Path, limit: int = MAX_JSON) -> dict[str, Any]:
    """Read a JSON object from a file.

    Args:
        path: The file, in UTF-8.
        limit: Maximum size in bytes.

    Raises:
        FormatError: The file cannot be read, is larger than `limit`, or does not hold a JSON object.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise FormatError(f"{path}: too large for a model's JSON file ({size} bytes, at most {limit} are read)")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not JSON ({error})") from error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path}: not a JSON object")
    return value
