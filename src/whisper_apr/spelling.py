"""Suggest corrections for misspelled words."""

from collections.abc import Iterable

MAX_LENGTH = 100  # characters of a word that are compared; the time is proportional to the product of both lengths


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suggestion to append to an error message.

    Args:
        word: The misspelled word.
        known: The words that may have been meant; case is ignored.

    Returns:
        `"; did you mean 'base'?"`, or `""` if no known word is similar.
    """
    import difflib  # imported here, as only errors need it

    spellings = {each.lower(): each for each in known}
    close = difflib.get_close_matches(word.lower()[:MAX_LENGTH], spellings, n=1)
    return f"; did you mean {spellings[close[0]]!r}?" if close else ""
