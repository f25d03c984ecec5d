"""The memory layout of packed matrices and KV-cache pages: panels of 16 outputs, the same for every backend.

The layout follows the packing of BLIS (Van Zee and van de Geijn 2015), with a panel width of 16 for all instruction
sets, so that a packed weight can be stored in a file and used by any backend.

- float32, float16: a weight `(n_out, n_in)` is packed as `(n_panel, n_in, 16)`. A panel holds 16 outputs side by side,
  so that a kernel reads memory sequentially as it steps over the inputs, with vectors of 4, 8 or 16 lanes. The last
  panel is padded with zeros.
- int8: `(n_panel, ceil(n_in / 4), 16, 4)`. The 4 consecutive inputs of an output that a dot-product instruction sums,
  a *quad*, are adjacent: 64 bytes for 16 outputs.
- int4: `(n_panel, n_group, 4, 16, 4)` bytes; the 32 inputs of an output that share a scale are a *group*. Byte
  `[p, g, v, o, i]` holds input `32 g + 4 v + i` in its low half and input `32 g + 16 + 4 v + i` in its high half, each
  with a zero point of 8.

A page of the KV cache holds 16 positions: the keys as a panel `(d_head, 16)`, the values as `(16, d_head)`. In int8
both are panels of quads: keys `(ceil(d_head / 4), 16, 4)`, quads of dimensions; values `(4, d_head, 4)`, quads of
positions.
"""

import math
import mmap
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import as_index, expect

PANEL = 16  # outputs of a panel; positions of a page
QUAD = 4  # adjacent inputs of one output in an int8 panel
GROUP = 32  # inputs that share a scale in an int4 panel
ALIGNMENT = 64  # bytes: a cache line, and the widest vector
MAX_DIMENSIONS = 64  # NumPy's own limit
HUGE_PAGE = 2 << 20  # bytes, on x86-64 and on aarch64 with 4 KiB pages


def _checked_shape(shape: Sequence[int], dtype: npt.DTypeLike) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return a shape as a tuple of ints, and a dtype.

    Raises:
        TypeError: The shape is not a sequence of integers, or the dtype is not numeric.
        ValueError: A size is negative, or the array would not fit in any memory.
    """
    try:
        kind = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):
        raise TypeError(f"dtype must be a NumPy dtype, not {dtype!r:.40}") from None
    if kind.hasobject or not kind.itemsize:
        raise TypeError(f"dtype must be numeric, not {kind}")
    if not isinstance(shape, Sequence) or isinstance(shape, str | bytes):
        raise TypeError(f"shape must be a tuple of integers, not {type(shape).__name__}")
    sizes = tuple(as_index(n, "a size", 0) for n in shape)
    expect(len(sizes) <= MAX_DIMENSIONS, f"shape must have at most {MAX_DIMENSIONS} dimensions, not {len(sizes)}")
    size = math.prod(n or 1 for n in sizes) * kind.itemsize
    expect(size <= sys.maxsize - HUGE_PAGE, "shape must not need more bytes than a process can address")
    return sizes, kind


def _aligned_view(
    raw: npt.NDArray[np.uint8], alignment: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Return an array of this shape that starts at the first multiple of `alignment` bytes within raw."""
    begin = -raw.ctypes.data % alignment
    return raw[begin : begin + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an uninitialized C-contiguous array that starts at a multiple of 64 bytes.

    Args:
        shape: Shape of the array.
        dtype: A numeric dtype.

    Raises:
        TypeError: The shape is not a tuple of integers, or the dtype is not numeric.
        ValueError: A size is negative, or the array would not fit in any memory.
    """
    shape, kind = _checked_shape(shape, dtype)
    return _aligned_view(np.empty(math.prod(shape) * kind.itemsize + ALIGNMENT, np.uint8), ALIGNMENT, shape, kind)


def aligned_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return a zeroed array like `aligned_empty`; the system allocates the memory of large arrays on first write."""
    shape, kind = _checked_shape(shape, dtype)
    return _aligned_view(np.zeros(math.prod(shape) * kind.itemsize + ALIGNMENT, np.uint8), ALIGNMENT, shape, kind)


def huge_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return a zeroed array that starts at a multiple of 64 bytes, on Linux in huge pages of 2 MiB.

    Use it for large arrays that are written in full: a huge page costs a fifth of the page faults' time of as many
    4 KiB pages, and address translation is faster. Arrays below 2 MiB, and other platforms, use ordinary pages.

    Args:
        shape: As for `aligned_empty`.
        dtype: As for `aligned_empty`.

    Raises:
        TypeError: As for `aligned_empty`.
        ValueError: As for `aligned_empty`.
    """
    shape, kind = _checked_shape(shape, dtype)
    size = math.prod(shape) * kind.itemsize
    if size < HUGE_PAGE or sys.platform != "linux":  # mmap in WebAssembly is malloc and memset: no gain
        return aligned_zeros(shape, dtype)
    try:
        block = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        block.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # not enough memory (NumPy raises MemoryError below), or a kernel without huge pages
        return aligned_zeros(shape, dtype)
    return _aligned_view(np.frombuffer(block, np.uint8), HUGE_PAGE, shape, kind)


def div_up(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def pack_panels(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pack `(n_out, n_in)` as `(ceil(n_out / 16), n_in, 16)` of the same dtype."""
    n_out, n_in = weight.shape
    whole = n_out // PANEL
    panels = aligned_empty((div_up(n_out, PANEL), n_in, PANEL), weight.dtype)
    panels[:whole] = weight[: whole * PANEL].reshape(whole, PANEL, n_in).swapaxes(1, 2)
    if whole < len(panels):
        panels[whole] = 0
        panels[whole, :, : n_out - whole * PANEL] = weight[whole * PANEL :].T
    return panels


def unpack_panels(panels: npt.NDArray[Any], n_out: int) -> npt.NDArray[Any]:
    """Return the matrix `(n_out, n_in)` that `pack_panels` packed."""
    n_panel, n_in, _ = panels.shape
    return panels.swapaxes(1, 2).reshape(n_panel * PANEL, n_in)[:n_out]


def _padded(values: npt.NDArray[np.int8], step: int) -> npt.NDArray[np.int8]:
    """Return the values padded with zeros to whole panels and to a multiple of `step` inputs."""
    n_out, n_in = values.shape
    padded = np.zeros((div_up(n_out, PANEL) * PANEL, div_up(n_in, step) * step), np.int8)
    padded[:n_out, :n_in] = values
    return padded


def pack_int8(values: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Pack int8 values `(n_out, n_in)` as `(ceil(n_out / 16), ceil(n_in / 4), 16, 4)`."""
    padded = _padded(values, QUAD)
    quads = padded.reshape(len(padded) // PANEL, PANEL, padded.shape[1] // QUAD, QUAD).swapaxes(1, 2)
    panels = aligned_empty(quads.shape, np.int8)
    panels[...] = quads
    return panels


def unpack_int8(panels: npt.NDArray[np.int8], n_out: int, n_in: int) -> npt.NDArray[np.int8]:
    """Return the values `(n_out, n_in)` that `pack_int8` packed."""
    n_panel, n_quad = panels.shape[:2]
    return panels.swapaxes(1, 2).reshape(n_panel * PANEL, n_quad * QUAD)[:n_out, :n_in]


def pack_int4(values: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Pack values `(n_out, n_in)` from -8 to 7 as `(ceil(n_out / 16), ceil(n_in / 32), 4, 16, 4)` bytes."""
    padded = _padded(values, GROUP)
    n_group = padded.shape[1] // GROUP
    halves = (padded + 8).view(np.uint8).reshape(len(padded) // PANEL, PANEL, n_group, 2, 4, QUAD)
    panels = aligned_empty((len(halves), n_group, 4, PANEL, QUAD), np.uint8)
    panels[...] = (halves[:, :, :, 0] | halves[:, :, :, 1] << 4).transpose(0, 2, 3, 1, 4)
    return panels


def unpack_int4(panels: npt.NDArray[np.uint8], n_out: int, n_in: int) -> npt.NDArray[np.int8]:
    """Return the values `(n_out, n_in)` that `pack_int4` packed."""
    n_panel, n_group = panels.shape[:2]
    packed = panels.transpose(0, 3, 1, 2, 4)  # (n_panel, 16, n_group, 4, 4)
    halves = np.stack([packed & 15, packed >> 4], axis=3).view(np.int8) - np.int8(8)
    return halves.reshape(n_panel * PANEL, n_group * GROUP)[:n_out, :n_in]


def page_shapes(d_head: int, dtype: npt.DTypeLike) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape of one page's keys, and that of its values."""
    if np.dtype(dtype) == np.int8:
        return (div_up(d_head, QUAD), PANEL, QUAD), (PANEL // QUAD, d_head, QUAD)
    return (d_head, PANEL), (PANEL, d_head)


def keys_by_position(keys: npt.NDArray[Any], d_head: int) -> npt.NDArray[Any]:
    """Return pages of keys `(n_head, n_page, ...)` as `(n_head, n_page * 16, d_head)`."""
    return keys.swapaxes(2, 3).reshape(len(keys), keys.shape[1] * PANEL, -1)[..., :d_head]


def values_by_position(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return pages of values `(n_head, n_page, ...)` as `(n_head, n_page * 16, d_head)`."""
    by_slot = values.swapaxes(3, 4) if values.dtype == np.int8 else values
    return by_slot.reshape(len(values), values.shape[1] * PANEL, -1)
