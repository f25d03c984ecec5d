"""Validation of arguments before a kernel reads them: arrays, integers, and the array that receives a result."""

import math
import operator
import sys
from numbers import Real
from typing import Any, cast

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
"""A NumPy array of float32."""


def as_array(x: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Return x as an array of real numbers (integer, floating-point or bool), without copying an array.

    Raises:
        TypeError: The elements are not real numbers.
        ValueError: x cannot be converted to an array.
    """
    try:
        array = np.asarray(x)
    except (ValueError, OverflowError) as error:  # a ragged list, or an invalid __array_interface__
        raise ValueError(f"{name} cannot be converted to an array: {error}") from error
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, not of {array.dtype}")
    return array


def as_float32(x: npt.ArrayLike, name: str, ndim: int | None = None) -> FloatArray:
    """Return x as a C-contiguous, aligned float32 array, copied only if it is not one already.

    Raises:
        TypeError: The elements are not real numbers.
        ValueError: x cannot be converted to an array, or does not have `ndim` dimensions.
    """
    array = as_array(x, name)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, not shape {array.shape}")
    if array.dtype != np.float32:
        with np.errstate(over="ignore", under="ignore"):  # numbers beyond float32's range become infinite
            array = array.astype(np.float32, order="C")
    if not array.ndim:
        return array
    contiguous = np.ascontiguousarray(array)
    return contiguous if contiguous.flags.aligned else contiguous.copy()


def as_rows(x: npt.ArrayLike, name: str) -> FloatArray:
    """Return x as float32 with a contiguous last axis, without copying a 2-D view with any row stride."""
    array = as_array(x, name)
    if array.dtype != np.float32 or array.ndim != 2 or array.ctypes.data % 4:
        return as_float32(array, name)
    row_stride, item_stride = array.strides
    return array if item_stride == 4 and row_stride >= 0 and row_stride % 4 == 0 else as_float32(array, name)


def as_strided(x: npt.ArrayLike, name: str, ndim: int) -> FloatArray:
    """Return x as float32 with a contiguous last axis, without copying a slice of a wider array."""
    a = as_array(x, name)
    if a.dtype == np.float32 and a.ndim == ndim and a.strides[-1] == 4 and a.flags.aligned and min(a.strides) >= 0:
        return a
    return as_float32(a, name, ndim)


def as_index(value: object, name: str, lowest: int, highest: int = sys.maxsize) -> int:
    """Return an integer from `lowest` to `highest`, inclusive, as an int.

    Raises:
        TypeError: The value is not an integer.
        ValueError: The value is out of bounds.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None
    if not lowest <= number <= highest:
        bounds = f"at least {lowest}" if highest == sys.maxsize else f"from {lowest} to {highest}"
        shown = number if abs(number) <= sys.maxsize else "an integer of more than 64 bits"
        raise ValueError(f"{name} must be {bounds}, not {shown}")
    return number


def as_number(value: Any, name: str) -> float:
    """Return a real number as a float; an int beyond the range of floats becomes infinite.

    Raises:
        TypeError: The value is not a real number.
    """
    if type(value) is float:  # the common case: isinstance with the abstract class Real is slow
        return value
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, not {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if cast(int, value) > 0 else -math.inf


def expect(condition: bool, message: str) -> None:
    """Raise ValueError with this message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def expect_type(value: object, name: str, kind: type, hint: str = "") -> None:
    """Raise TypeError unless the value is an instance of this class; the hint ends the message."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}{hint}")


def expect_array(array: object, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    """Require a C-contiguous, aligned array of exactly this shape and dtype.

    Raises:
        TypeError: The argument is not an array.
        ValueError: The array has another shape, dtype or memory layout.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be an array of {np.dtype(dtype)}, not {type(array).__name__}")
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} must be {np.dtype(dtype)} of shape {shape}, not {array.dtype} {array.shape}")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"{name} must be C-contiguous and aligned")


def result_array(out: FloatArray | None, shape: tuple[int, ...], *inputs: npt.NDArray[Any] | None) -> FloatArray:
    """Return the array that receives a result: `out`, or a new one if `out` is None.

    Args:
        out: The caller's array, or None.
        shape: Shape of the result.
        *inputs: All arrays that are read while the result is written; None is ignored.

    Raises:
        TypeError: `out` is not an array.
        ValueError: `out` cannot hold the result, or shares memory with an input.
    """
    if out is None:
        return np.empty(shape, np.float32)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a float32 array, not {type(out).__name__}")
    if out.shape != shape or out.dtype != np.float32 or not out.flags.carray:
        raise ValueError(f"out must be C-contiguous float32 of shape {shape}, not {out.dtype} {out.shape}")
    for x in inputs:
        if x is not None and np.may_share_memory(out, x):
            raise ValueError("out must not overlap an input")
    return out
