"""Problems found in a recording: AudioWarnings attributed to the caller's code, or AudioErrors with `strict`."""

import sys
import warnings

from ..errors import AudioError, AudioWarning

_PACKAGE = __name__.partition(".")[0]
_MAX_LISTED = 2  # problems listed in a summary; the others are counted


def warn(message: str) -> None:
    """Issue an AudioWarning located at the nearest caller outside this package."""
    level = 2
    while True:
        try:
            module = sys._getframe(level - 1).f_globals.get("__name__", "")
        except ValueError:  # every caller is inside: the package runs as a program
            break
        if module != _PACKAGE and not module.startswith(_PACKAGE + "."):
            break
        level += 1
    warnings.warn(message, AudioWarning, stacklevel=level)


class Diagnostics:
    """Problems of one recording, each kind reported once, however often the recording is read."""

    def __init__(self, strict: bool = False) -> None:
        """Create an empty set of reported kinds; with `strict`, `report` raises instead of warning."""
        self.strict = strict
        self._reported: set[str] = set()

    def report(self, kind: str, message: str) -> None:
        """Issue an AudioWarning, unless one of this kind was issued before.

        Raises:
            AudioError: With `strict`, in place of the warning.
        """
        if self.strict:
            raise AudioError(message)
        if kind not in self._reported:
            self._reported.add(kind)
            warn(message)


class DamageReport:
    """Damage found while a file is decoded once, summarized in one message at the end."""

    def __init__(self, name: str, strict: bool) -> None:
        """Create an empty report for the recording called `name`; with `strict`, the first `add` raises."""
        self.name, self.strict = name, strict
        self._problems: list[str] = []
        self._n_more = 0

    def add(self, problem: str) -> None:
        """Record a problem, ignoring exact repetitions.

        Args:
            problem: A clause saying what is wrong and where, without the recording's name.

        Raises:
            AudioError: With `strict`.
        """
        if self.strict:
            raise AudioError(f"{self.name}: {problem}")
        if problem in self._problems:
            return
        if len(self._problems) < _MAX_LISTED:  # keeps the message short for a file damaged throughout
            self._problems.append(problem)
        else:
            self._n_more += 1

    def summary(self) -> str:
        """Return one sentence about all problems, or an empty string if there are none."""
        if not self._problems:
            return ""
        more = f"; and {self._n_more} more" if self._n_more else ""
        return f"{self.name}: {'; '.join(self._problems)}{more}"
