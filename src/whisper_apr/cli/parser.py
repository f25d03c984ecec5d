"""The command's parser: its errors are one line, and suggest what may have been meant."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from ..errors import OptionError
from ..spelling import did_you_mean
from .terminal import out


class Parser(argparse.ArgumentParser):
    """Raises OptionError where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        hint = "" if message.endswith("?") else f"; '{self.prog} --help' says what is possible"
        raise OptionError(f"{message}{hint}")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print the help by `out`; argparse ignores errors."""
        out(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse's, which 3.14 gives suggestions too, but not for every kind of choice."""
        choices = action.choices
        if choices is None or value in choices:
            return
        names = [str(choice) for choice in choices]
        meant = did_you_mean(str(value), names) or f"; choose from {', '.join(names)}"
        raise argparse.ArgumentError(action, f"{str(value)!r} is not known{meant}")

    def parse_known_args(self, *args: Any, **settings: Any) -> Any:
        """Parse; what is unknown is an error of this parser, which knows its own options, and not of the one above it."""
        found, unknown = super().parse_known_args(*args, **settings)
        for each in unknown:
            name = each.partition("=")[0]
            if name.startswith("-"):
                self.error(f"there is no option {name}{did_you_mean(name, self._option_string_actions)}")
        if unknown:
            self.error(f"{unknown[0]!r} is one argument too many")
        return found, unknown


class Version(argparse.Action):
    """`--version`: print it and exit. It is looked up only then, since that takes longer than to parse."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from .. import __version__

        out(f"whisper-apr {__version__}\n")
        parser.exit()
