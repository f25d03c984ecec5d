"""How matrices lie in memory for the kernels: panels of 16 columns, the same for every backend.

A weight `(n_out, n_in)` becomes `(n_panel, n_in, 16)`: one panel holds 16 outputs side by side, so that a kernel reads
straight on while it walks over the inputs, with vectors of 4, 8 or 16 lanes. The last panel is filled up with zeros.
Pages of the key-value cache use the same 16: 16 positions a page, keys as a panel `(d_head, 16)`, values as `(16, d_head)`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

PANEL = 16
ALIGNMENT = 64  # bytes: a cache line, and the widest vector


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised C-contiguous array that begins at a multiple of 64 bytes."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    begin = -raw.ctypes.data % ALIGNMENT
    return raw[begin : begin + size].view(kind).reshape(shape)


def aligned_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """As `aligned_empty`, of zeros; large arrays take memory only where they are written."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    begin = -raw.ctypes.data % ALIGNMENT
    return raw[begin : begin + size].view(kind).reshape(shape)


def pack_panels(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`(n_out, n_in)` -> `(ceil(n_out / 16), n_in, 16)` in the same dtype."""
    n_out, n_in = weight.shape
    whole = n_out // PANEL
    panels = aligned_empty((-(-n_out // PANEL), n_in, PANEL), weight.dtype)
    panels[:whole] = weight[: whole * PANEL].reshape(whole, PANEL, n_in).swapaxes(1, 2)
    if whole < len(panels):
        panels[whole] = 0
        panels[whole, :, : n_out - whole * PANEL] = weight[whole * PANEL :].T
    return panels


def unpack_panels(panels: npt.NDArray[Any], n_out: int) -> npt.NDArray[Any]:
    """The inverse of `pack_panels`."""
    n_panel, n_in, _ = panels.shape
    return panels.swapaxes(1, 2).reshape(n_panel * PANEL, n_in)[:n_out]
