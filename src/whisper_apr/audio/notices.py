"""Warnings about a recording, attributed to the code that called the package."""

import sys
import warnings

from ..errors import AudioWarning

_PACKAGE = __name__.partition(".")[0]


def warn(message: str) -> None:
    """Issue an AudioWarning whose location is the nearest caller outside this package."""
    level = 2
    while True:
        try:
            module = sys._getframe(level - 1).f_globals.get("__name__", "")
        except ValueError:  # no caller is outside: the package runs as a program
            break
        if module != _PACKAGE and not module.startswith(_PACKAGE + "."):
            break
        level += 1
    warnings.warn(message, AudioWarning, stacklevel=level)
