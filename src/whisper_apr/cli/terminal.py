"""Output of the command: results go to stdout, and all other messages to stderr, in whole lines."""

import codecs
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from typing import Any, NoReturn, TextIO

from ..errors import AudioWarning, OutputError, WhisperAprError

_shown_warnings: set[str] = set()  # texts of the warnings that this run has shown


class Screen:
    """The progress bar on the terminal's last line, which is cleared while any other line is written."""

    def __init__(self) -> None:
        self.bar: Any = None  # a tqdm object, or None

    def clear(self) -> None:
        """Remove the bar from the terminal until `refresh` is called."""
        if self.bar is not None:
            with suppress(OSError):  # the terminal was closed
                self.bar.clear()

    def refresh(self) -> None:
        """Draw the bar again."""
        if self.bar is not None:
            with suppress(OSError):
                self.bar.refresh()


SCREEN = Screen()


def prepare_streams() -> None:
    """Prepare stdout and stderr for characters that their encoding lacks, and replace them if they are closed."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # print(file=None) would write to stdout
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")  # read-only: writing must fail
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ENCODING_ERRORS)
    _shown_warnings.clear()


def _encode_anyway(error: UnicodeError) -> tuple[str | bytes, int]:
    """Handle encoding errors: undecodable bytes of a file name stay as they are, other characters become `\\u1234`."""
    with suppress(UnicodeError):
        return codecs.lookup_error("surrogateescape")(error)
    return codecs.backslashreplace_errors(error)


ENCODING_ERRORS = "whisper_apr"
codecs.register_error(ENCODING_ERRORS, _encode_anyway)


def discard(stream: TextIO) -> None:
    """Redirect a stream that cannot be written to, with its buffered output, to the null device.

    Otherwise Python would flush it at exit and print another error.
    """
    with suppress(OSError, ValueError):  # it has no file descriptor, or is closed
        descriptor, null = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)


class ReaderGone(BrokenPipeError):
    """The process that read stdout has closed the pipe."""


def flush_stdout() -> None:
    """Flush stdout.

    Raises:
        ReaderGone: The other end of the pipe is closed.
        OutputError: Stdout cannot be written to. After either error, further output is discarded.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        _stdout_failed(error)


def _stdout_failed(error: OSError) -> NoReturn:
    discard(sys.stdout)
    if isinstance(error, BrokenPipeError):
        raise ReaderGone from error
    raise OutputError(f"cannot write to the standard output: {error.strerror or error}") from error


def write_stdout(text: str) -> None:
    """Write text to stdout and flush it. Raises the errors of `flush_stdout`."""
    shares_screen = sys.stdout.isatty()
    if shares_screen:
        SCREEN.clear()
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _stdout_failed(error)
    if shares_screen:
        SCREEN.refresh()


@contextmanager
def output_errors(path: str | PathLike[str]) -> Iterator[None]:
    """Convert an OSError in the `with` block to an OutputError that names the file."""
    try:
        yield
    except OSError as error:
        if isinstance(error, WhisperAprError):
            raise
        raise OutputError(f"{os.fspath(path)} cannot be written: {error.strerror or error}") from error


def printable(text: str) -> str:
    """Return the text as one line, with control characters, such as those that move the cursor, escaped."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def print_line(text: str) -> None:
    """Write one line to stderr. Errors are ignored, as there is nowhere to report them."""
    SCREEN.clear()
    try:
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        discard(sys.stderr)
    SCREEN.refresh()


def print_message(message: object) -> None:
    """Write `whisper-apr: message` to stderr as one line; line breaks in the message become spaces."""
    print_line(f"whisper-apr: {message}")


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as one line without its place in the source; a replacement of `warnings.showwarning`.

    Each text is shown once, because a recording that is read several times causes its warnings each time.
    """
    text = str(message)
    if text not in _shown_warnings:
        _shown_warnings.add(text)
        print_message(f"warning: {text}")


@contextmanager
def warnings_as_messages() -> Iterator[None]:
    """Print warnings with `show_warning`: those about recordings always, others if Python's filters let them pass."""
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=AudioWarning)
        warnings.showwarning = show_warning
        try:
            yield
        finally:
            warnings.showwarning = before
