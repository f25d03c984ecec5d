"""Matrix products and operations on rows; LZ4 decoding; and loops that measure the limits of the machine."""

from typing import Literal, SupportsFloat, SupportsIndex, get_args

import numpy as np
import numpy.typing as npt

from ..errors import BackendError
from . import dispatch, reference, reference_lz4
from .checks import (
    FloatArray,
    as_float32,
    as_index,
    as_number,
    as_rows,
    expect,
    expect_type,
    result_array,
)
from .quantize import ActivationBits, activation_levels
from .weights import PackedMatrix, pack

Operand = Literal["float32", "int8", "bfloat16"]
"""Operands of the multiply-adds that `run_peak` runs."""
MAX_TASKS = 1 << 24  # of run_peak

# ---- products and rows ----------------------------------------------------------------------------------------------


def linear(
    x: npt.ArrayLike,
    weight: PackedMatrix,
    bias: npt.ArrayLike | None = None,
    *,
    gelu: bool = False,
    residual: npt.ArrayLike | None = None,
    activation_bits: ActivationBits = 8,
    out: FloatArray | None = None,
) -> FloatArray:
    """Compute `gelu(x @ weight.T + bias) + residual`, where bias, GELU and residual are optional.

    With an int8 or int4 weight, each row of x is quantized on the fly: `q = round(row / scale)`, half to even, with
    `scale = max |row| / levels`. A row whose magnitudes are all at most 1e-30 counts as zeros; a row with an infinity
    or NaN gives NaN. With int8 weights, the products are summed in int32, identically on every backend, and then
    multiplied by both scales. With int4 weights, each group of 32 inputs is computed in this way, and the groups are
    summed in float32, in order.

    Args:
        x: `(..., n_in)`. A 2-D view with any row stride is not copied, not even if its rows overlap, as the windows of
            a convolution do.
        weight: `(n_out, n_in)`, packed by `pack`.
        bias: `(n_out,)`, or None.
        gelu: Whether to apply `gelu`.
        residual: `(..., n_out)`, added last, or None.
        activation_bits: How finely x is quantized, if the weight is: 8 for 127 levels; 12 for 2047, or fewer if a sum
            of more than 8,196 products could exceed an int32. 12 bits take about as long with few rows, and up to twice
            as long with many rows on CPUs that multiply bytes.
        out: Array for the result, or None.

    Returns:
        `(..., n_out)`.

    Raises:
        TypeError: `weight` is not packed, or another argument is not an array of real numbers.
        ValueError: The shapes do not fit, `activation_bits` is neither 8 nor 12, or `out` is unsuitable.
    """
    a = as_rows(x, "x")
    expect_type(weight, "weight", PackedMatrix, "; pack it once with simd.pack")
    n_out, n_in = weight.shape
    expect(a.ndim >= 1 and a.shape[-1] == n_in, f"x of shape {a.shape} does not fit a weight of shape {weight.shape}")
    shape = (*a.shape[:-1], n_out)
    if bias is not None:
        bias = as_float32(bias, "bias")
        expect(bias.shape == (n_out,), f"bias must have shape ({n_out},), not {bias.shape}")
    if residual is not None:
        residual = as_float32(residual, "residual")
        expect(residual.shape == shape, f"residual must have shape {shape}, not {residual.shape}")
        residual = residual.reshape(-1, n_out)
    levels = activation_levels(activation_bits, n_in)
    out = result_array(out, shape, a, bias, residual, weight.panels, weight.scales, weight.sums)
    if out.size:
        rows, result = a if a.ndim == 2 else a.reshape(-1, n_in), out.reshape(-1, n_out)
        parts = weight.panels, weight.scales, weight.sums
        dispatch.impl.gemm(rows, *parts, levels, n_out, bias, gelu, residual, result)
    return out


def matmul(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """Multiply two matrices, `a @ b`.

    It packs b for each call: if you use the same b again, call `pack(b.T)` once, and then `linear`.

    Args:
        a: `(m, k)`.
        b: `(k, n)`.

    Returns:
        `(m, n)`.

    Raises:
        TypeError: An argument is not an array of real numbers.
        ValueError: An argument is not a matrix, or the shapes do not fit.
    """
    right = as_float32(b, "b", 2)
    return linear(as_float32(a, "a", 2), pack(right.T))


def matvec(a: npt.ArrayLike, x: npt.ArrayLike) -> FloatArray:
    """Multiply a matrix by a vector, `a @ x`.

    It packs a for each call: if you use the same a again, call `pack(a)` once, and then `linear`.

    Args:
        a: `(m, k)`.
        x: `(k,)`.

    Returns:
        `(m,)`.

    Raises:
        TypeError: An argument is not an array of real numbers.
        ValueError: The shapes do not fit.
    """
    return linear(as_float32(x, "x", 1), pack(as_float32(a, "a", 2)))


def dot(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Compute the dot product of two vectors.

    Args:
        a: `(n,)`.
        b: `(n,)`.

    Returns:
        The sum of the products, accumulated in float32; 0 for empty vectors.

    Raises:
        TypeError: An argument is not an array of real numbers.
        ValueError: The arguments are not vectors of the same length.
    """
    left, right = as_float32(a, "a", 1), as_float32(b, "b", 1)
    expect(left.shape == right.shape, f"a and b must have the same length, not {left.size} and {right.size}")
    return float(dispatch.impl.dot(left, right))


def _softmax(x: npt.ArrayLike, log: bool) -> FloatArray:
    a = as_float32(x, "x")
    expect(a.ndim >= 1, "x must have at least one dimension")
    out = np.empty_like(a)
    if a.size:
        dispatch.impl.softmax(a.reshape(-1, a.shape[-1]), log, out.reshape(-1, a.shape[-1]))
    return out


def softmax(x: npt.ArrayLike) -> FloatArray:
    """Compute the softmax over the last axis: `exp(x) / sum(exp(x))`, with the row's maximum subtracted first.

    Args:
        x: `(..., n)`. Elements may be -inf; a row of only -inf gives NaN.

    Returns:
        An array of the shape of x.

    Raises:
        TypeError: x is not an array of real numbers.
        ValueError: x has no dimensions.
    """
    return _softmax(x, False)


def log_softmax(x: npt.ArrayLike) -> FloatArray:
    """Compute the logarithm of the softmax over the last axis: `x - log(sum(exp(x)))`.

    Args:
        x: As for `softmax`.

    Returns:
        An array of the shape of x.

    Raises:
        TypeError: As for `softmax`.
        ValueError: As for `softmax`.
    """
    return _softmax(x, True)


def logsumexp(x: npt.ArrayLike) -> FloatArray:
    """Compute `log(sum(exp(x)))` over the last axis.

    Args:
        x: `(..., n)`, n at least 1.

    Returns:
        `(...)`: -inf for a row of only -inf, NaN for a row that holds NaN, otherwise inf for a row that holds inf.

    Raises:
        TypeError: x is not an array of real numbers.
        ValueError: The last axis is missing or empty.
    """
    a = as_float32(x, "x")
    expect(a.ndim >= 1 and a.shape[-1] > 0, "x must have a last axis that is not empty")
    out = np.empty(a.shape[:-1], np.float32)
    if a.size:
        dispatch.impl.logsumexp(a.reshape(-1, a.shape[-1]), out.reshape(-1))
    return out


def argmax(x: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the index of the largest element along the last axis.

    Args:
        x: `(..., n)`, n at least 1.

    Returns:
        `(...)` int64: the first index among equal elements; a NaN counts as the largest, as in NumPy.

    Raises:
        TypeError: x is not an array of real numbers.
        ValueError: The last axis is missing or empty.
    """
    a = as_float32(x, "x")
    expect(a.ndim >= 1 and a.shape[-1] > 0, "x must have a last axis that is not empty")
    out = np.empty(a.shape[:-1], np.int64)
    if a.size:
        dispatch.impl.argmax(a.reshape(-1, a.shape[-1]), out.reshape(-1))
    return out


def top_k(x: npt.ArrayLike, k: SupportsIndex) -> npt.NDArray[np.int64]:
    """Return the indices of the k largest elements along the last axis.

    Args:
        x: `(..., n)`, n at least 1.
        k: From 1 to n.

    Returns:
        `(..., k)` int64, in order of descending elements; the lower index first among equal ones. A NaN counts as -inf.

    Raises:
        TypeError: x is not an array of real numbers, or k is not an integer.
        ValueError: The last axis is missing or empty, or k is out of range.
    """
    a = as_float32(x, "x")
    expect(a.ndim >= 1 and a.shape[-1] > 0, "x must have a last axis that is not empty")
    k = as_index(k, "k", 1, a.shape[-1])
    out = np.empty((*a.shape[:-1], k), np.int64)
    if a.size:
        dispatch.impl.top_k(a.reshape(-1, a.shape[-1]), out.reshape(-1, k))
    return out


def layer_norm(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike,
    eps: SupportsFloat = 1e-5,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """Normalize the last axis: `(x - mean) / sqrt(variance + eps) * weight + bias`.

    The variance is the biased one (divided by n), as in `torch.nn.LayerNorm`.

    Args:
        x: `(..., n)`, n at least 1.
        weight: `(n,)`.
        bias: `(n,)`.
        eps: Added to the variance; not negative.
        out: Array for the result, or None.

    Returns:
        An array of the shape of x.

    Raises:
        TypeError: An argument is not an array of real numbers, or eps is not a number.
        ValueError: The shapes do not fit, eps is negative or NaN, or `out` is unsuitable.
    """
    a, w, b = as_float32(x, "x"), as_float32(weight, "weight", 1), as_float32(bias, "bias", 1)
    expect(a.ndim >= 1 and a.shape[-1] > 0, "x must have a last axis that is not empty")
    expect(w.shape == b.shape == a.shape[-1:], f"weight {w.shape} and bias {b.shape} do not fit x {a.shape}")
    eps = as_number(eps, "eps")
    expect(eps >= 0, f"eps must not be negative or NaN, but is {eps}")
    out = result_array(out, a.shape, a, w, b)
    if a.size:
        dispatch.impl.layer_norm(a.reshape(-1, a.shape[-1]), w, b, eps, out.reshape(-1, a.shape[-1]))
    return out


def gelu(x: npt.ArrayLike) -> FloatArray:
    """Apply the exact GELU, `x / 2 * (1 + erf(x / sqrt(2)))`, which Whisper uses; not the tanh approximation.

    Args:
        x: An array of any shape.

    Returns:
        An array of the shape of x. The result is 0 for all x below -5.6, where its exact magnitude is less than 4e-8.

    Raises:
        TypeError: x is not an array of real numbers.
    """
    a = as_float32(x, "x")
    out = np.empty_like(a)
    if a.size:
        dispatch.impl.gelu(a.reshape(-1), out.reshape(-1))
    return out


# ---- bytes ----------------------------------------------------------------------------------------------------------


def lz4_decode(source: memoryview, target: memoryview) -> bool:
    """Decode one block of the LZ4 block format. All compiled backends share one decoder.

    Args:
        source: The compressed block: contiguous bytes.
        target: Contiguous, writable bytes, exactly as many as the block decodes to.

    Returns:
        Whether the block is valid and fills `target` exactly. If False, the contents of `target` are undefined.

    Raises:
        TypeError: An argument is not contiguous memory.
        ValueError: `target` is read-only.
    """
    views = []
    for name, memory in (("source", source), ("target", target)):
        try:
            views.append(memoryview(memory).cast("B"))
        except TypeError as error:
            raise TypeError(f"{name} must be contiguous bytes: {error}") from None
    expect(not views[1].readonly, "target must not be read-only")
    return bool((dispatch.kernels or reference_lz4).lz4_decode(*views))


# ---- limits of the machine ------------------------------------------------------------------------------------------


def run_peak(n_task: SupportsIndex, kind: Operand = "float32") -> float:
    """Run multiply-adds on registers only, on all threads, to measure the machine's peak arithmetic rate.

    Args:
        n_task: Number of tasks, which the threads share; from 1 to 2^24.
        kind: "float32"; "int8", the dot products of bytes that `linear` uses; or "bfloat16", the operations that
            `attention` uses for numbers of that type.

    Returns:
        The number of operations that were run; a multiplication and an addition count as two.

    Raises:
        TypeError: n_task is not an integer.
        ValueError: n_task or kind is out of range.
        BackendError: The backend is `numpy`, which has no such loop.
    """
    n_task = as_index(n_task, "n_task", 1, MAX_TASKS)
    expect(kind in get_args(Operand), f"kind must be one of {', '.join(get_args(Operand))}, not {kind!r}")
    if dispatch.impl is reference:
        raise BackendError("the backend 'numpy' has no peak to measure; use a compiled one")
    out = np.empty((n_task, 2), np.float32)
    dispatch.impl.peak(out, kind)
    return float(out[:, 1].sum(dtype=np.float64))


def read_all(x: npt.ArrayLike, times: SupportsIndex = 1) -> None:
    """Read every element of an array, on all threads, to measure memory bandwidth.

    Args:
        x: The array to read, of any shape.
        times: How often to read it.

    Raises:
        TypeError: x is not an array of real numbers, or times is not an integer.
        ValueError: times is negative.
    """
    a = as_float32(x, "x").reshape(-1)
    times = as_index(times, "times", 0)
    if a.size:
        dispatch.impl.read_all(a, times, np.empty(-(-a.size // (1 << 14)), np.float32))
