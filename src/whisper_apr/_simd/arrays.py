"""What the operations' arguments become before a kernel reads them, and where its result goes."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def as_float32(x: npt.ArrayLike, name: str, ndim: int | None = None) -> FloatArray:
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, not of {array.dtype}")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, not shape {array.shape}")
    if not array.ndim:
        return array.astype(np.float32)
    contiguous = np.ascontiguousarray(array, np.float32)
    return contiguous if contiguous.flags.aligned else contiguous.copy()


def as_rows(x: npt.ArrayLike, name: str) -> FloatArray:
    """Float32 with a contiguous last axis: 2-D views with a row stride of their own are taken as they are."""
    array = np.asarray(x)
    if array.dtype != np.float32 or array.ndim != 2 or array.ctypes.data % 4:
        return as_float32(array, name)
    step, item = array.strides
    return array if item == 4 and step >= 0 and step % 4 == 0 else as_float32(array, name)


def as_strided(x: npt.ArrayLike, name: str, ndim: int) -> FloatArray:
    """Float32 with a contiguous last axis; a part of a wider array is taken as it is."""
    a = np.asarray(x)
    if a.dtype == np.float32 and a.ndim == ndim and a.strides[-1] == 4 and a.flags.aligned and min(a.strides) >= 0:
        return a
    return as_float32(a, name, ndim)


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def result_array(out: FloatArray | None, shape: tuple[int, ...], *inputs: FloatArray | None) -> FloatArray:
    """`out` where it can hold the result and shares no memory with an input, else ValueError; a new array where there is none."""
    if out is None:
        return np.empty(shape, np.float32)
    expect(
        out.shape == shape and out.dtype == np.float32 and out.flags.carray,
        f"out must be C-contiguous float32 of shape {shape}, not {out.dtype} {out.shape}",
    )
    expect(not any(x is not None and np.may_share_memory(out, x) for x in inputs), "out must not overlap an input")
    return out
