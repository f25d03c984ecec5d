"""The command's argument parser: wrong arguments raise OptionError with one line that suggests a correction."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from ..errors import OptionError
from ..spelling import did_you_mean
from .terminal import write_stdout


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises OptionError where argparse prints its usage and exits."""

    def error(self, message: str) -> NoReturn:
        """Raise OptionError, with a pointer to `--help` unless the message ends with a suggestion."""
        hint = "" if message.endswith("?") else f"; see '{self.prog} --help'"
        raise OptionError(f"{message}{hint}")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print the help with `write_stdout`, because argparse ignores errors."""
        write_stdout(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is not among the choices; argparse itself suggests corrections since Python 3.14 only."""
        choices = action.choices
        if choices is None or value in choices:
            return
        names = [str(choice) for choice in choices]
        hint = did_you_mean(str(value), names) or f"; choose from {', '.join(names)}"
        raise argparse.ArgumentError(action, f"unknown value {str(value)!r}{hint}")

    def parse_known_args(self, *args: Any, **settings: Any) -> Any:
        """Parse the arguments, and raise OptionError for unknown ones.

        A subcommand's parser does this itself, so that it can suggest one of its own options.
        """
        found, unknown = super().parse_known_args(*args, **settings)
        for each in unknown:
            name = each.partition("=")[0]
            if name.startswith("-"):
                self.error(f"unknown option {name}{did_you_mean(name, self._option_string_actions)}")
        if unknown:
            self.error(f"unexpected argument {unknown[0]!r}")
        return found, unknown


class Version(argparse.Action):
    """The flag `--version`, which prints the version and exits. The version is looked up only then, as that is slow."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from .. import __version__

        write_stdout(f"whisper-apr {__version__}\n")
        parser.exit()
