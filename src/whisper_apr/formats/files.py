"""Files as bytes: mapped for reading, and written so that they appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import FormatError


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


@contextmanager
def write_atomically(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A file that is written beside `path` and takes its name at the end: whoever opens `path` never sees half of it.

    It is flushed to the disk before it gets the name. On an error, what was written is removed and `path` is left as it was.
    """
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.urandom(6).hex()}.part")
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException:
        with suppress(FileNotFoundError):
            beside.unlink()
        raise
