"""Open files for reading: memory-mapped bytes, and JSON of bounded size."""

import json
import os
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError

ZIP_MAGIC = b"PK\x03\x04"  # the beginning of a zip archive, such as `torch.save` writes
GIT_LFS = "version https://git-lfs.github.com/spec/"  # the beginning of a pointer in the place of a large file
MAX_JSON = 2 << 20  # bytes; parsed, JSON can take about twenty times its size in memory


def is_archive(path: str | PathLike[str]) -> bool:
    """Return whether a file begins like a zip archive, the format of `torch.save`."""
    with open(path, "rb") as file:
        return file.read(len(ZIP_MAGIC)) == ZIP_MAGIC


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


def read_text(path: Path, limit: int = MAX_JSON) -> str:
    """Read a text file in UTF-8, without the byte order mark that some editors put at its beginning.

    Args:
        path: The file.
        limit: Maximum size in bytes.

    Raises:
        FormatError: The file cannot be read, is larger than `limit`, or is not UTF-8.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise FormatError(
                f"{path}: too large for a model's {path.suffix[1:].upper()} file ({size} bytes, at most {limit} are "
                "read)"
            )
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not text in UTF-8 ({error})") from error


def read_json_value(path: Path, limit: int = MAX_JSON) -> Any:
    """Read a JSON value from a file, see `read_json`."""
    text = read_text(path, limit)
    if text.startswith(GIT_LFS):
        raise FormatError(f"{path}: not the file but a Git LFS pointer to it; run `git lfs pull` in its repository")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not JSON ({error})") from error


def read_json(path: Path, limit: int = MAX_JSON) -> dict[str, Any]:
    """Read a JSON object from a file.

    Args:
        path: The file, in UTF-8.
        limit: Maximum size in bytes.

    Raises:
        FormatError: The file cannot be read, is larger than `limit`, or does not hold a JSON object.
    """
    value = read_json_value(path, limit)
    if not isinstance(value, dict):
        raise FormatError(f"{path}: not a JSON object")
    return value


def read_optional_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file that may be missing or empty, see `read_json`; then it is an empty object."""
    return read_json(path) if path.exists() and read_text(path).strip() else {}
