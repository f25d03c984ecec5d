"""Reject weights with infinity or NaN, whatever format they are read from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import FormatError
from .mapped import MappedOnAccess
from .simd import PackedMatrix, QuantizedWeight, Weight

CHUNK = 1 << 18  # numbers that are read twice in succession, so that the second time they are in the cache


def is_finite(array: npt.NDArray[Any]) -> bool:
    """Return whether all floats of an array are finite in float32.

    The bits are compared as integers: read as signed integers, positive infinity and NaN are larger than all other
    floats; read as unsigned integers, negative infinity and NaN are. For float16 this is ten times as fast as
    `np.isfinite`.
    """
    if array.itemsize > 4:
        return bool((np.abs(array) <= np.finfo(np.float32).max).all())
    kind, sign = array.dtype.str, 1 << (8 * array.itemsize - 1)
    infinity = int(np.array(np.inf, array.dtype).view(kind.replace("f", "i")))
    flat = array.reshape(-1)  # a copy if the array is not contiguous
    signed, unsigned = flat.view(kind.replace("f", "i")), flat.view(kind.replace("f", "u"))
    return all(
        int(signed[i : i + CHUNK].max()) < infinity and int(unsigned[i : i + CHUNK].max()) < infinity + sign
        for i in range(0, len(flat), CHUNK)
    )


def check_finite(weight: Weight, name: str, where: str) -> None:
    """Raise FormatError if a number or a scale of a tensor is NaN, or infinite in float32.

    Args:
        weight: The tensor.
        name: Its name, for the error message.
        where: Names the file in the error message.
    """
    if isinstance(weight, QuantizedWeight):
        floats = [weight.scales]
    elif isinstance(weight, PackedMatrix):
        floats = [array for array in weight.arrays().values() if array.dtype.kind == "f"]
    else:
        floats = [weight] if weight.dtype.kind == "f" else []
    if not all(map(is_finite, floats)):
        raise FormatError(
            f"{where}: tensor {name!r} contains infinity or NaN; the file is damaged or its training failed, "
            "load it again from its source"
        )


class FiniteTensors(MappedOnAccess[Mapping[str, Weight], Weight]):
    """A read-only mapping that checks a tensor on access; a tensor that is not used is not read.

    Args:
        tensors: The tensors by name.
        where: Names the file in error messages.
    """

    def __init__(self, tensors: Mapping[str, Weight], where: str) -> None:
        super().__init__(tensors)
        self._where = where

    def __getitem__(self, name: str) -> Weight:
        weight = self.source[name]
        check_finite(weight, name, self._where)
        return weight
