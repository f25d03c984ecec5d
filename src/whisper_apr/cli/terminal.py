"""What the command writes: results to the standard output, and everything else to stderr in whole lines."""

import codecs
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from typing import Any, NoReturn, TextIO

from ..errors import AudioWarning, OutputError, WhisperAprError

_warned: set[str] = set()  # the warnings that were shown already


class Screen:
    """A place for the one line that a terminal shows while the command works, which every other line has to make room for."""

    def __init__(self) -> None:
        self.bar: Any = None  # of tqdm

    def clear(self) -> None:
        if self.bar is not None:
            with suppress(OSError):  # the terminal was closed
                self.bar.clear()

    def refresh(self) -> None:
        if self.bar is not None:
            with suppress(OSError):
                self.bar.refresh()


SCREEN = Screen()


def open_streams() -> None:
    """Prepare the standard streams: letters that the encoding lacks, and descriptors that were closed by who started the process."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # print(file=None) would write to stdout
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")  # to write to it fails, as it should
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ENCODING_ERRORS)
    _warned.clear()


def _unencodable(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode the bytes of a file name that are no text as they are, and letters that the encoding lacks as `\\u1234`."""
    with suppress(UnicodeError):
        return codecs.lookup_error("surrogateescape")(error)
    return codecs.backslashreplace_errors(error)


ENCODING_ERRORS = "whisper_apr"
codecs.register_error(ENCODING_ERRORS, _unencodable)


def discard(stream: TextIO) -> None:
    """Send what a stream still holds, and all that follows, to nowhere: it cannot be written to, and is flushed when Python ends."""
    with suppress(OSError, ValueError):  # not a file of the system's, or closed
        descriptor, null = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)


class NobodyReads(BrokenPipeError):
    """Whoever read the standard output has left."""


def flush() -> None:
    """Flush the standard output. Raises NobodyReads, or OutputError; nothing that follows is then written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _failed(error)


def _failed(error: OSError) -> NoReturn:
    discard(sys.stdout)
    if isinstance(error, BrokenPipeError):
        raise NobodyReads from error
    raise OutputError(f"the standard output cannot be written to: {error.strerror or error}") from error


def out(text: str) -> None:
    """Write text to the standard output, at once. Raises as `flush`."""
    shares_screen = sys.stdout.isatty()
    if shares_screen:
        SCREEN.clear()
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _failed(error)
    if shares_screen:
        SCREEN.refresh()


@contextmanager
def writing(path: str | PathLike[str]) -> Iterator[None]:
    """Turn the system's errors into an OutputError that names the file."""
    try:
        yield
    except OSError as error:
        if isinstance(error, WhisperAprError):
            raise
        raise OutputError(f"{os.fspath(path)} cannot be written: {error.strerror or error}") from error


def printable(text: str) -> str:
    """The text in one line, with what would move a terminal's cursor or change its colors written as escapes."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def line(text: str) -> None:
    """Write one line to stderr. Where that fails there is nobody to tell."""
    SCREEN.clear()
    try:
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        discard(sys.stderr)
    SCREEN.refresh()


def fail(message: object) -> None:
    """Write `whisper-apr: message` to stderr as one line, whatever the message holds."""
    line(f"whisper-apr: {message}")


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Write a warning as one line, without the Python source that it comes from. Takes the place of `warnings.showwarning`.

    The same text is shown once: a recording may be read several times, and its warnings name it.
    """
    text = str(message)
    if text not in _warned:
        _warned.add(text)
        fail(f"warning: {text}")


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Show warnings by `show_warning`; those about recordings always, others by Python's filters."""
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=AudioWarning)
        warnings.showwarning = show_warning
        try:
            yield
        finally:
            warnings.showwarning = before
