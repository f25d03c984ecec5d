"""Attention over arrays and over a KV cache."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from . import dispatch
from .checks import FloatArray, as_number, as_strided, expect, expect_array, expect_type, result_array
from .kv_cache import PAGE, KVCache

Precision = Literal["float32", "reduced"]
"""Precision of the operands of `attention`."""


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
    """Compute `softmax(q @ k.T * scale) @ v` for each batch element and head.

    The softmax is computed online over blocks of keys (FlashAttention, Dao et al. 2022): no array of size
    `n_query * n_key` is allocated. Views with any non-negative strides are read without a copy if their last axis is
    contiguous.

    With `precision="reduced"`, a backend may round q (scaled), k, v and the softmax weights if that is faster; the
    softmax stays in float32. `numpy` rounds to bfloat16, and so do `avx512bf16` and `neonbf16` for more than 8 queries;
    magnitudes that round to infinity (above 3.39e38) become infinite. `avx2` and `avx2vnni` round to 16-bit integers,
    for as many queries, up to 512 dimensions and unless `causal` is set: each query and key with a scale of its own,
    the values of a dimension with another, and the weights to multiples of 2**-14 of the largest. The others compute
    in float32.

    An element then differs from the exact result by at most `exp(2 e) - 1 + 2**-6 + n_key * 2**-14` times the largest
    |v| of its head, plus 1e-30 (smaller numbers may count as 0). For bfloat16, e is 2**-7 times the largest
    `sum |q_i k_i| * scale` of its query over the keys; for integers, 2**-10 times the largest
    `d_head * max |q_i| * max |k_i| * scale`. Typical errors are far smaller.

    Args:
        q: `(batch, n_head, n_query, d_head)`.
        k: `(batch, n_head, n_key, d_head)`, with at least one key.
        v: `(batch, n_head, n_key, d_head)`.
        causal: Whether a query attends only to the keys up to its own position: the last query to all keys, the one
            before it to one key fewer, and so on.
        scale: Factor of the scores; None for `1 / sqrt(d_head)`.
        precision: "float32", or "reduced" to permit rounding.
        out: Array for the result, `(batch, n_query, n_head, d_head)`, or None.

    Returns:
        `(batch, n_head, n_query, d_head)`: a view of an array `(batch, n_query, n_head, d_head)`, so that the heads of
            a query are adjacent in memory.

    Raises:
        TypeError: An argument is not an array of real numbers, or `scale` is not a number.
        ValueError: The shapes do not fit, `causal` is set with fewer keys than queries, `precision` is unknown, or
            `out` is unsuitable.
    """
    expect(precision in ("float32", "reduced"), f"precision must be 'float32' or 'reduced', not {precision!r}")
    q4, k4, v4 = as_strided(q, "q", 4), as_strided(k, "k", 4), as_strided(v, "v", 4)
    batch, n_head, n_query, d_head = q4.shape
    expect(k4.shape == v4.shape, f"k {k4.shape} and v {v4.shape} must have the same shape")
    n_key = k4.shape[2]
    expect(k4.shape == (batch, n_head, n_key, d_head), f"k {k4.shape} does not fit q {q4.shape}")
    expect(n_key > 0 and d_head > 0, "n_key and d_head must be at least 1")
    expect(
        not causal or n_key >= n_query,
        f"causal attention needs at least as many keys as queries, not {n_key} and {n_query}",
    )
    result = result_array(out, (batch, n_query, n_head, d_head), q4, k4, v4).transpose(0, 2, 1, 3)
    if result.size:
        factor = d_head**-0.5 if scale is None else as_number(scale, "scale")
        dispatch.impl.attention(q4, k4, v4, causal, precision == "reduced", factor, result)
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
    """Write the keys and values of new positions to a KV cache.

    Of row i, the last `counts[i]` of the n_new positions are written, as positions `lengths[i] - counts[i]` to
    `lengths[i] - 1` of that row. An int8 cache quantizes them (see `KVCache`).

    Args:
        k: Keys, `(n_row, n_new, n_head * d_head)`.
        v: Values, of the same shape.
        pages: The page table, `(n_row, n)` int32: the pages that hold positions 0-15, 16-31, ... of each row.
        lengths: `(n_row,)` int32: the number of positions of each row, including the new ones.
        cache: The cache to write to.
        counts: `(n_row,)` int32, or None if all n_new positions of every row are to be written.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The shapes do not fit, or a length, a count or a page is out of range.
    """
    a, b = as_strided(k, "k", 3), as_strided(v, "v", 3)
    n_row, n_new, width = a.shape
    expect(a.shape == b.shape, f"k {a.shape} and v {b.shape} must have the same shape")
    expect_type(cache, "cache", KVCache)
    cache.check(pages, width, n_row)
    _check_lengths("lengths", lengths, n_row, n_new if counts is None else 0, pages.shape[1] * PAGE)
    if counts is not None:
        _check_lengths("counts", counts, n_row, 0, n_new)
        expect(bool((counts <= lengths).all()), "counts must not be greater than lengths")
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
    """Compute attention of queries over the keys and values of a KV cache, scaled by `1 / sqrt(d_head)`.

    The result for a query does not depend on the other queries and rows.

    Args:
        q: Queries, `(n_row, n_query, n_head * d_head)`.
        cache: The cache to read.
        pages: The page table, `(n_row, n)` int32 (see `store_pages`).
        lengths: `(n_row,)` int32: the number of positions of each row, at least 1.
        causal: Whether a query attends only to the positions up to its own, as in `attention`. If a row has fewer
            positions than queries, the queries before its first position attend to the first position.

    Returns:
        An array of the shape of q.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The shapes do not fit, or a length or a page is out of range.
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
