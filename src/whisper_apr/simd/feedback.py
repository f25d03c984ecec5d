"""Quantization to int4 that lets later weights make up for the rounding of earlier ones, as GPTQ does.

Rounded to nearest, every weight of an output adds an error of its own. But inputs are correlated: where one is large,
others are, and a change of their weights undoes a part of that error. GPTQ (Frantar et al. 2022, arXiv 2210.17323)
quantizes input by input. After each, it changes the weights of the inputs that are left by the amount that minimizes
the expected squared error of the output. The correlations are the inputs' second moments, measured on recordings.

Unlike in the paper, the groups' scales are found first, and the inputs of the largest power are quantized first.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import FloatArray, as_float32
from .layout import GROUP
from .quantize import HIGHEST_INT4, LOWEST_INT4, QuantizedWeight, quantize_int4

# Added to each input's power, relative to the mean: what recordings do not show is not taken for certain. GPTQ's value
_DAMPING = 0.01
_COLUMNS = 32  # inputs that are quantized before the others are changed, by one product of matrices
_BLOCK = 1 << 20  # weights that are quantized at a time, which bounds the memory of temporaries


def _checked(moments: Sequence[npt.ArrayLike], n_in: int) -> list[FloatArray]:
    """Check second moments, and return them as arrays."""
    blocks = [as_float32(block, "moments", 2) for block in moments]
    sizes = [len(block) for block in blocks]
    if any(block.shape != (size, size) for block, size in zip(blocks, sizes, strict=True)) or sum(sizes) != n_in:
        raise ValueError(f"moments must be square matrices of {n_in} inputs, not {[block.shape for block in blocks]}")
    if any(size % GROUP for size in sizes[:-1]):
        raise ValueError(f"moments but the last must be of a multiple of {GROUP} inputs, not of {sizes}")
    if not all(np.isfinite(block).all() and (np.diag(block) >= 0).all() for block in blocks):
        raise ValueError("moments must be finite, and their diagonals at least 0")
    return blocks


def _feedback(moments: FloatArray) -> FloatArray:
    """Return the upper triangular `u` with `u.T @ u = inv(moments)`, whose rows say how to change later weights.

    Raises:
        ValueError: The moments are not those of any inputs.
    """
    damped = moments.astype(np.float64)
    damped[np.diag_indices(len(damped))] += _DAMPING * np.diag(damped).mean()
    try:
        np.linalg.cholesky(damped)  # the inverse of an indefinite matrix may be positive in all that is read of it
        return np.linalg.cholesky(np.linalg.inv(damped)).T.astype(np.float32)
    except np.linalg.LinAlgError as error:
        raise ValueError("moments must be positive semidefinite") from error


def quantize_int4_with_feedback(weight: npt.NDArray[Any], moments: Sequence[npt.ArrayLike]) -> QuantizedWeight:
    """Quantize a weight to int4 with the least error of the outputs for inputs like those that were measured.

    The result does not depend on the scale of the moments, so that they may be sums or means over any number of inputs.

    Args:
        weight: As for `quantize_int8`.
        moments: Mean products of inputs, `x.T @ x / len(x)`, in blocks: square matrices for consecutive inputs, of a
            multiple of 32 inputs but for the last. Inputs of different blocks are taken for uncorrelated.

    Raises:
        TypeError: As for `quantize_int8`.
        ValueError: As for `quantize_int8`, or the moments do not fit the weight, are not finite or not positive
            semidefinite.
    """
    if not isinstance(weight, np.ndarray) or weight.ndim != 2:
        return quantize_int4(weight)  # raises
    blocks = _checked(moments, weight.shape[1])
    power = np.concatenate([np.diag(block) for block in blocks]) if blocks else None
    nearest = quantize_int4(weight, power)
    values = nearest.values.copy()
    scales = np.repeat(nearest.scales, GROUP, axis=1)[:, : weight.shape[1]]
    begin = 0
    for block in blocks:
        inputs = slice(begin, begin + len(block))
        begin = inputs.stop
        if not np.diag(block).any():
            continue  # the inputs are always 0
        order = np.argsort(-np.diag(block), kind="stable")
        feedback = _feedback(block[np.ix_(order, order)])
        step = max(1, _BLOCK // len(block))
        for row in range(0, len(weight), step):
            rows = slice(row, row + step)
            # one input after the other, so that the weights of one are contiguous
            floats = np.ascontiguousarray(weight[rows, inputs][:, order].T, np.float32)
            rounded = _round_in_order(floats, scales[rows, inputs][:, order].T.astype(np.float32), feedback)
            values[rows, inputs] = rounded[np.argsort(order)].T
    return QuantizedWeight("int4", values, nearest.scales)


def _round_in_order(weights: FloatArray, scales: FloatArray, feedback: FloatArray) -> FloatArray:
    """Return the quantized values of weights `(n_in, n_out)`, which are overwritten, input by input."""
    rounded = np.empty_like(weights)
    with np.errstate(divide="ignore"):
        inverse = np.where(scales == 0, np.float32(0), 1 / scales)
    for begin in range(0, len(weights), _COLUMNS):
        end = min(begin + _COLUMNS, len(weights))
        errors = np.empty((end - begin, weights.shape[1]), np.float32)
        for i in range(begin, end):
            rounded[i] = np.clip(np.rint(weights[i] * inverse[i]), LOWEST_INT4, HIGHEST_INT4)
            error = errors[i - begin]
            error[...] = (weights[i] - rounded[i] * scales[i]) / feedback[i, i]
            weights[i + 1 : end] -= feedback[i, i + 1 : end, None] * error
        weights[end:] -= feedback[begin:end, end:].T @ errors
    return rounded
