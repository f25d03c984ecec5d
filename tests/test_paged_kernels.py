"""Attention over the pages of a KV cache, and writing to them, on every backend."""

import numpy as np
import pytest

import cases
from test_kernels import as_rows, exact_attention, qkv
from whisper_apr import simd
from whisper_apr.simd.layout import keys_by_position, values_by_position


def as_stored(x, dtype):
    """Return the values `(..., d_head)` as a cache of this type represents them."""
    if dtype != np.int8:
        return x.astype(dtype).astype(np.float32)
    scale = np.abs(x).max(axis=-1, keepdims=True) / np.float32(127)
    return np.rint(x * (np.float32(127) / np.abs(x).max(axis=-1, keepdims=True))) * scale


# tolerance for values of about 1: weights are rounded to 14 bits (an error of 3e-5 of the largest), queries to 16
INT8_ATTENTION = 2e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [s for s in cases.ATTENTIONS if 0 not in s], ids=str)
def test_paged_attention(backend, shape, causal, dtype):
    """Keys and values are written in two parts, to pages in random order."""
    batch, n_head, _, n_key, d_head = shape
    q, k, v = qkv(shape)
    n_page = -(-n_key // simd.PAGE)
    pages = np.random.default_rng(0).permutation(batch * n_page).reshape(batch, n_page).astype(np.int32)
    cache = simd.new_kv_cache(batch * n_page, n_head, d_head, dtype)
    half = n_key // 2
    for part, start in ((slice(0, half), 0), (slice(half, None), half)):
        lengths = np.full(batch, start + len(range(n_key)[part]), np.int32)
        simd.store_pages(as_rows(k)[:, part], as_rows(v)[:, part], pages, lengths, cache)
    got = simd.paged_attention(as_rows(q), cache, pages, np.full(batch, n_key, np.int32), causal=causal)
    expected = exact_attention(q, as_stored(k, dtype), as_stored(v, dtype), causal)
    np.testing.assert_allclose(got, as_rows(expected), rtol=0, atol=INT8_ATTENTION if dtype == np.int8 else 3e-6)


def int8_paged(q, k, v, causal=False):
    """Compute attention over the int8 pages of one row; all arrays are `(n, n_head * d_head)`."""
    n, width = k.shape
    pages = np.arange(-(-n // simd.PAGE), dtype=np.int32)[::-1][None].copy()
    cache = simd.new_kv_cache(pages.size, width // q.shape[2], q.shape[2], np.int8)
    lengths = np.array([n], np.int32)
    simd.store_pages(k[None], v[None], pages, lengths, cache)
    return simd.paged_attention(q.reshape(1, -1, width), cache, pages, lengths, causal=causal)[0]


@pytest.mark.parametrize("d_head", [64, 128])
def test_int8_attention_does_not_depend_on_other_queries(compiled_backend, d_head):
    """And it agrees with `scalar` within the error of rounding a weight differently."""
    q, k, v = cases.normal(1, 13, 2, d_head), cases.normal(2, 135, 2 * d_head), cases.normal(3, 135, 2 * d_head)
    for factor in (1, 30):
        together = int8_paged(factor * q, k, v)
        for n in range(1, 8):
            np.testing.assert_array_equal(int8_paged(factor * q[:n], k, v), together[:n])
        with simd.use_backend("scalar"):
            np.testing.assert_allclose(together, int8_paged(factor * q, k, v), rtol=0, atol=INT8_ATTENTION)


@pytest.mark.parametrize("d_head", [512, 576])
def test_int8_attention_with_the_largest_sums(backend, d_head):
    """All quantized values are extremes; the sums of 512 dimensions still fit."""
    q = np.full((2, 1, d_head), 1 / 16, np.float32)
    q[1] *= -1
    k = np.repeat(np.array([[1.0], [0.5], [-1.0]], np.float32), d_head, axis=1)
    v = cases.normal(1, 3, d_head)
    expected = exact_attention(q[None, :, 0], k[None], as_stored(v, np.int8)[None], False)[0]
    np.testing.assert_allclose(int8_paged(q, k, v), expected, rtol=0, atol=INT8_ATTENTION)


def test_int8_attention_with_non_finite_values(backend):
    """NaN or infinity in a query, a key or a value gives NaN only in the results that depend on it."""
    q, k, v = cases.normal(1, 3, 2, 64), cases.normal(2, 40, 128), cases.normal(3, 40, 128)
    good = int8_paged(q, k, v)
    for wrong in (np.nan, np.inf):
        for poisoned, rows, columns in (
            (q[1:2], [1], slice(64, 128)),
            (k, [0, 1, 2], slice(64, 128)),
            (v, [0, 1, 2], slice(64, 128)),
        ):
            place = (0, 1, 7) if poisoned.ndim == 3 else (17, 64 + 7)
            kept, poisoned[place] = poisoned[place], wrong
            got = int8_paged(q, k, v)
            poisoned[place] = kept
            mask = np.zeros_like(got, bool)
            mask[rows, columns] = True
            assert np.isnan(got[mask]).all()
            np.testing.assert_array_equal(got[~mask], good[~mask])


def test_rows_of_different_lengths(backend):
    q, k, v = qkv((3, 2, 1, 40, 16))
    pages = np.arange(9, dtype=np.int32).reshape(3, 3)
    cache = simd.new_kv_cache(9, 2, 16)
    simd.store_pages(as_rows(k), as_rows(v), pages, np.full(3, 40, np.int32), cache)
    lengths = np.array([1, 17, 40], np.int32)
    got = simd.paged_attention(as_rows(q), cache, pages, lengths)
    for row, n in enumerate(lengths):
        expected = exact_attention(q[row : row + 1], k[row : row + 1, :, :n], v[row : row + 1, :, :n], False)
        np.testing.assert_allclose(got[row : row + 1], as_rows(expected), rtol=0, atol=3e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_unwritten_slots_of_a_page_are_never_read(backend, dtype):
    cache = simd.new_kv_cache(2, 1, 16, dtype)
    for numbers in (cache.keys, cache.values) if cache.scales is None else (cache.scales,):
        numbers[...] = np.nan
    pages = np.array([[0, 1]], np.int32)
    k = cases.normal(1, 1, 17, 16)
    simd.store_pages(k, k, pages, np.array([17], np.int32), cache)
    for n_query in (1, 17):
        y = simd.paged_attention(k[:, -n_query:], cache, pages, np.array([17], np.int32), causal=True)
        assert np.isfinite(y).all()


def test_float16_caches_round_as_numpy_does(compiled_backend):
    """Ties to even, subnormals, overflow to infinity."""
    x = np.concatenate(
        [
            np.linspace(-70000, 70000, 999),
            np.geomspace(1e-9, 70000, 999),
            [0.0, -0.0, 65519.99, 65520, 2**-25, 3 * 2**-25],
        ]
    )
    x = np.resize(x.astype(np.float32), (1, 126, 16))
    cache = simd.new_kv_cache(8, 1, 16, np.float16)
    simd.store_pages(x, x, np.arange(8, dtype=np.int32)[None], np.array([126], np.int32), cache)
    with np.errstate(over="ignore"):
        expected = x[0].astype(np.float16)
    np.testing.assert_array_equal(cache.values.reshape(-1, 16)[:126], expected)
    np.testing.assert_array_equal(cache.keys[0].swapaxes(1, 2).reshape(-1, 16)[:126], expected)


def int8_cache(x):
    """Write positions `(n, d_head)` of one head to int8 pages; return the keys, the values, and the scales of both."""
    n, d_head = x.shape
    n_page = -(-n // simd.PAGE)
    cache = simd.new_kv_cache(n_page, 1, d_head, np.int8)
    simd.store_pages(x[None], x[None], np.arange(n_page, dtype=np.int32)[None], np.array([n], np.int32), cache)
    keys, values = keys_by_position(cache.keys, d_head)[0], values_by_position(cache.values)[0]
    return keys[:n], values[:n], *cache.scales.reshape(2, -1)[:, :n]


@pytest.mark.parametrize("d_head", [16, 5])
def test_quantization_in_an_int8_cache(backend, d_head):
    """Ties to even, zeros, tiny numbers; the scale of a position with infinity or NaN is NaN."""
    x = cases.normal(1, 39, d_head)
    x[3] = 0
    x[4] = 1e-31
    x[5, :4] = [127, 0.5, 1.5, -2.5]
    x[5, 4:] = 0
    keys, values, key_scales, value_scales = int8_cache(x)
    np.testing.assert_array_equal(keys, values)
    np.testing.assert_array_equal(key_scales, value_scales)
    np.testing.assert_allclose(keys * key_scales[:, None], x, rtol=0, atol=0.5001 * np.abs(x).max() / 127)
    assert not keys[3:5].any()
    assert not key_scales[3:5].any()
    assert keys[5, :4].tolist() == [127, 0, 2, -2]
    assert np.abs(np.delete(keys, [3, 4], 0)).max(axis=1).tolist() == 37 * [127]
    for wrong in (np.inf, -np.inf, np.nan):
        x[7, 2] = wrong
        poisoned = int8_cache(x)
        assert np.flatnonzero(np.isnan(poisoned[2])).tolist() == np.flatnonzero(np.isnan(poisoned[3])).tolist() == [7]
        np.testing.assert_array_equal(np.delete(poisoned[0], 7, 0), np.delete(keys, 7, 0))


def test_int8_caches_are_equal_on_every_backend(compiled_backend):
    x = cases.normal(2, 75, 24)
    with simd.use_backend("scalar"):
        expected = int8_cache(x)
    for ours, theirs in zip(int8_cache(x), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
