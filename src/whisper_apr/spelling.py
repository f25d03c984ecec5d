"""Suggestions for words that were mistyped."""

import difflib
from collections.abc import Iterable

LONGEST = 100  # characters of a word that is compared; the comparison takes time in proportion to their product


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'base'?"`, to be put behind an error message, or `""` where no known word resembles `word`.

    Upper and lower case are not told apart.
    """
    spellings = {each.lower(): each for each in known}
    close = difflib.get_close_matches(word.lower()[:LONGEST], spellings, n=1)
    return f"; did you mean {spellings[close[0]]!r}?" if close else ""
