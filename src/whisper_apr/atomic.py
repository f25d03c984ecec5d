"""Write files atomically: a reader sees the previous content or the complete new one."""

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

# Characters of the file's name in the temporary file's. With its suffix that is at most 219 bytes of UTF-8; file
# systems allow 255.
NAME_LENGTH = 50
ABANDONED = 24 * 3600  # seconds since the last write to a temporary file, after which it is considered abandoned

_TEMPORARY = re.compile(r"(\..+)\.[0-9a-f]{12}\.part")
_REFUSED = {stat.S_IFDIR: (errno.EISDIR, "a folder"), stat.S_IFSOCK: (errno.ENXIO, "a socket")}

# The abandoned files in each folder that this process has written to, by the stem of their names. A folder is listed
# only once, because listing it again for each file would take quadratic time.
_abandoned: dict[Path, dict[str, list[Path]]] = {}


@contextmanager
def write_atomically(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name, complete and flushed to disk, when the `with` block ends.

    The data is written to a temporary file in the same folder, which is then renamed. If the block raises, even
    KeyboardInterrupt, the temporary file is removed and `path` is unchanged. A killed process leaves its temporary file
    behind; the next writer of the same file removes it when it is a day old.

    A replaced file keeps its permissions, and its owner if the process may set it; a new file's permissions follow the
    umask. A symbolic link is kept, and its target is written. A device or a FIFO is never replaced: the data is
    buffered in a temporary file and written to it when the block ends.

    Args:
        path: The file to write.

    Yields:
        The file, open for writing in binary mode.

    Raises:
        OSError: The folder is missing or not writable, the file is read-only, a folder or a socket is in its place,
            or the disk is full; `strerror` says which.
    """
    target, existing = _resolve(os.fspath(path))
    if existing is not None and not stat.S_ISREG(existing.st_mode):
        with tempfile.TemporaryFile() as buffer:
            yield buffer
            buffer.seek(0)
            with open(target, "wb", opener=_open_existing) as stream:
                shutil.copyfileobj(buffer, stream)
        return
    stem = f".{target.name[:NAME_LENGTH]}"
    _remove_abandoned(target.parent, stem)
    temporary = target.with_name(f"{stem}.{os.urandom(6).hex()}.part")
    try:
        with _create(temporary, existing) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def check_target(path: str | PathLike[str]) -> None:
    """Raise the OSError that `write_atomically` would raise because of what exists at the path."""
    _resolve(os.fspath(path))


def check_writable(path: str | PathLike[str]) -> None:
    """Raise the OSError that `write_atomically` would raise for this path before it writes anything."""
    target, existing = _resolve(os.fspath(path))
    if existing is None or stat.S_ISREG(existing.st_mode):
        check_folder(target.parent)


def check_folder(folder: str | PathLike[str]) -> None:
    """Raise OSError if no file can be created in a folder: it is missing, not a folder, not writable, or full."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _folder_error(error, os.fspath(folder)) from error


def _folder_error(error: OSError, folder: str) -> OSError:
    """Return the error with a message that names the folder as the cause."""
    if error.errno == errno.ENOENT:
        reason = f"there is no folder {folder!r}"
    elif error.errno == errno.ENOTDIR:
        reason = f"{folder!r} is not a folder"
    else:
        reason = f"the folder {folder!r} cannot be written to ({error.strerror})"
    return OSError(error.errno, reason, folder)


def _resolve(name: str) -> tuple[Path, os.stat_result | None]:
    """Resolve symbolic links.

    Returns:
        The target, and its status; None if it does not exist.

    Raises:
        OSError: The target cannot be written to.
    """
    if not os.path.basename(name):
        raise OSError(errno.EISDIR, "it is not the name of a file", name)
    try:
        existing = os.stat(name)
    except FileNotFoundError:  # a link may lead to a file that does not exist yet
        return Path(os.path.realpath(name)), None
    refused = _REFUSED.get(stat.S_IFMT(existing.st_mode))
    if refused is not None:
        raise OSError(refused[0], f"it is {refused[1]}", name)
    if not os.access(name, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        # checked here, because renaming over a read-only file would succeed
        raise OSError(errno.EACCES, "it exists and is read-only", name)
    # the target of a link such as /dev/stdout may not have a path, so only the system can resolve it
    return Path(os.path.realpath(name) if stat.S_ISREG(existing.st_mode) else name), existing


def _open_existing(path: str, flags: int) -> int:
    """Open a device or a FIFO, without creating or truncating anything."""
    return os.open(path, flags & ~(os.O_CREAT | os.O_TRUNC))


def _create(path: Path, like: os.stat_result | None) -> BinaryIO:
    """Create a file and open it for writing, with the permissions and the owner of `like`."""
    mode = 0o666 if like is None else 0o600  # private until it has the permissions of `like`
    try:
        file = open(path, "xb", opener=lambda place, flags: os.open(place, flags, mode))  # noqa: SIM115
    except OSError as error:
        raise _folder_error(error, os.fspath(path.parent)) from error
    if like is not None:
        with suppress(OSError, AttributeError):  # needs a privileged user; missing on Windows
            os.chown(file.fileno(), like.st_uid, like.st_gid)
        with suppress(OSError):  # some file systems have no permissions
            os.chmod(file.fileno() if os.chmod in os.supports_fd else path, like.st_mode & 0o777)
    return file


def _remove_abandoned(folder: Path, stem: str) -> None:
    """Remove the temporary files that killed writers of a file left behind."""
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
