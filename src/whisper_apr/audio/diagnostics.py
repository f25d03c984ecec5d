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


class Diagnostics:
    """What is found to be wrong with one recording: each kind of thing is told once, however often the recording is read."""

    def __init__(self, strict: bool = False) -> None:
        """With `strict`, what would be told raises AudioError instead."""
        self.strict = strict
        self._told: set[str] = set()

    def report(self, kind: str, message: str) -> None:
        """Issue an AudioWarning unless one of this kind has been issued; with `strict`, raise AudioError."""
        if self.strict:
            raise AudioError(message)
        if kind not in self._told:
            self._told.add(kind)
            warn(message)


class DamageReport:
    """What one reading of a recording finds to be wrong with its file, for one message at the end."""

    def __init__(self, name: str, strict: bool) -> None:
        """Take what the recording is called in messages; with `strict`, a fault raises AudioError at once."""
        self.name, self.strict = name, strict
        self._found: list[str] = []
        self._n_more = 0

    def add(self, fault: str) -> None:
        """Record a fault: what is wrong and where, in a clause without the recording's name. Repeated ones count once."""
        if self.strict:
            raise AudioError(f"{self.name}: {fault}")
        if fault in self._found:
            return
        if len(self._found) < 2:  # a recording that is damaged throughout makes no endless message
            self._found.append(fault)
        else:
            self._n_more += 1

    def summary(self) -> str:
        """Return one sentence about all faults, or an empty string where there are none."""
        if not self._found:
            return ""
        more = f"; and {self._n_more} more" if self._n_more else ""
        return f"{self.name}: {'; '.join(self._found)}{more}"
