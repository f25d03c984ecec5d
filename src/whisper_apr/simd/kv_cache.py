"""The key-value cache's memory: pages of 16 positions, which rows name in any order.

`whisper_apr.simd` writes and reads them.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import as_index, expect
from .layout import PANEL, aligned_zeros, huge_zeros, page_shapes

PAGE = PANEL  # positions that one page holds
TYPES = (np.float32, np.float16, np.int8)


@dataclass(frozen=True, eq=False)
class KVCache:
    """Keys and values of so many pages, float32, float16 or int8; a head's pages lie together, so that they are read
    straight on.

    int8: each position's keys of a head, and its values, are `round(x / step)`, half to even, with `step = max |x| /
    127`. What `paged_attention` multiplies them with is rounded too: queries to 16 bits, and weights to 14 bits of the
    largest of 64.
    """

    keys: npt.NDArray[Any]  # (n_head, n_page, d_head, 16); int8: (n_head, n_page, ceil(d_head / 4), 16, 4)
    values: npt.NDArray[Any]  # (n_head, n_page, 16, d_head); int8: (n_head, n_page, 4, d_head, 4)
    scales: npt.NDArray[np.float32] | None = None  # int8: (2, n_head, n_page, 16), the keys' and the values'

    def __post_init__(self) -> None:
        for name in ("keys", "values", "scales"):
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) and (array is not None or name != "scales"):
                raise TypeError(f"{name} must be an array, not {type(array).__name__}")

    @property
    def d_head(self) -> int:
        return int(self.values.shape[3])

    def copy_pages(self, origin: npt.NDArray[np.int32], to: npt.NDArray[np.int32]) -> None:
        """Pages `to` become what pages `origin` are."""
        self.keys[:, to] = self.keys[:, origin]
        self.values[:, to] = self.values[:, origin]
        if self.scales is not None:
            self.scales[:, :, to] = self.scales[:, :, origin]

    def key_panels(self, head: int, pages: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
        """One head's keys as floats, `(n, d_head, 16)`: the panels of a matrix of positions."""
        keys: npt.NDArray[Any] = self.keys[head, pages]
        if self.scales is not None:
            dimensions = keys.swapaxes(2, 3).reshape(len(pages), -1, PAGE)[:, : self.d_head]
            keys = dimensions * self.scales[0, head, pages, None]
        return keys

    def check(self, pages: npt.NDArray[np.int32], width: int, n_row: int) -> None:
        """Raises ValueError unless these are pages for rows of `width` numbers, and `pages` a table of theirs."""
        arrays = (self.keys, self.values, *(() if self.scales is None else (self.scales,)))
        expect(
            self.keys.dtype == self.values.dtype and self.keys.dtype in TYPES,
            "keys and values must be float32, float16 or int8",
        )
        expect((self.keys.dtype == np.int8) == (self.scales is not None), "int8 pages have scales, and only these")
        shapes = (self.keys.shape, self.values.shape)
        expect(
            self.values.ndim >= 4
            and shapes == tuple((*shapes[1][:2], *page) for page in page_shapes(self.d_head, self.keys.dtype)),
            f"pages of shape {self.keys.shape}, {self.values.shape}",
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


def _scales(dtype: npt.DTypeLike, *shape: int) -> npt.NDArray[np.float32] | None:
    return aligned_zeros((*shape, PAGE), np.float32) if np.dtype(dtype) == np.int8 else None


def _page_form(n_page: int, n_head: int, d_head: int, dtype: npt.DTypeLike) -> tuple[int, int, int]:
    """Return the sizes, checked."""
    try:
        known = np.dtype(dtype) in TYPES
    except (TypeError, ValueError, SyntaxError):
        known = False
    if not known:
        raise TypeError(f"pages are float32, float16 or int8, not {dtype!r:.40}")
    return as_index(n_page, "n_page", 0), as_index(n_head, "n_head", 0), as_index(d_head, "d_head", 1)


def new_kv_cache(n_page: int, n_head: int, d_head: int, dtype: npt.DTypeLike = np.float32) -> KVCache:
    """Storage for a key-value cache, zeroed.

    Raises TypeError or ValueError for what are no sizes or no type of pages.
    """
    n_page, n_head, d_head = _page_form(n_page, n_head, d_head, dtype)
    keys, values = page_shapes(d_head, dtype)
    return KVCache(
        aligned_zeros((n_head, n_page, *keys), dtype),
        aligned_zeros((n_head, n_page, *values), dtype),
        _scales(dtype, 2, n_head, n_page),
    )


def new_kv_caches(
    n_layer: int, n_page: int, n_head: int, d_head: int, dtype: npt.DTypeLike = np.float32
) -> list[KVCache]:
    """`new_kv_cache` for each layer, in one piece of memory.

    For what is large and will be filled at once, as an audio's keys and values are.
    """
    n_layer = as_index(n_layer, "n_layer", 0)
    n_page, n_head, d_head = _page_form(n_page, n_head, d_head, dtype)
    keys, values = ((n_head, n_page, *page) for page in page_shapes(d_head, dtype))
    size = math.prod(keys)
    block = huge_zeros((n_layer, size + math.prod(values)), dtype)
    scales = _scales(dtype, n_layer, 2, n_head, n_page)
    return [
        KVCache(layer[:size].reshape(keys), layer[size:].reshape(values), None if scales is None else scales[i])
        for i, layer in enumerate(block)
    ]
