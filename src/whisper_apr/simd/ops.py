"""Matrix products, attention, softmax and the other operations of a model, checked and typed, on the backend in use."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ..errors import BackendError
from . import dispatch, reference, reference_lz4
from .checks import (
    as_float32,
    as_index,
    as_number,
    as_rows,
    as_strided,
    expect,
    expect_array,
    expect_type,
    result_array,
)
from .kv_cache import PAGE, KVCache
from .weights import FloatArray, PackedMatrix, pack

Precision = Literal["float32", "bfloat16"]  # of attention's factors
Operand = Literal["float32", "int8", "bfloat16"]  # what a loop of multiply-adds multiplies
MAX_TASKS = 1 << 24  # of run_peak

# ---- products and rows ----------------------------------------------------------------------------------------------


def linear(
    x: npt.ArrayLike,
    weight: PackedMatrix,
    bias: FloatArray | None = None,
    *,
    gelu: bool = False,
    residual: FloatArray | None = None,
    out: FloatArray | None = None,
) -> FloatArray:
    """`gelu(x @ weight.T + bias) + residual`, each part where asked for: `(..., n_in)` -> `(..., n_out)`, written to
    `out` where given.

    A 2-D `x` may have rows that overlap (a stride of its own), as the windows of a convolution have.

    With an int8 or int4 weight each row of x is rounded to 8 bits on the way: `round(x / step)`, half to even, with
    `step = max |row| / 127` (a row with no magnitude above 1e-30 counts as zeros; one with infinity or NaN gives NaN).
    int8: the whole numbers' products are summed in int32, the same on every backend, then `sum * step * scale`. int4:
    so for each group of 32 inputs, the groups then summed in float32 in order.
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
    out = result_array(out, shape, a, bias, residual, weight.panels, weight.scales, weight.sums)
    if out.size:
        rows, result = a if a.ndim == 2 else a.reshape(-1, n_in), out.reshape(-1, n_out)
        dispatch.impl.gemm(rows, weight.panels, weight.scales, weight.sums, n_out, bias, gelu, residual, result)
    return out


def matmul(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """The matrix product `(m, k) @ (k, n)` -> `(m, n)`.

    For a `b` that is used again, `pack(b.T)` once and call `linear`.
    """
    right = as_float32(b, "b", 2)
    return linear(as_float32(a, "a", 2), pack(right.T))


def matvec(a: npt.ArrayLike, x: npt.ArrayLike) -> FloatArray:
    """`(m, k) @ (k,)` -> `(m,)`."""
    return linear(as_float32(x, "x", 1), pack(as_float32(a, "a", 2)))


def dot(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """The sum of the products of two vectors of equal length."""
    left, right = as_float32(a, "a", 1), as_float32(b, "b", 1)
    expect(left.shape == right.shape, f"a and b must have one length, not {left.size} and {right.size}")
    return float(dispatch.impl.dot(left, right))


def _softmax(x: npt.ArrayLike, log: bool) -> FloatArray:
    a = as_float32(x, "x")
    expect(a.ndim >= 1, "x must have at least one dimension")
    out = np.empty_like(a)
    if a.size:
        dispatch.impl.softmax(a.reshape(-1, a.shape[-1]), log, out.reshape(-1, a.shape[-1]))
    return out


def softmax(x: npt.ArrayLike) -> FloatArray:
    """`exp(x) / sum(exp(x))` over the last axis. A row may hold -inf, but not only -inf (that gives NaN)."""
    return _softmax(x, False)


def log_softmax(x: npt.ArrayLike) -> FloatArray:
    """`x - log(sum(exp(x)))` over the last axis."""
    return _softmax(x, True)


def logsumexp(x: npt.ArrayLike) -> FloatArray:
    """`log(sum(exp(x)))` over the last axis.

    -inf where every number of a row is; NaN where one is NaN, else infinity where one is.
    """
    a = as_float32(x, "x")
    expect(a.ndim >= 1 and a.shape[-1] > 0, "x must have a last axis that is not empty")
    out = np.empty(a.shape[:-1], np.float32)
    if a.size:
        dispatch.impl.logsumexp(a.reshape(-1, a.shape[-1]), out.reshape(-1))
    return out


def argmax(x: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The index of each row's largest value (the first of equals; a NaN counts as largest), over the last axis."""
    a = as_float32(x, "x")
    expect(a.ndim >= 1 and a.shape[-1] > 0, "x must have a last axis that is not empty")
    out = np.empty(a.shape[:-1], np.int64)
    if a.size:
        dispatch.impl.argmax(a.reshape(-1, a.shape[-1]), out.reshape(-1))
    return out


def top_k(x: npt.ArrayLike, k: int) -> npt.NDArray[np.int64]:
    """The indices of each row's k largest values, `(..., k)`, largest first; of equals the first ones. A NaN counts as
    -inf.

    Raises ValueError unless k is from 1 to the length of the last axis.
    """
    a = as_float32(x, "x")
    expect(a.ndim >= 1 and a.shape[-1] > 0, "x must have a last axis that is not empty")
    k = as_index(k, "k", 1, a.shape[-1])
    out = np.empty((*a.shape[:-1], k), np.int64)
    if a.size:
        dispatch.impl.top_k(a.reshape(-1, a.shape[-1]), out.reshape(-1, k))
    return out


def layer_norm(
    x: npt.ArrayLike, weight: FloatArray, bias: FloatArray, eps: float = 1e-5, *, out: FloatArray | None = None
) -> FloatArray:
    """`(x - mean) / sqrt(variance + eps) * weight + bias` over the last axis, written to `out` where given.

    The variance is the biased one, as torch's; eps must not be negative.
    """
    a, w, b = as_float32(x, "x"), as_float32(weight, "weight", 1), as_float32(bias, "bias", 1)
    expect(a.ndim >= 1 and a.shape[-1] > 0, "x must have a last axis that is not empty")
    expect(w.shape == b.shape == a.shape[-1:], f"weight {w.shape} and bias {b.shape} must fit x {a.shape}")
    eps = as_number(eps, "eps")
    expect(eps >= 0, f"eps must not be negative, but is {eps}")
    out = result_array(out, a.shape, a, w, b)
    if a.size:
        dispatch.impl.layer_norm(a.reshape(-1, a.shape[-1]), w, b, eps, out.reshape(-1, a.shape[-1]))
    return out


def gelu(x: npt.ArrayLike) -> FloatArray:
    """`x / 2 * (1 + erf(x / sqrt(2)))`: the exact form, which Whisper was trained with, not tanh's approximation.

    0 for -inf, and for all x below -5.6, where the result is smaller than 4e-8.
    """
    a = as_float32(x, "x")
    out = np.empty_like(a)
    if a.size:
        dispatch.impl.gelu(a.reshape(-1), out.reshape(-1))
    return out


# ---- attention ------------------------------------------------------------------------------------------------------


def attention(
    q: npt.ArrayLike,
    k: npt.ArrayLike,
    v: npt.ArrayLike,
    *,
    causal: bool = False,
    scale: float | None = None,
    precision: Precision = "float32",
    out: FloatArray | None = None,
) -> FloatArray:
    """`softmax(q k^T * scale) v` for each batch and head; nothing of the size `n_query x n_key` is kept in memory.

    q is `(batch, n_head, n_query, d_head)`, k and v `(batch, n_head, n_key, d_head)`; the result has q's shape, and
    lies in memory as `(batch, n_query, n_head, d_head)`, the shape of `out` where it is given. `causal`: the last query
    sees every key, the one before it one key fewer, and so on. `scale` is 1 / sqrt(d_head) unless given. Views with any
    strides are taken, as long as the last axis is contiguous.

    `precision` "bfloat16": a backend may round q (scaled), k, v and the softmax's weights to bfloat16, where that is
    faster; sums and the softmax stay float32, and what rounds to infinity (above 3.39e38) is infinite. `numpy` and
    `avx512bf16` do so (the latter for more than 8 queries), the others compute in float32. Either way a result is off
    by at most `exp(2 e) - 1 + 2**-6` times the largest |v| of its head, and 1e-35 (subnormal numbers may count as 0),
    where e is 2**-7 times the largest `sum |q_i k_i| * scale` of its query over the keys; typically by far less.
    """
    expect(precision in ("float32", "bfloat16"), f"precision must be 'float32' or 'bfloat16', not {precision!r}")
    q4, k4, v4 = as_strided(q, "q", 4), as_strided(k, "k", 4), as_strided(v, "v", 4)
    batch, n_head, n_query, d_head = q4.shape
    expect(k4.shape == v4.shape, f"k {k4.shape} and v {v4.shape} must have one shape")
    n_key = k4.shape[2]
    expect(k4.shape == (batch, n_head, n_key, d_head), f"k {k4.shape} does not fit q {q4.shape}")
    expect(n_key > 0 and d_head > 0, "there must be at least one key, and d_head must not be 0")
    expect(
        not causal or n_key >= n_query,
        f"causal attention needs at least as many keys as queries, not {n_key} and {n_query}",
    )
    result = result_array(out, (batch, n_query, n_head, d_head), q4, k4, v4).transpose(0, 2, 1, 3)
    if result.size:
        factor = d_head**-0.5 if scale is None else as_number(scale, "scale")
        dispatch.impl.attention(q4, k4, v4, causal, precision == "bfloat16", factor, result)
    return result


def _check_lengths(name: str, lengths: npt.NDArray[np.int32], n_row: int, lowest: int, highest: int) -> None:
    expect_array(lengths, name, (n_row,), np.int32)
    expect(
        not n_row or (int(lengths.min()) >= lowest and int(lengths.max()) <= highest),
        f"{name} must be from {lowest} to {highest}",
    )


def store_pages(
    k: FloatArray,
    v: FloatArray,
    pages: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int32],
    cache: KVCache,
    counts: npt.NDArray[np.int32] | None = None,
) -> None:
    """Write keys and values `(n_row, n_new, n_head * d_head)` into a cache, as the last positions of rows with
    `lengths` positions.

    `pages` `(n_row, n)` int32 names, for each row, the page of its positions 0-15, 16-31, and so on. `counts`
    `(n_row,)` int32 where not all n_new are real: of row i the last counts[i] count, which become its positions
    lengths[i] - counts[i] to lengths[i] - 1.
    """
    a, b = as_strided(k, "k", 3), as_strided(v, "v", 3)
    n_row, n_new, width = a.shape
    expect(a.shape == b.shape, f"k {a.shape} and v {b.shape} must have one shape")
    expect_type(cache, "cache", KVCache)
    cache.check(pages, width, n_row)
    _check_lengths("lengths", lengths, n_row, n_new if counts is None else 0, pages.shape[1] * PAGE)
    if counts is not None:
        _check_lengths("counts", counts, n_row, 0, n_new)
        expect(bool((counts <= lengths).all()), "counts must not be above lengths")
    if a.size:
        dispatch.impl.store_pages(a, b, pages, lengths, counts, cache.keys, cache.values, cache.scales)


def paged_attention(
    q: FloatArray,
    cache: KVCache,
    pages: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int32],
    *,
    causal: bool = False,
) -> FloatArray:
    """Attention over a cache: q `(n_row, n_query, n_head * d_head)` -> the same shape.

    `lengths` `(n_row,)` int32 says how many positions of each row are filled; `causal` as in `attention`. Where there
    are more queries than positions, those that come before the first see the first. A query's result does not depend on
    the other queries and rows.
    """
    a = as_strided(q, "q", 3)
    n_row, _, width = a.shape
    expect_type(cache, "cache", KVCache)
    cache.check(pages, width, n_row)
    out = np.empty(a.shape, np.float32)
    if a.size:
        _check_lengths("lengths", lengths, n_row, 1, pages.shape[1] * PAGE)
        scale = cache.d_head**-0.5
        dispatch.impl.paged_attention(a, cache.keys, cache.values, cache.scales, pages, lengths, causal, scale, out)
    return out


# ---- bytes ----------------------------------------------------------------------------------------------------------


def lz4_decode(source: memoryview, target: memoryview) -> bool:
    """Decode one block of LZ4's block format into `target` (contiguous bytes), the same code for every backend.

    False where `source` is damaged or does not fill `target` exactly; then target holds anything. Raises TypeError for
    what is no contiguous memory, ValueError for a target that is read-only.
    """
    views = []
    for name, memory in (("source", source), ("target", target)):
        try:
            views.append(memoryview(memory).cast("B"))
        except TypeError as error:
            raise TypeError(f"{name} must be contiguous bytes: {error}") from None
    expect(not views[1].readonly, "target must not be read-only")
    return bool((dispatch.kernels or reference_lz4).lz4_decode(*views))


# ---- the machine's limits -------------------------------------------------------------------------------------------


def run_peak(n_task: int, kind: Operand = "float32") -> float:
    """So many tasks, over all threads, of multiply-adds that never leave the registers: of floats, of bytes in dot
    products, or of what `attention` multiplies where its precision is "bfloat16".

    Returns how many operations that were; a multiplication and an addition are two. Raises BackendError on `numpy`,
    which has no such loop.
    """
    n_task = as_index(n_task, "n_task", 1, MAX_TASKS)
    expect(kind in get_args(Operand), f"kind must be one of {', '.join(get_args(Operand))}, not {kind!r}")
    if dispatch.impl is reference:
        raise BackendError("the backend 'numpy' has no peak to measure; use a compiled one")
    out = np.empty((n_task, 2), np.float32)
    dispatch.impl.peak(out, kind)
    return float(out[:, 1].sum(dtype=np.float64))


def read_all(x: FloatArray, times: int = 1) -> None:
    """Read every number of a float32 array, so many times, over all threads: for measuring bandwidth."""
    a = as_float32(x, "x").reshape(-1)
    times = as_index(times, "times", 0)
    if a.size:
        dispatch.impl.read_all(a, times, np.empty(-(-a.size // (1 << 14)), np.float32))
