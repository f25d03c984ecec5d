"""Files that appear whole or not at all."""

import glob
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO

# characters of the file's name in that of the one beside it: at most 200 bytes of the 255 that there may be
NAME_LENGTH = 50
ABANDONED = 24 * 3600  # seconds since something was last written


@contextmanager
def write_atomically(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A file that is written beside `path` and takes its name at the end: whoever opens `path` never sees half of it.

    It is flushed to the disk before it gets the name. On an error, what was written is removed and `path` is left as it was. A process
    that is killed leaves its half beside; the next one that writes the same file removes it when it is a day old.
    """
    target = Path(path)
    stem = f".{target.name[:NAME_LENGTH]}"
    for old in target.parent.glob(f"{glob.escape(stem)}.*.part"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > ABANDONED:
                old.unlink()
    beside = target.with_name(f"{stem}.{os.urandom(6).hex()}.part")
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
