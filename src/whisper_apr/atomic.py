"""Files that are written whole or not at all."""

import errno
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO

# characters of the file's name in that of the temporary one: with its ending at most 200 bytes of UTF-8, of the 255 that file systems allow
NAME_LENGTH = 50
ABANDONED = 24 * 3600  # seconds since a temporary file was last written to, after which its writer is taken for dead

_TEMPORARY = re.compile(r"(\..+)\.[0-9a-f]{12}\.part")
_REFUSED = {stat.S_IFDIR: (errno.EISDIR, "a folder"), stat.S_IFSOCK: (errno.ENXIO, "a socket")}

# The abandoned files of each folder that this process has written to, by the beginning of their names. A folder is listed once: listing
# it for each file would take longer and longer while it fills.
_abandoned: dict[Path, dict[str, list[Path]]] = {}


@contextmanager
def write_atomically(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name when the block ends, complete and flushed to the disk.

    The data goes to a temporary file in the same folder, which is then renamed. If the block raises, KeyboardInterrupt included, the
    temporary file is removed and `path` stays as it was. A process that is killed leaves its temporary file behind; the next writer of
    the same file removes it when it is a day old.

    A file that is replaced keeps its permissions, and its owner where the process may set it; a new one gets those that the umask
    leaves. A symbolic link stays: the file that it leads to is written. A device or a FIFO is never replaced: the data is held back in
    a temporary file and written to it when the block ends.

    Raises OSError, whose strerror says what is wrong: a missing or unwritable folder, a file that is read-only, a folder or a socket in
    the file's place, a full disk.
    """
    target, there = _resolve(os.fspath(path))
    if there is not None and not stat.S_ISREG(there.st_mode):
        with tempfile.TemporaryFile() as held:
            yield held
            held.seek(0)
            with open(target, "wb", opener=_open_existing) as stream:
                shutil.copyfileobj(held, stream)
        return
    stem = f".{target.name[:NAME_LENGTH]}"
    _remove_abandoned(target.parent, stem)
    beside = target.with_name(f"{stem}.{os.urandom(6).hex()}.part")
    try:
        with _create(beside, there) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def check_target(path: str | PathLike[str]) -> None:
    """Raise the OSError that `write_atomically` would raise for what is at this path now; do nothing if there is none."""
    _resolve(os.fspath(path))


def check_writable(path: str | PathLike[str]) -> None:
    """Raise the OSError that `write_atomically` would raise for this path before it writes anything; do nothing if there is none."""
    target, there = _resolve(os.fspath(path))
    if there is None or stat.S_ISREG(there.st_mode):
        check_folder(target.parent)


def check_folder(folder: str | PathLike[str]) -> None:
    """Raise the OSError that a new file in this folder would meet: none such, a file in its place, not permitted, read-only, full."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _about_folder(error, os.fspath(folder)) from error


def _about_folder(error: OSError, folder: str) -> OSError:
    """The same error, saying that it is the folder's."""
    if error.errno == errno.ENOENT:
        reason = f"there is no folder {folder!r}"
    elif error.errno == errno.ENOTDIR:
        reason = f"{folder!r} is no folder"
    else:
        reason = f"the folder {folder!r} cannot be written to ({error.strerror})"
    return OSError(error.errno, reason, folder)


def _resolve(name: str) -> tuple[Path, os.stat_result | None]:
    """The path behind symbolic links, and what is there now; None for nothing. Raises OSError for what cannot be written to."""
    if not os.path.basename(name):
        raise OSError(errno.EISDIR, "it names no file", name)
    try:
        there = os.stat(name)
    except FileNotFoundError:  # or a link to what is not there yet
        return Path(os.path.realpath(name)), None
    refused = _REFUSED.get(stat.S_IFMT(there.st_mode))
    if refused is not None:
        raise OSError(refused[0], f"it is {refused[1]}", name)
    if not os.access(name, os.W_OK, effective_ids=os.access in os.supports_effective_ids):  # a rename would not mind
        raise OSError(errno.EACCES, "it is there already, and read-only", name)
    # a link such as /dev/stdout is resolved by the system, and its target need not have a path
    return Path(os.path.realpath(name) if stat.S_ISREG(there.st_mode) else name), there


def _open_existing(path: str, flags: int) -> int:
    return os.open(path, flags & ~(os.O_CREAT | os.O_TRUNC))


def _create(path: Path, like: os.stat_result | None) -> BinaryIO:
    """A new file, open for writing, with the permissions and the owner of `like`."""
    mode = 0o666 if like is None else 0o600  # private until it is as `like`: nobody reads it in between
    try:
        file = open(path, "xb", opener=lambda place, flags: os.open(place, flags, mode))  # noqa: SIM115
    except OSError as error:
        raise _about_folder(error, os.fspath(path.parent)) from error
    if like is not None:
        with suppress(OSError, AttributeError):  # not the superuser; Windows
            os.chown(file.fileno(), like.st_uid, like.st_gid)
        with suppress(OSError):  # a file system without permissions
            os.chmod(file.fileno() if os.chmod in os.supports_fd else path, like.st_mode & 0o777)
    return file


def _remove_abandoned(folder: Path, stem: str) -> None:
    if folder not in _abandoned:
        found = _abandoned[folder] = {}
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                name = _TEMPORARY.fullmatch(entry.name)
                if name and time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED:
                    found.setdefault(name[1], []).append(Path(entry.path))
    for old in _abandoned[folder].pop(stem, ()):
        with suppress(OSError):
            old.unlink()
