"""Checks of what the operations are given, before a kernel reads it: arrays, whole numbers, and where a result goes."""

import math
import operator
import sys
from numbers import Real
from typing import Any, cast

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def as_array(x: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Return an array of real numbers as it is.

    Raises TypeError for other elements, ValueError for a list that is no array.
    """
    try:
        array = np.asarray(x)
    except (ValueError, OverflowError) as error:  # lists of unequal length; an array interface that lies
        raise ValueError(f"{name} cannot be made an array: {error}") from error
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, not of {array.dtype}")
    return array


def as_float32(x: npt.ArrayLike, name: str, ndim: int | None = None) -> FloatArray:
    """Return a C-contiguous, aligned float32 array, a copy only where x is not that. Raises TypeError or ValueError."""
    array = as_array(x, name)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, not shape {array.shape}")
    if array.dtype != np.float32:
        with np.errstate(over="ignore", under="ignore"):  # what is beyond float32's range becomes infinite
            array = array.astype(np.float32, order="C")
    if not array.ndim:
        return array
    contiguous = np.ascontiguousarray(array)
    return contiguous if contiguous.flags.aligned else contiguous.copy()


def as_rows(x: npt.ArrayLike, name: str) -> FloatArray:
    """Float32 with a contiguous last axis: 2-D views with a row stride of their own are taken as they are."""
    array = as_array(x, name)
    if array.dtype != np.float32 or array.ndim != 2 or array.ctypes.data % 4:
        return as_float32(array, name)
    step, item = array.strides
    return array if item == 4 and step >= 0 and step % 4 == 0 else as_float32(array, name)


def as_strided(x: npt.ArrayLike, name: str, ndim: int) -> FloatArray:
    """Float32 with a contiguous last axis; a part of a wider array is taken as it is."""
    a = as_array(x, name)
    if a.dtype == np.float32 and a.ndim == ndim and a.strides[-1] == 4 and a.flags.aligned and min(a.strides) >= 0:
        return a
    return as_float32(a, name, ndim)


def as_index(value: object, name: str, lowest: int, highest: int = sys.maxsize) -> int:
    """Return a whole number within bounds as an int.

    Raises TypeError for what is no whole number, ValueError outside the bounds.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}") from None
    if not lowest <= number <= highest:
        bounds = f"at least {lowest}" if highest == sys.maxsize else f"from {lowest} to {highest}"
        shown = number if abs(number) <= sys.maxsize else "a number beyond 64 bits"
        raise ValueError(f"{name} must be {bounds}, not {shown}")
    return number


def as_number(value: Any, name: str) -> float:
    """Return a real number as a float;

    One beyond the range of floats is infinite. Raises TypeError for anything else.
    """
    if type(value) is float:  # the usual case: Real is an abstract class, which is slow to ask
        return value
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, not {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if cast(int, value) > 0 else -math.inf


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def expect_type(value: object, name: str, kind: type, hint: str = "") -> None:
    """Raise TypeError unless the value is of this class."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}{hint}")


def expect_array(array: object, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    """Raise TypeError unless this is an array, ValueError unless it is one of this shape and type without gaps."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be an array of {np.dtype(dtype)}, not {type(array).__name__}")
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} must be {np.dtype(dtype)} of shape {shape}, not {array.dtype} {array.shape}")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"{name} must be C-contiguous and aligned")


def result_array(out: FloatArray | None, shape: tuple[int, ...], *inputs: npt.NDArray[Any] | None) -> FloatArray:
    """Return where a result goes: `out`, or a new array where there is none.

    `inputs` are all arrays that are read while the result is written. Raises TypeError unless `out` is an array,
    ValueError unless it can hold the result and shares no memory with an input.
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
