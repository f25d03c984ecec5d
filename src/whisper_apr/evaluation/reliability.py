"""How far the probability of a word tells whether it is right: reliability tables and expected calibration error."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import exp, isfinite

import numpy as np
import numpy.typing as npt

from ..inference.results import Segment, Word
from .edits import matches, words_of

EXPONENTS = np.geomspace(0.05, 5, 200)  # among which `fit_exponent` chooses
N_BIN = 10  # of equal width, as in Guo et al., "On Calibration of Modern Neural Networks", 2017


@dataclass(frozen=True)
class Judged:
    """A probability and what became of it.

    Attributes:
        probability: Of a word or of a segment, 0 to 1.
        right: Whether the word is in the true text, 0 or 1, or the share of the segment's words that are.
        weight: 1 for a word, the number of its words for a segment.
    """

    probability: float
    right: float
    weight: int = 1


@dataclass(frozen=True)
class Reliability:
    """How well probabilities are calibrated.

    Attributes:
        bins: The reliability table.
        error: Expected calibration error; None without words.
        exponent: Power of the probabilities that is best calibrated; None without words.
        held_out_error: Expected calibration error with such a power, of each half of the recordings with the exponent
            of the other half; None if a half has no words.
    """

    bins: list["Bin"]
    error: float | None
    exponent: float | None
    held_out_error: float | None


@dataclass(frozen=True)
class Bin:
    """Words or segments whose probability is in a range.

    Attributes:
        low: The least probability.
        high: The largest; it belongs to the next bin, unless it is 1.
        count: Words.
        probability: Their mean probability; NaN if there are none.
        right: Share of them that are right; NaN if there are none.
    """

    low: float
    high: float
    count: int
    probability: float
    right: float


def judge_words(reference: str, segments: Iterable[Segment], language: str) -> tuple[list[Judged], list[Judged]]:
    """Compare the words that were heard with a true text.

    Each word is normalized by itself, as `words_of` does. It is right if it is the same in the alignment of both texts
    with the fewest changes. Words of which nothing remains, such as musical notes, are left out.

    Args:
        reference: The true text.
        segments: What was heard, with words.
        language: Code of the language.

    Returns:
        The words, with their probability; and the segments, with the mean probability of their tokens: the exponential
        of `avg_logprob`.
    """
    heard: list[list[tuple[Word, list[str]]]] = []
    kept = []
    for segment in segments:
        units = [(word, words_of(word.word, language)) for word in segment.words or ()]
        if units := [(word, parts) for word, parts in units if parts]:
            heard.append(units)
            kept.append(segment)
    if not heard:
        return [], []
    true = [unit for word in reference.split() for unit in words_of(word, language)]
    same = iter(matches(true, [part for units in heard for _, parts in units for part in parts]))
    of_words, of_segments = list[Judged](), list[Judged]()
    for segment, units in zip(kept, heard, strict=True):
        right = [all(list(islice(same, len(parts)))) for _, parts in units]
        of_words += [Judged(word.probability, float(good)) for (word, _), good in zip(units, right, strict=True)]
        if isfinite(segment.avg_logprob):
            of_segments.append(Judged(exp(min(0.0, segment.avg_logprob)), sum(right) / len(right), len(right)))
    return of_words, of_segments


def reliability(judged: Sequence[Judged], n_bin: int = N_BIN) -> list[Bin]:
    """Return the bins of a reliability table, of equal width.

    Args:
        judged: Words or segments.
        n_bin: Number of bins.
    """
    probability, right, weight = _columns(judged)
    index = np.minimum((probability * n_bin).astype(np.int64), n_bin - 1)
    count = np.bincount(index, weight, n_bin)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(index, weight * values, n_bin) / count for values in (probability, right)]
    return [
        Bin(i / n_bin, (i + 1) / n_bin, round(count[i]), float(means[0][i]), float(means[1][i])) for i in range(n_bin)
    ]


def _columns(judged: Sequence[Judged]) -> list[npt.NDArray[np.float64]]:
    """Return the probabilities, what became of them, and the weights."""
    names = ("probability", "right", "weight")
    return [np.array([getattr(each, name) for each in judged], np.float64) for name in names]


def calibration_error(judged: Sequence[Judged], n_bin: int = N_BIN) -> float | None:
    """Return the expected calibration error: the mean distance of probability and share right, over the bins by count.

    0 is best; None if there are no words. See Guo et al., 2017, equation 3.
    """
    bins = [each for each in reliability(judged, n_bin) if each.count]
    total = sum(each.count for each in bins)
    return sum(each.count * abs(each.probability - each.right) for each in bins) / total if total else None


def fit_exponent(judged: Sequence[Judged]) -> float | None:
    """Return the power of the probabilities under which what happened is likeliest; None without words.

    A power is monotone and keeps 0 and 1, and a single number can be found from few words. Below 1, the probabilities
    were too low.
    """
    if not judged:
        return None
    probability, right, weight = _columns(judged)
    powers = np.clip(probability, 1e-9, 1)[None] ** EXPONENTS[:, None]
    powers = np.clip(powers, 1e-6, 1 - 1e-6)  # one word that is wrong, though certain, does not decide alone
    likelihood = (weight * (right * np.log(powers) + (1 - right) * np.log(1 - powers))).sum(axis=1)
    return float(EXPONENTS[np.argmax(likelihood)])


def assess(by_recording: Sequence[Sequence[Judged]]) -> Reliability:
    """Return how well the words or the segments of several recordings are calibrated.

    Args:
        by_recording: Of each recording, its words or its segments.
    """
    everything = list(chain.from_iterable(by_recording))
    halves = [list(chain.from_iterable(by_recording[first::2])) for first in (0, 1)]
    held_out = list[Judged]()
    for here, other in (halves, halves[::-1]):
        if (exponent := fit_exponent(other)) is not None:
            held_out += [Judged(each.probability**exponent, each.right, each.weight) for each in here]
    return Reliability(
        reliability(everything),
        calibration_error(everything),
        fit_exponent(everything),
        calibration_error(held_out) if all(halves) else None,
    )
