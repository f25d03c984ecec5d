"""Find the recordings that the arguments name: files, folders, patterns and stdin. No model is needed for it."""

import glob
import io
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..audio.suffixes import SUFFIXES
from ..errors import OptionError

STDIN = "-"
STDIN_LABEL = "standard input"
Problem = tuple[str, str]  # a path that cannot be read, and the reason


@dataclass(frozen=True)
class Input:
    """One recording: its path, or "-" for stdin, and its path relative to the folder in which it was found."""

    path: str
    relative_path: str

    @property
    def label(self) -> str:
        """The recording's name in messages."""
        return STDIN_LABEL if self.path == STDIN else self.path

    def source(self) -> Any:
        """Return the recording in a form that `transcribe` accepts."""
        return _StandardInput.opened() if self.path == STDIN else self.path


class _StandardInput(io.BufferedReader):
    """Stdin as a binary stream, with the name that messages use."""

    name = STDIN_LABEL
    _opened: "io.BufferedIOBase | None" = None

    @classmethod
    def opened(cls) -> Any:
        """Return the stream."""
        raw = getattr(sys.stdin.buffer, "raw", None)
        if raw is None:  # sys.stdin was replaced, for example by a test
            return sys.stdin.buffer
        if cls._opened is None:  # kept, because deleting it would close the file descriptor
            cls._opened = cls(raw)
        return cls._opened


def check_stdin() -> None:
    """Raise OptionError if stdin is closed or a terminal."""
    if sys.stdin is None:
        raise OptionError(f"{STDIN}: the {STDIN_LABEL} is closed; pipe a recording in, or redirect it from a file")
    if sys.stdin.isatty():
        raise OptionError(f"{STDIN}: the {STDIN_LABEL} is a terminal; pipe a recording in, or redirect it from a file")


def find_inputs(
    arguments: Sequence[str], recursive: bool = True, *, allow_empty: bool = False
) -> tuple[list[Input], list[Problem]]:
    """Find the recordings that the arguments name.

    A file is taken as it is, even if it does not exist. A folder stands for the files in it whose suffix is one of
    SUFFIXES; hidden files and folders are skipped, and each folder is read once even if several links lead to it. A
    pattern stands for the files that match it, unless it is the name of a file.

    Args:
        arguments: Paths of files and folders, patterns, and "-" for stdin.
        recursive: Whether to search the subfolders of folders too.
        allow_empty: Whether folders may have no recordings.

    Returns:
        The recordings, each once and in order, and the folders that could not be read, with the reasons.

    Raises:
        OptionError: A folder has no recordings, a pattern matches nothing, or stdin is closed or a terminal.
    """
    found: list[Input] = []
    problems: list[Problem] = []
    for argument in arguments:
        if argument == STDIN:
            check_stdin()
            found.append(Input(STDIN, "stdin"))
        elif os.path.isdir(argument):
            n_problem = len(problems)
            paths = [path for folder in _walk(argument, recursive, problems) for path in folder.recordings]
            if not paths and len(problems) == n_problem and not allow_empty:
                where = "this folder" if recursive else "this folder itself; leave out --no-recursive"
                raise OptionError(f"{argument}: there are no recordings in {where}")
            found += [Input(path, os.path.relpath(path, argument)) for path in paths]
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            matches = sorted(path for path in _matches(argument, problems) if os.path.isfile(path))
            if not matches:
                raise OptionError(f"{argument}: no file matches this pattern")
            found += [Input(path, os.path.relpath(path, _folder_of_pattern(argument))) for path in matches]
        else:
            found.append(Input(argument, os.path.basename(argument)))
    seen: dict[str, Input] = {}
    for each in found:
        seen.setdefault(each.path if each.path == STDIN else os.path.abspath(each.path), each)
    return list(seen.values()), problems


def reason_unreadable(item: Input) -> str | None:
    """Return why a recording cannot be read, or None if nothing is wrong. The file is not opened."""
    if item.path == STDIN:
        return None
    try:
        about = os.stat(item.path)
    except OSError as error:
        return error.strerror or str(error)
    if not os.access(item.path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        return "Permission denied"
    if stat.S_ISREG(about.st_mode) and not about.st_size:
        return "the file is empty"
    return None


# ---- folders --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Folder:
    path: str
    recordings: list[str]


def _is_hidden(entry: "os.DirEntry[str]") -> bool:
    if entry.name.startswith("."):
        return True
    attributes = getattr(entry.stat(follow_symlinks=False), "st_file_attributes", 0)  # exists on Windows only
    return bool(attributes & stat.FILE_ATTRIBUTE_HIDDEN)


def _walk(top: str, recursive: bool, problems: list[Problem]) -> Iterator[_Folder]:
    """Yield a folder and, with `recursive`, its subfolders. Each folder is visited once, as links may form cycles."""
    seen: set[tuple[int, int]] = set()
    pending = [top]
    while pending:
        path = pending.pop()
        recordings: list[str] = []
        subfolders: list[tuple[bool, str]] = []  # whether it is a link, and its path
        try:
            about = os.stat(path)
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    with suppress(OSError):  # a link that leads back to itself
                        if _is_hidden(entry):
                            continue
                        if entry.is_dir():
                            subfolders.append((entry.is_symlink(), entry.path))
                        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():
                            recordings.append(entry.path)
        except OSError as error:
            problems.append((path, error.strerror or str(error)))
        yield _Folder(path, sorted(recordings))
        if recursive:  # links last, so that a folder is found under its own path if there is one
            pending += [each for _, each in sorted(subfolders, reverse=True)]


def _folder_of_pattern(pattern: str) -> str:
    """Return the folder above the first part of a pattern that has wildcards."""
    folder = os.path.dirname(pattern)
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    return folder or os.curdir


def _matches(pattern: str, problems: list[Problem]) -> Iterator[str]:
    """Yield the paths that `glob.glob(pattern, recursive=True)` finds, but without following cycles of links."""
    parts = pattern.replace(os.altsep, os.sep).split(os.sep) if os.altsep else pattern.split(os.sep)
    if "**" not in parts:
        yield from glob.glob(pattern)
        return
    at = parts.index("**")
    rest = parts[at + 1 :] or ["*"]
    for top in glob.glob(os.sep.join(parts[:at]) + os.sep) if at else [os.curdir]:
        for folder in _walk(top, True, problems):
            yield from _matches(os.path.join(glob.escape(folder.path), *rest), problems)
