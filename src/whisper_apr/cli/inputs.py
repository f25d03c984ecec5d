"""Which recordings the arguments mean, and what can be said against them before a model is opened."""

import glob
import io
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import OptionError

STDIN = "-"
STANDARD_INPUT = "standard input"
Problem = tuple[str, str]  # what cannot be read, and why
# What a folder is searched for. A file that is named is read whatever its name ends in.
SUFFIXES = frozenset(
    [
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".au",
        ".w64",
        ".m4a",
        ".mp4",
        ".aac",
        ".wma",
        ".webm",
        ".mkv",
        ".mov",
        ".mka",
        ".avi",
    ]
)


@dataclass(frozen=True)
class Input:
    """One recording."""

    path: str
    inside: str  # its name; of one that was found in a folder, the path from that folder on

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return STANDARD_INPUT if self.path == STDIN else self.path

    def source(self) -> Any:
        """Return what `transcribe` takes."""
        return _StandardInput.opened() if self.path == STDIN else self.path


class _StandardInput(io.BufferedReader):
    """The standard input under the name that messages give it."""

    name = STANDARD_INPUT
    _opened: "io.BufferedIOBase | None" = None

    @classmethod
    def opened(cls) -> Any:
        raw = getattr(sys.stdin.buffer, "raw", None)
        if raw is None:  # a stand-in for the standard input
            return sys.stdin.buffer
        if cls._opened is None:  # kept: the descriptor would be closed with it
            cls._opened = cls(raw)
        return cls._opened


def check_stdin() -> None:
    """Raise OptionError where no recording can come from the standard input."""
    if sys.stdin is None:
        raise OptionError(f"{STDIN}: the {STANDARD_INPUT} is closed")
    if sys.stdin.isatty():
        raise OptionError(
            f"{STDIN}: the {STANDARD_INPUT} is a terminal; pipe a recording in, or redirect it from a file"
        )


def find_inputs(arguments: Sequence[str], recursive: bool = True) -> tuple[list[Input], list[Problem]]:
    """Return the recordings that are meant, each once and in order, and the folders that could not be read, each with the reason.

    A file is taken as it is named, also one that is missing. A folder gives the recordings in it (those that end in one of SUFFIXES),
    with `recursive` also those in its folders; hidden files and folders are passed over, and each folder is read once, whichever links
    lead to it. A pattern that is no file's name gives the files that match it.

    Raises OptionError for a folder without recordings, a pattern that matches nothing, and a standard input that gives none.
    """
    found: list[Input] = []
    problems: list[Problem] = []
    for argument in arguments:
        if argument == STDIN:
            check_stdin()
            found.append(Input(STDIN, "stdin"))
        elif os.path.isdir(argument):
            n_problem = len(problems)
            paths = [path for folder in _folders(argument, recursive, problems) for path in folder.recordings]
            if not paths and len(problems) == n_problem:
                raise OptionError(f"{argument}: no recordings in this folder{'' if recursive else ' itself'}")
            found += [Input(path, os.path.relpath(path, argument)) for path in paths]
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            matches = sorted(path for path in _matches(argument, problems) if os.path.isfile(path))
            if not matches:
                raise OptionError(f"{argument}: no file matches this pattern")
            found += [Input(path, os.path.relpath(path, _fixed_part(argument))) for path in matches]
        else:
            found.append(Input(argument, os.path.basename(argument)))
    seen: dict[str, Input] = {}
    for each in found:
        seen.setdefault(each.path if each.path == STDIN else os.path.abspath(each.path), each)
    return list(seen.values()), problems


def problem_with(item: Input) -> str | None:
    """Return why a recording cannot be read, as far as that can be told without opening it; None where nothing speaks against it."""
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
    attributes = getattr(entry.stat(follow_symlinks=False), "st_file_attributes", 0)  # Windows has them
    return bool(attributes & stat.FILE_ATTRIBUTE_HIDDEN)


def _folders(top: str, recursive: bool, problems: list[Problem]) -> Iterator[_Folder]:
    """The folder and, with `recursive`, all below it, each once: a link may lead back to where it came from."""
    seen: set[tuple[int, int]] = set()
    todo = [top]
    while todo:
        path = todo.pop()
        recordings: list[str] = []
        inner: list[tuple[bool, str]] = []
        try:
            about = os.stat(path)
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    with suppress(OSError):  # links that lead to each other
                        if _is_hidden(entry):
                            continue
                        if entry.is_dir():
                            inner.append((entry.is_symlink(), entry.path))
                        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():
                            recordings.append(entry.path)
        except OSError as error:
            problems.append((path, error.strerror or str(error)))
        yield _Folder(path, sorted(recordings))
        if recursive:  # links last: what can be reached without one is found under that name
            todo += [each for _, each in sorted(inner, reverse=True)]


def _fixed_part(pattern: str) -> str:
    """The folder that all matches of a pattern lie in."""
    folder = os.path.dirname(pattern)
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    return folder or os.curdir


def _matches(pattern: str, problems: list[Problem]) -> Iterator[str]:
    """As `glob.glob(pattern, recursive=True)`, which however follows links in circles."""
    parts = pattern.replace(os.altsep, os.sep).split(os.sep) if os.altsep else pattern.split(os.sep)
    if "**" not in parts:
        yield from glob.glob(pattern)
        return
    at = parts.index("**")
    rest = parts[at + 1 :] or ["*"]
    for top in glob.glob(os.sep.join(parts[:at]) + os.sep) if at else [os.curdir]:
        for folder in _folders(top, True, problems):
            yield from _matches(os.path.join(glob.escape(folder.path), *rest), problems)
