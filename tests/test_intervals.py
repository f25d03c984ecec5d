"""Confidence intervals of error rates."""

import numpy as np
import pytest

from whisper_apr.evaluation import EditCounts, rate_interval


def edits(*errors: int, words: int = 10) -> list[EditCounts]:
    return [EditCounts(substitutions=count, n_reference=words) for count in errors]


def test_recordings_with_one_rate_leave_no_doubt() -> None:
    assert rate_interval(edits(2, 2, 2)) == (0.2, 0.2)
    assert rate_interval([EditCounts(1, 1, 0, 10), EditCounts(0, 2, 2, 20)]) == (0.2, 0.2)


def test_two_recordings() -> None:
    """Draws have the rates 0, 0.5 and 1 with probabilities of 1/4, 1/2 and 1/4."""
    assert rate_interval(edits(0, 10)) == (0, 1)


def test_width_is_that_of_the_normal_distribution_for_many_recordings() -> None:
    errors = np.random.default_rng(1).binomial(10, 0.3, 400)
    found = rate_interval(edits(*map(int, errors)))
    assert found is not None
    half = 1.96 * errors.std() / 10 / np.sqrt(len(errors))
    assert found == pytest.approx((errors.mean() / 10 - half, errors.mean() / 10 + half), abs=0.1 * half)


def test_change_is_that_on_the_same_recordings() -> None:
    assert rate_interval(edits(0, 10, 5), edits(0, 10, 5)) == (0, 0)
    assert rate_interval(edits(1, 9, 5), edits(0, 8, 4)) == pytest.approx((0.1, 0.1))
    found = rate_interval(edits(0, 0, 0, 9), edits(0, 0, 0, 0))
    assert found is not None
    assert found[0] == 0 < found[1]


def test_too_few_recordings() -> None:
    assert rate_interval([]) is rate_interval(edits(1)) is None
    assert rate_interval([EditCounts(insertions=1), *edits(1)]) is None  # one without words
    with pytest.raises(ValueError, match="baseline must have 2 recordings too, not 1"):
        rate_interval(edits(1, 2), edits(1))
