"""The command-line interface: `main` runs the command `whisper-apr`, `make_parser` builds its argument parser.

Each subcommand is a module of this package that is listed in COMMANDS. Its docstring is the description in `--help`,
and it defines

    HELP = "one line for the list of subcommands"
    def add_arguments(parser: argparse.ArgumentParser) -> None: ...
    def run(args: argparse.Namespace) -> int: ...           # returns the exit status

`run` raises the package's errors, which `main` prints as one line on stderr: status 2 for OptionError and BackendError,
otherwise 1. It writes to stdout with `terminal.write_stdout`, and imports slow modules itself to keep `--help` fast.
Flags are added with `arguments.option`, which accepts both `--output-dir` and `--output_dir`.
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
from .terminal import ReaderGone, flush_stdout, prepare_streams, print_message, warnings_as_messages

COMMANDS = (
    "transcribe",
    "align",
    "live",
    "corpus",
    "convert",
    "inspect",
    "models",
    "download",
    "info",
    "bench",
    "eval",
    "web",
    "serve",
)

FAILED = 1
BAD_USE = 2
INTERRUPTED = 130  # 128 + SIGINT, the shells' convention
BROKEN_PIPE = 141  # 128 + SIGPIPE
STATUSES = (
    "exit status: 0, success; 1, something failed, such as one of the recordings; 2, an argument is wrong; "
    "130, interrupted by Ctrl-C; 141, the reader of the output is gone; 143 and 129, ended by SIGTERM or SIGHUP"
)


def make_parser() -> argparse.ArgumentParser:
    """Return the argument parser of the command, with all subcommands.

    Its `parse_args` raises OptionError for arguments that are wrong, and its namespace has the subcommand's function as
    `run`. The command's reference in the documentation is made from it.
    """
    parser = Parser(
        prog="whisper-apr",
        description="Transcribe speech with OpenAI's Whisper models on a CPU.",
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


class Terminated(KeyboardInterrupt):
    """A signal that ends the process was received; `status` is the exit status."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}")
        self.status = 128 + number


@contextmanager
def _handle_signals() -> Iterator[None]:
    """Raise `Terminated` in the main thread for the first SIGINT, SIGTERM or SIGHUP; a second one ends the process.

    A signal that is ignored, for example because of `nohup`, stays ignored.
    """
    defaults: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
    defaults |= {getattr(signal, name): signal.SIG_DFL for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)}
    is_main = threading.current_thread() is threading.main_thread()
    handled = [number for number, handler in defaults.items() if is_main and signal.getsignal(number) == handler]

    def stop(number: int, _: FrameType | None) -> None:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)
        raise Terminated(number)

    for number in handled:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, defaults[number])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and print any error as one line on stderr.

    Args:
        argv: The arguments without the program's name. None is `sys.argv[1:]`.

    Returns:
        The exit status; STATUSES says what each one means.
    """
    prepare_streams()
    status = _run_reporting_errors(argv)
    with suppress(OSError):  # output that precedes an error: Python would print a message if it failed at exit
        flush_stdout()
    return status


def _run_reporting_errors(argv: Sequence[str] | None) -> int:
    try:
        with _handle_signals(), warnings_as_messages():
            status = _run(argv)
            flush_stdout()
            return status
    except (OptionError, BackendError) as error:
        print_message(error)
        return BAD_USE
    except ReaderGone:
        return BROKEN_PIPE
    except WhisperAprError as error:
        print_message(error)
    except KeyboardInterrupt as error:
        print_message(str(error) or "interrupted")
        return getattr(error, "status", INTERRUPTED)
    except OSError as error:
        print_message(f"{error.filename}: {error.strerror}" if error.filename else error)
    except MemoryError as error:
        print_message(f"out of memory{f' ({error})' if str(error) else ''}")
    return FAILED


def _run(argv: Sequence[str] | None) -> int:
    try:
        parser = make_parser()
        args = parser.parse_args(argv)
        if not hasattr(args, "run"):  # a required subcommand would hide that an option is misspelled
            parser.error(f"no COMMAND is given; choose from {', '.join(COMMANDS)}")
        return int(args.run(args))
    except SystemExit as done:  # --help, --version
        return int(done.code or 0)
    except OSError as error:
        if not isinstance(error, WhisperAprError | ReaderGone):
            flush_stdout()  # if it was a print that failed, the flush fails again, with the right error
        raise
