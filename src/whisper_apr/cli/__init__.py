"""The command `whisper-apr`: the subcommands, and what a shell sees of an error.

A subcommand is a module of this package, named in COMMANDS, with

    HELP = "what it does, in a line"
    def add_arguments(parser: argparse.ArgumentParser) -> None: ...
    def run(args: argparse.Namespace) -> int: ...           # the exit status

It raises the package's errors (one line on stderr; status 2 for an OptionError or a BackendError, else 1), writes by `terminal.out`, and
imports what is slow to import inside `run`. `option` in `arguments.py` adds a flag in both spellings, `--output-dir` and `--output_dir`.
"""

import argparse
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType
from typing import Any

from ..errors import BackendError, OptionError, WhisperAprError
from .parser import Parser, Version
from .terminal import NobodyReads, fail, flush, open_streams, shown_warnings

COMMANDS = ("transcribe", "live", "convert", "inspect", "models", "download", "info", "bench", "web")

FAILED = 1
BAD_USE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
BROKEN_PIPE = 141  # 128 + SIGPIPE
STATUSES = (
    "exit status: 0, all was done; 1, something failed, such as one of the recordings; 2, an argument is wrong; "
    "130, interrupted by Ctrl-C; 141, whoever read the output has left; 143 and 129, ended by SIGTERM or SIGHUP"
)


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="whisper-apr",
        description="Speech to text with OpenAI's Whisper models, on a CPU.",
        epilog=STATUSES,
    )
    parser.add_argument("--version", action=Version)
    subparsers = parser.add_subparsers(metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f".{name}", __name__)
        sub = subparsers.add_parser(name, help=module.HELP, description=module.__doc__, epilog=STATUSES)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


class Stopped(KeyboardInterrupt):
    """A signal has asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}")
        self.status = 128 + number


@contextmanager
def _signals() -> Iterator[None]:
    """Raise `Stopped` in the main thread for the first signal that ends a process; the second one ends it at once.

    A signal that is ignored, as `nohup` makes it, stays so.
    """
    usual: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
    usual |= {getattr(signal, name): signal.SIG_DFL for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)}
    is_main = threading.current_thread() is threading.main_thread()
    ours = [number for number, handler in usual.items() if is_main and signal.getsignal(number) == handler]

    def stop(number: int, _: FrameType | None) -> None:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)
        raise Stopped(number)

    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, usual[number])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (the process's own unless given) and return its exit status (see STATUSES)."""
    open_streams()
    status = _guarded(argv)
    with suppress(OSError):  # of what was printed before an error, that nothing may be told when Python ends
        flush()
    return status


def _guarded(argv: Sequence[str] | None) -> int:
    try:
        with _signals(), shown_warnings():
            status = _run(argv)
            flush()
            return status
    except (OptionError, BackendError) as error:
        fail(error)
        return BAD_USE
    except NobodyReads:
        return BROKEN_PIPE
    except WhisperAprError as error:
        fail(error)
    except KeyboardInterrupt as error:
        fail(str(error) or "interrupted")
        return getattr(error, "status", INTERRUPTED)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else error)
    except MemoryError as error:
        fail(f"there is not enough memory{f' ({error})' if str(error) else ''}")
    return FAILED


def _run(argv: Sequence[str] | None) -> int:
    try:
        parser = make_parser()
        args = parser.parse_args(argv)
        if not hasattr(args, "run"):  # argparse would ask for one before it says that an option is mistyped
            parser.error(f"a COMMAND is missing: {', '.join(COMMANDS)}")
        return int(args.run(args))
    except SystemExit as done:  # --help, --version
        return int(done.code or 0)
    except OSError as error:
        if not isinstance(error, WhisperAprError | NobodyReads):
            flush()  # if it was a print that failed, what it printed is still in the buffer, and fails once more
        raise
