"""The storage of a KV cache; test_paged_kernels.py tests the kernels that use it."""

import numpy as np
import pytest

from whisper_apr import simd
from whisper_apr.simd.kv_cache import TYPES


def arrays_of(pages):
    return [x for x in (pages.keys, pages.values, pages.scales) if x is not None]


def filled(dtype, n=37):
    """Write keys and values `(n, 2 * 16)` of one row to pages in reverse order."""
    x = np.random.default_rng(1).standard_normal((2, 1, n, 32), np.float32)
    pages = simd.new_kv_cache(5, 2, 16, dtype)
    table = np.array([[4, 3, 2]], np.int32)
    simd.store_pages(x[0], x[1], table, np.array([n], np.int32), pages)
    return x, pages, table


@pytest.mark.parametrize("dtype", TYPES)
def test_caches_of_several_layers(dtype):
    """Large enough for huge pages: zeroed, aligned, not overlapping, and with the shapes of `new_kv_cache`."""
    layers = simd.new_kv_caches(3, 376, 6, 64, dtype)
    arrays = [x for layer in layers for x in arrays_of(layer)]
    assert sum(x.nbytes for x in arrays) > 4 << 20
    for i, x in enumerate(arrays):
        assert not x.any()
        assert x.ctypes.data % 64 == 0
        assert x.flags.c_contiguous
        x[...] = i + 1
    assert all((x == i + 1).all() for i, x in enumerate(arrays))
    assert [(x.shape, x.dtype) for x in arrays_of(layers[1])] == [
        (x.shape, x.dtype) for x in arrays_of(simd.new_kv_cache(376, 6, 64, dtype))
    ]


@pytest.mark.parametrize("dtype", TYPES)
def test_a_copied_page_gives_the_same_result(dtype):
    x, pages, table = filled(dtype)
    q, lengths = np.ascontiguousarray(x[0][:, :1]), np.array([37], np.int32)
    expected = simd.paged_attention(q, pages, table, lengths)
    pages.copy_pages(np.array([4, 2], np.int32), np.array([0, 1], np.int32))
    moved = np.array([[0, 3, 1]], np.int32)
    for part in (pages.keys, pages.values):
        part[:, [2, 4]] = 99
    if pages.scales is not None:
        pages.scales[:, :, [2, 4]] = 99
    np.testing.assert_array_equal(simd.paged_attention(q, pages, moved, lengths), expected)


@pytest.mark.parametrize(("dtype", "step"), [(np.float32, 0), (np.float16, 2**-11), (np.int8, 0.51 / 127)])
def test_key_panels_of_a_head(dtype, step):
    """Within the rounding error of the type."""
    x, pages, table = filled(dtype)
    panels = pages.key_panels(1, table[0])
    assert panels.shape == (3, 16, 16)
    keys = panels.swapaxes(1, 2).reshape(-1, 16)[:37].astype(np.float32)
    exact = x[0, 0, :, 16:]
    assert (np.abs(keys - exact) <= step * np.abs(exact).max(axis=1, keepdims=True)).all()


def test_inconsistent_caches_are_refused():
    good = simd.new_kv_cache(2, 1, 16, np.int8)
    table = np.zeros((1, 2), np.int32)
    good.check(table, 16, 1)
    keys, values, scales = good.keys, good.values, good.scales
    for wrong, message in [
        (simd.KVCache(keys, values), "int8 pages have scales"),
        (simd.KVCache(keys.astype(np.float32), values.astype(np.float32), scales), "int8 pages have scales"),
        (simd.KVCache(keys.astype(np.int16), values.astype(np.int16), scales), "float32, float16 or int8"),
        (simd.KVCache(keys, values.astype(np.float32), scales), "float32, float16 or int8"),
        (simd.KVCache(keys, values[:, :1], scales), "pages of shape"),
        (simd.KVCache(keys, values, scales.astype(np.float64)), "scales of pages"),
        (simd.KVCache(keys, values, scales[:1]), "scales of pages"),
        (simd.KVCache(keys[:, ::-1], values, scales), "C-contiguous"),
    ]:
        with pytest.raises(ValueError, match=message):
            wrong.check(table, 16, 1)
    for pages, width, n_row, message in [
        (table, 17, 1, "width 17"),
        (table, 16, 2, "page table must be int32"),
        (table.astype(np.int64), 16, 1, "page table must be int32"),
        (table + 2, 16, 1, "within 2 pages"),
        (table - 1, 16, 1, "within 2 pages"),
    ]:
        with pytest.raises(ValueError, match=message):
            good.check(pages, width, n_row)
