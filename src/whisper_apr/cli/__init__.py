"""The command `whisper-apr`: a parser, the subcommands, and what a shell sees of an error.

A subcommand is a module of this package, named in COMMANDS, with

    HELP = "what it does, in a line"
    def add_arguments(parser: argparse.ArgumentParser) -> None: ...
    def run(args: argparse.Namespace) -> int: ...           # the exit status

It raises the package's errors (one line on stderr; status 2 for an OptionError or a BackendError, else 1) and imports what is slow
to import inside `run`. `option` in `arguments.py` adds a flag in both spellings, `--output-dir` and `--output_dir`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from ..errors import BackendError, OptionError, WhisperAprError

COMMANDS = ("transcribe", "live", "convert", "inspect", "models", "download", "info", "bench", "web")

BAD_USE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
BROKEN_PIPE = 141  # 128 + SIGPIPE


class _Parser(argparse.ArgumentParser):
    """Its errors are one line, as all the others are."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}; '{self.prog} --help' says what is possible")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="whisper-apr", description="Speech to text with OpenAI's Whisper models, on a CPU.")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = import_module(f".{name}", __name__)
        sub = subparsers.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def fail(message: object) -> None:
    """One line on stderr, whatever the message holds."""
    print(f"whisper-apr: {' '.join(str(message).split())}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (the process's own unless given) and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a letter that the terminal's encoding lacks is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        args = _parser().parse_args(argv)
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except (OptionError, BackendError) as error:
        fail(error)
        return BAD_USE
    except WhisperAprError as error:
        fail(error)
        return 1
    except KeyboardInterrupt:
        fail("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has left; nothing more is to be written, at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
