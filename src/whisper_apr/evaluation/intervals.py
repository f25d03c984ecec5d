"""Confidence intervals of error rates, by the bootstrap: recordings are drawn again and again from those that exist."""

from collections.abc import Sequence

import numpy as np

from .edits import EditCounts

N_DRAW = 2000
LEVEL = 0.95


def rate_interval(
    edits: Sequence[EditCounts], baseline: Sequence[EditCounts] | None = None
) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of an error rate, or of its difference from another one's.

    The interval says how far the rate may change with other recordings of the same kind. A difference is that of two
    models on the same drawn recordings; it is significant if the interval does not contain 0.

    Args:
        edits: The errors in each recording, in the same unit.
        baseline: Another model's errors in the same recordings, whose rate is subtracted.

    Returns:
        The lower and the upper limit; None for fewer than two recordings with words.

    Raises:
        ValueError: There are not as many recordings in `baseline`.
    """
    if baseline is not None and len(baseline) != len(edits):
        raise ValueError(f"baseline must have {len(edits)} recordings too, not {len(baseline)}")
    counts = np.array([(each.errors, each.n_reference) for each in edits], np.int64).reshape(-1, 2)
    if np.count_nonzero(counts[:, 1]) < 2:
        return None
    others = None if baseline is None else np.array([(each.errors, each.n_reference) for each in baseline], np.int64)
    rng, rates = np.random.default_rng(0), np.empty(N_DRAW)
    for i in range(N_DRAW):
        drawn = rng.integers(len(counts), size=len(counts))
        rates[i] = _rate(counts[drawn]) - (0 if others is None else _rate(others[drawn]))
    low, high = np.quantile(rates, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def _rate(counts: np.ndarray) -> float:
    errors, n_reference = counts.sum(axis=0)
    return float(errors / max(n_reference, 1))
