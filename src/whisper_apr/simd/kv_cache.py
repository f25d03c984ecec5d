"""The memory of a KV cache: pages of 16 positions, which a page table assigns to rows in any order.

`store_pages` writes to a cache, `paged_attention` reads it. As in PagedAttention (Kwon et al. 2023), rows can share
pages: a full page is never written again, so only the page that is being filled must be copied when a row is
duplicated, as in a beam search.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import as_index, expect
from .layout import PANEL, aligned_zeros, huge_zeros, page_shapes

PAGE = PANEL
"""Positions that one page of a KV cache holds: 16."""
TYPES = (np.float32, np.float16, np.int8)


@dataclass(frozen=True, eq=False)
class KVCache:
    """Pages of keys and values of one attention layer, as float32, float16 or int8.

    The pages of one head are contiguous, so that a kernel reads memory sequentially. Create a cache with
    `new_kv_cache` or `new_kv_caches`.

    In int8, the keys of one position and head are quantized symmetrically, and so are its values: `round(x / scale)`,
    half to even, with `scale = max |x| / 127`. `paged_attention` then also rounds the queries to 16 bits, and the
    softmax weights to 14 bits, relative to the largest of each block of 64.

    Attributes:
        keys: `(n_head, n_page, d_head, 16)`; int8: `(n_head, n_page, ceil(d_head / 4), 16, 4)`.
        values: `(n_head, n_page, 16, d_head)`; int8: `(n_head, n_page, 4, d_head, 4)`.
        scales: `(2, n_head, n_page, 16)` float32, the scales of the keys and of the values; None unless int8.

    Raises:
        TypeError: `keys` or `values` is not an array, or `scales` is neither an array nor None.
    """

    keys: npt.NDArray[Any]
    values: npt.NDArray[Any]
    scales: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for name in ("keys", "values", "scales"):
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) and (array is not None or name != "scales"):
                raise TypeError(f"{name} must be an array, not {type(array).__name__}")

    @property
    def d_head(self) -> int:
        """Dimensions of a head."""
        return int(self.values.shape[3])

    def copy_pages(self, source: npt.NDArray[np.int32], target: npt.NDArray[np.int32]) -> None:
        """Copy pages within the cache: page `source[i]` to page `target[i]`."""
        self.keys[:, target] = self.keys[:, source]
        self.values[:, target] = self.values[:, source]
        if self.scales is not None:
            self.scales[:, :, target] = self.scales[:, :, source]

    def key_panels(self, head: int, pages: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
        """Return the keys of one head as the panels of a float matrix whose rows are positions.

        Args:
            head: Index of the head.
            pages: `(n,)` int32: the pages to read, in order.

        Returns:
            `(n, d_head, 16)`, float16 from a float16 cache, otherwise float32.
        """
        keys: npt.NDArray[Any] = self.keys[head, pages]
        if self.scales is not None:
            dimensions = keys.swapaxes(2, 3).reshape(len(pages), -1, PAGE)[:, : self.d_head]
            keys = dimensions * self.scales[0, head, pages, None]
        return keys

    def check(self, pages: npt.NDArray[np.int32], width: int, n_row: int) -> None:
        """Check that the cache's arrays are consistent and fit a page table.

        Args:
            pages: The page table, `(n_row, n)` int32.
            width: Expected `n_head * d_head`.
            n_row: Expected number of rows of the page table.

        Raises:
            TypeError: The page table is not an array.
            ValueError: The arrays are inconsistent, or the page table names pages that do not exist.
        """
        arrays = (self.keys, self.values, *(() if self.scales is None else (self.scales,)))
        expect(
            self.keys.dtype == self.values.dtype and self.keys.dtype in TYPES,
            "keys and values must both be float32, float16 or int8",
        )
        expect((self.keys.dtype == np.int8) == (self.scales is not None), "int8 pages have scales, other types do not")
        shapes = (self.keys.shape, self.values.shape)
        expect(
            self.values.ndim >= 4
            and shapes == tuple((*shapes[1][:2], *page) for page in page_shapes(self.d_head, self.keys.dtype)),
            f"keys and values do not form pages of shape {self.keys.shape}, {self.values.shape}",
        )
        (n_head, n_page), d_head = shapes[1][:2], self.d_head
        expect(
            self.scales is None or (self.scales.dtype == np.float32 and self.scales.shape == (2, n_head, n_page, PAGE)),
            f"the scales of pages must be float32 of shape (2, {n_head}, {n_page}, {PAGE})",
        )
        expect(all(array.flags.c_contiguous for array in arrays), "pages must be C-contiguous")
        expect(width == n_head * d_head, f"width {width} does not fit pages of shape {self.keys.shape}")
        if not isinstance(pages, np.ndarray):
            raise TypeError(f"the page table must be an int32 array, not {type(pages).__name__}")
        if pages.dtype != np.int32 or pages.ndim != 2 or len(pages) != n_row:
            raise ValueError(f"the page table must be int32 ({n_row}, n), not {pages.dtype} {pages.shape}")
        if not pages.flags.c_contiguous:
            raise ValueError("the page table must be C-contiguous")
        expect(
            not pages.size or (pages.min() >= 0 and pages.max() < n_page),
            f"the page table must stay within {n_page} pages",
        )


def _new_scales(dtype: npt.DTypeLike, *shape: int) -> npt.NDArray[np.float32] | None:
    return aligned_zeros((*shape, PAGE), np.float32) if np.dtype(dtype) == np.int8 else None


def _checked_sizes(n_page: int, n_head: int, d_head: int, dtype: npt.DTypeLike) -> tuple[int, int, int]:
    try:
        known = np.dtype(dtype) in TYPES
    except (TypeError, ValueError, SyntaxError):
        known = False
    if not known:
        raise TypeError(f"dtype must be float32, float16 or int8, not {dtype!r:.40}")
    return as_index(n_page, "n_page", 0), as_index(n_head, "n_head", 0), as_index(d_head, "d_head", 1)


def new_kv_cache(n_page: int, n_head: int, d_head: int, dtype: npt.DTypeLike = np.float32) -> KVCache:
    """Create a zeroed KV cache.

    Args:
        n_page: Number of pages of 16 positions.
        n_head: Number of heads.
        d_head: Dimensions of a head, at least 1.
        dtype: float32, float16 or int8.

    Raises:
        TypeError: A size is not an integer, or the dtype is not supported.
        ValueError: A size is out of range.
    """
    n_page, n_head, d_head = _checked_sizes(n_page, n_head, d_head, dtype)
    keys, values = page_shapes(d_head, dtype)
    return KVCache(
        aligned_zeros((n_head, n_page, *keys), dtype),
        aligned_zeros((n_head, n_page, *values), dtype),
        _new_scales(dtype, 2, n_head, n_page),
    )


def new_kv_caches(
    n_layer: int, n_page: int, n_head: int, d_head: int, dtype: npt.DTypeLike = np.float32
) -> list[KVCache]:
    """Create one zeroed KV cache for each layer, all in one allocation of huge pages (see `huge_zeros`).

    Prefer it to `new_kv_cache` for large caches that are filled at once, such as those of a cross-attention.

    Args:
        n_layer: Number of caches.
        n_page: As for `new_kv_cache`, of each cache.
        n_head: As for `new_kv_cache`.
        d_head: As for `new_kv_cache`.
        dtype: As for `new_kv_cache`.

    Raises:
        TypeError: As for `new_kv_cache`.
        ValueError: As for `new_kv_cache`.
    """
    n_layer = as_index(n_layer, "n_layer", 0)
    n_page, n_head, d_head = _checked_sizes(n_page, n_head, d_head, dtype)
    keys, values = ((n_head, n_page, *page) for page in page_shapes(d_head, dtype))
    size = math.prod(keys)
    block = huge_zeros((n_layer, size + math.prod(values)), dtype)
    scales = _new_scales(dtype, n_layer, 2, n_head, n_page)
    return [
        KVCache(layer[:size].reshape(keys), layer[size:].reshape(values), None if scales is None else scales[i])
        for i, layer in enumerate(block)
    ]
