"""Warnings about a recording, attributed to the code that called the package."""

import sys
import warnings

from ..errors import AudioError, AudioWarning

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


class Notices:
    """What is found to be wrong with one recording: each kind of thing is told once, however often the recording is read."""

    def __init__(self, strict: bool = False) -> None:
        """With `strict`, what would be told raises AudioError instead."""
        self.strict = strict
        self._told: set[str] = set()

    def tell(self, kind: str, message: str) -> None:
        """Issue an AudioWarning unless one of this kind has been issued; with `strict`, raise AudioError."""
        if self.strict:
            raise AudioError(message)
        if kind not in self._told:
            self._told.add(kind)
            warn(message)
