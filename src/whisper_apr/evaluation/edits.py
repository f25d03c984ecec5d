"""The errors of a text, in words, or in characters for languages that are written without spaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from ..normalizers import BasicTextNormalizer, EnglishTextNormalizer

Numbers = npt.NDArray[np.int64]

# the languages whose errors the Whisper paper counts in characters, and Cantonese
WITHOUT_SPACES = frozenset({"ja", "lo", "my", "th", "yue", "zh"})


@dataclass(frozen=True)
class EditCounts:
    """The fewest changes that turn the true text into the one that was heard, in words or in characters.

    Attributes:
        substitutions: Words that were heard as another.
        deletions: Words that were not heard.
        insertions: Words that were heard and not said.
        n_reference: Words of the true text.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    n_reference: int = 0

    @property
    def errors(self) -> int:
        """All changes: the edit distance (Levenshtein) of the texts."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Errors per word of the true text, which may exceed 1; None if it has no words."""
        return self.errors / self.n_reference if self.n_reference else None

    def __add__(self, other: "EditCounts") -> "EditCounts":
        return EditCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.n_reference + other.n_reference,
        )


def uses_characters(language: str) -> bool:
    """Return whether the errors of a language, given by its code, are counted in characters."""
    return language in WITHOUT_SPACES


@cache
def _normalizer(language: str) -> BasicTextNormalizer | EnglishTextNormalizer:
    if language == "en":
        return EnglishTextNormalizer()
    return BasicTextNormalizer(split_letters=uses_characters(language))


def words_of(text: str, language: str) -> list[str]:
    """Return the words of a text, or its characters if `uses_characters`, normalized as in the Whisper paper.

    English numbers, contractions, titles and spellings are unified by `normalizers.EnglishTextNormalizer`. Other texts
    lose case, punctuation and symbols by `normalizers.BasicTextNormalizer`.

    Args:
        text: The text.
        language: Its code.
    """
    return _normalizer(language)(text).split()


def count_edits(reference: Sequence[str], heard: Sequence[str]) -> EditCounts:
    """Count the fewest changes between two texts; among equally few, those with the fewest substitutions.

    Args:
        reference: Words of the true text.
        heard: Words that were heard.

    Returns:
        The counts. Exchanging the texts exchanges deletions and insertions.
    """
    true, found = _numbered(reference, heard)
    unit = len(true) + 1
    errors, substitutions = divmod(int(_costs(true, found, unit)[-1]), unit)
    # deletions - insertions is the difference of the lengths
    n_other, difference = errors - substitutions, len(true) - len(found)
    return EditCounts(substitutions, (n_other + difference) // 2, (n_other - difference) // 2, len(true))


def matches(reference: Sequence[str], heard: Sequence[str]) -> list[bool]:
    """Return of each word that was heard whether it is the same in the true text, by the fewest changes between them.

    Args:
        reference: Words of the true text.
        heard: Words that were heard.
    """
    true, found = _numbered(reference, heard)
    same = np.zeros(len(found), np.bool_)
    # Hirschberg's algorithm (1975): memory grows with the length of a text, not with the product of both
    unit, parts = len(true) + 1, [(0, len(true), 0, len(found))]
    while parts:
        first, last, begin, end = parts.pop()
        if last - first <= 1:
            if last > first:
                same[begin:end][np.flatnonzero(found[begin:end] == true[first])[:1]] = True
            continue
        middle = (first + last) // 2
        before = _costs(true[first:middle], found[begin:end], unit)
        after = _costs(true[middle:last][::-1], found[begin:end][::-1], unit)[::-1]
        at = begin + int(np.argmin(before + after))
        parts += [(first, middle, begin, at), (middle, last, at, end)]
    return [bool(each) for each in same]


def _numbered(*texts: Sequence[str]) -> list[Numbers]:
    """Return texts with a number for each word."""
    numbers: dict[str, int] = {}
    return [np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int64) for words in texts]


def _costs(true: Numbers, found: Numbers, unit: int) -> Numbers:
    """Return the costs of turning `true` into the first 0, 1, 2 and so on words of `found`.

    A cost is `unit` per change, and 1 more per substitution, so that the least one has the fewest substitutions of the
    fewest changes; `unit` must exceed the number of substitutions.
    """
    inserted = np.arange(len(found) + 1) * unit
    costs = inserted.copy()
    for word in true:
        replaced = costs[:-1] + np.where(found == word, 0, unit + 1)
        costs += unit  # the word is deleted
        np.minimum(costs[1:], replaced, out=costs[1:])
        # or words are inserted after it: costs[j] = min over i <= j of costs[i] + inserted[j - i]
        costs = np.minimum.accumulate(costs - inserted) + inserted
    return costs
