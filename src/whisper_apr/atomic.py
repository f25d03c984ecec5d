"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO


@contextmanager
def write_atomically(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A file that is written beside `path` and takes its name at the end: whoever opens `path` never sees half of it.

    It is flushed to the disk before it gets the name. On an error, what was written is removed and `path` is left as it was.
    """
    target = Path(path)
    beside = target.with_name(f".{target.name[:50]}.{os.urandom(6).hex()}.part")
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
