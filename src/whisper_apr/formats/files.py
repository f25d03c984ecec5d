"""Files for reading: as bytes that are mapped, and as JSON of bounded size."""

import json
import os
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError

MAX_JSON = 2 << 20  # bytes; parsed, JSON takes up to some twenty times as much


def map_bytes(path: str | PathLike[str]) -> npt.NDArray[np.uint8]:
    """A file's bytes, mapped read-only: nothing is read before it is touched. Where files cannot be mapped, they are read.

    Raises FormatError for what is no file that can be read.
    """
    try:
        if not os.path.getsize(path):  # nothing cannot be mapped
            return np.zeros(0, np.uint8)
        try:
            return np.memmap(path, np.uint8, "r")
        except (OSError, ValueError):  # some file systems, and the browser's
            return np.fromfile(path, np.uint8)
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read ({error})") from error


def read_json(path: Path, limit: int = MAX_JSON) -> dict[str, Any]:
    """A JSON object from a file of bounded size. Raises FormatError."""
    try:
        if path.stat().st_size > limit:
            raise FormatError(f"{path}: larger than {limit >> 20} MiB; not a model's description")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not JSON ({error})") from error
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path}: not a JSON object")
    return value
