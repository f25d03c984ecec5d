"""How matrices lie in memory for the kernels: panels of 16 outputs, the same for every backend.

float32, float16: a weight `(n_out, n_in)` becomes `(n_panel, n_in, 16)`: one panel holds 16 outputs side by side, so that a kernel
reads straight on while it walks over the inputs, with vectors of 4, 8 or 16 lanes. The last panel is filled up with zeros.

int8: `(n_panel, ceil(n_in / 4), 16, 4)`: the 4 inputs that a dot-product instruction sums lie side by side, 64 bytes for 16 outputs.

int4: `(n_panel, n_group, 4, 16, 4)` bytes, a group being 32 inputs: byte `[p, g, v, o, i]` holds input `32 g + 4 v + i` in its low half
and input `32 g + 16 + 4 v + i` in its high half, each as the value + 8.

Pages of the key-value cache use the same 16: 16 positions a page, keys as a panel `(d_head, 16)`, values as `(16, d_head)`; in int8 as
int8's panels, keys of 16 positions `(ceil(d_head / 4), 16, 4)`, values of d_head dimensions `(4, d_head, 4)`, quads of positions.
"""

import math
import mmap
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import as_index, expect

PANEL = 16
QUAD = 4  # inputs that lie side by side in an int8 panel
GROUP = 32  # inputs that share a scale in an int4 panel
ALIGNMENT = 64  # bytes: a cache line, and the widest vector
MAX_DIMENSIONS = 64  # NumPy's own limit
HUGE_PAGE = 2 << 20  # bytes, on x86-64, and on aarch64 with pages of 4 KiB


def _as_form(shape: Sequence[int], dtype: npt.DTypeLike) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return a shape and an element type, checked: TypeError or ValueError for what is none, or beyond all memory."""
    try:
        kind = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):
        raise TypeError(f"dtype must be an element type, not {dtype!r:.40}") from None
    if kind.hasobject or not kind.itemsize:
        raise TypeError(f"dtype must be of numbers, not {kind}")
    if not isinstance(shape, Sequence) or isinstance(shape, str | bytes):
        raise TypeError(f"shape must be a tuple of whole numbers, not {type(shape).__name__}")
    form = tuple(as_index(n, "a size", 0) for n in shape)
    expect(len(form) <= MAX_DIMENSIONS, f"a shape has at most {MAX_DIMENSIONS} dimensions, not {len(form)}")
    size = math.prod(n or 1 for n in form) * kind.itemsize
    expect(size <= sys.maxsize - HUGE_PAGE, "an array of such a shape is larger than any memory")
    return form, kind


def _carved(
    raw: npt.NDArray[np.uint8], alignment: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """The array of this shape that begins at the first multiple of `alignment` within raw."""
    begin = -raw.ctypes.data % alignment
    return raw[begin : begin + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised C-contiguous array that begins at a multiple of 64 bytes.

    Raises TypeError or ValueError for what is no shape or no element type.
    """
    shape, kind = _as_form(shape, dtype)
    return _carved(np.empty(math.prod(shape) * kind.itemsize + ALIGNMENT, np.uint8), ALIGNMENT, shape, kind)


def aligned_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """As `aligned_empty`, of zeros; large arrays take memory only where they are written."""
    shape, kind = _as_form(shape, dtype)
    return _carved(np.zeros(math.prod(shape) * kind.itemsize + ALIGNMENT, np.uint8), ALIGNMENT, shape, kind)


def huge_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """As `aligned_zeros`, for what is large and will be written whole: on Linux in pages of 2 MiB, of which a new one costs a fifth of as many
    small ones, and which the processor finds faster."""
    shape, kind = _as_form(shape, dtype)
    size = math.prod(shape) * kind.itemsize
    if size < HUGE_PAGE or sys.platform != "linux":  # WebAssembly's mmap is an allocation, twice written
        return aligned_zeros(shape, dtype)
    try:
        block = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        block.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # too little memory, which NumPy will say, or a kernel built without huge pages
        return aligned_zeros(shape, dtype)
    return _carved(np.frombuffer(block, np.uint8), HUGE_PAGE, shape, kind)


def div_up(a: int, b: int) -> int:
    return -(-a // b)


def pack_panels(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`(n_out, n_in)` -> `(ceil(n_out / 16), n_in, 16)` in the same dtype."""
    n_out, n_in = weight.shape
    whole = n_out // PANEL
    panels = aligned_empty((div_up(n_out, PANEL), n_in, PANEL), weight.dtype)
    panels[:whole] = weight[: whole * PANEL].reshape(whole, PANEL, n_in).swapaxes(1, 2)
    if whole < len(panels):
        panels[whole] = 0
        panels[whole, :, : n_out - whole * PANEL] = weight[whole * PANEL :].T
    return panels


def unpack_panels(panels: npt.NDArray[Any], n_out: int) -> npt.NDArray[Any]:
    """The inverse of `pack_panels`."""
    n_panel, n_in, _ = panels.shape
    return panels.swapaxes(1, 2).reshape(n_panel * PANEL, n_in)[:n_out]


def _padded(values: npt.NDArray[np.int8], step: int) -> npt.NDArray[np.int8]:
    """Zeros added up to whole panels and to a multiple of `step` inputs."""
    n_out, n_in = values.shape
    padded = np.zeros((div_up(n_out, PANEL) * PANEL, div_up(n_in, step) * step), np.int8)
    padded[:n_out, :n_in] = values
    return padded


def pack_int8(values: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """`(n_out, n_in)` -> `(ceil(n_out / 16), ceil(n_in / 4), 16, 4)`."""
    padded = _padded(values, QUAD)
    quads = padded.reshape(len(padded) // PANEL, PANEL, padded.shape[1] // QUAD, QUAD).swapaxes(1, 2)
    panels = aligned_empty(quads.shape, np.int8)
    panels[...] = quads
    return panels


def unpack_int8(panels: npt.NDArray[np.int8], n_out: int, n_in: int) -> npt.NDArray[np.int8]:
    """The inverse of `pack_int8`."""
    n_panel, n_quad = panels.shape[:2]
    return panels.swapaxes(1, 2).reshape(n_panel * PANEL, n_quad * QUAD)[:n_out, :n_in]


def pack_int4(values: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """`(n_out, n_in)` of values from -8 to 7 -> `(ceil(n_out / 16), ceil(n_in / 32), 4, 16, 4)` bytes."""
    padded = _padded(values, GROUP)
    n_group = padded.shape[1] // GROUP
    halves = (padded + 8).view(np.uint8).reshape(len(padded) // PANEL, PANEL, n_group, 2, 4, QUAD)
    panels = aligned_empty((len(halves), n_group, 4, PANEL, QUAD), np.uint8)
    panels[...] = (halves[:, :, :, 0] | halves[:, :, :, 1] << 4).transpose(0, 2, 3, 1, 4)
    return panels


def unpack_int4(panels: npt.NDArray[np.uint8], n_out: int, n_in: int) -> npt.NDArray[np.int8]:
    """The inverse of `pack_int4`."""
    n_panel, n_group = panels.shape[:2]
    packed = panels.transpose(0, 3, 1, 2, 4)  # (n_panel, 16, n_group, 4, 4)
    halves = np.stack([packed & 15, packed >> 4], axis=3).view(np.int8) - np.int8(8)
    return halves.reshape(n_panel * PANEL, n_group * GROUP)[:n_out, :n_in]


def page_shapes(d_head: int, dtype: npt.DTypeLike) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of one page's keys, and of its values."""
    if np.dtype(dtype) == np.int8:
        return (div_up(d_head, QUAD), PANEL, QUAD), (PANEL // QUAD, d_head, QUAD)
    return (d_head, PANEL), (PANEL, d_head)


def keys_by_position(keys: npt.NDArray[Any], d_head: int) -> npt.NDArray[Any]:
    """Pages `(n_head, n_page, ...)` as `(n_head, n_page * 16, d_head)`."""
    return keys.swapaxes(2, 3).reshape(len(keys), keys.shape[1] * PANEL, -1)[..., :d_head]


def values_by_position(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pages `(n_head, n_page, ...)` as `(n_head, n_page * 16, d_head)`."""
    by_slot = values.swapaxes(3, 4) if values.dtype == np.int8 else values
    return by_slot.reshape(len(values), values.shape[1] * PANEL, -1)
