"""Layers that the speaker networks share. Activations are `(..., time, channel)`."""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import simd

FloatArray = simd.FloatArray
N_EMBEDDING = 192  # of a voice
_HAS_SLOW_FLOATS = sys.platform == "emscripten"  # see below
NORM_EPS = 1e-5  # of instance normalization and batch normalization, as in PyTorch
Tensors = Mapping[str, npt.NDArray[np.floating[Any]]]


class Linear(NamedTuple):
    """A matrix `(n_out, n_in)` with a bias `(n_out,)`."""

    weight: simd.PackedMatrix
    bias: FloatArray | None = None

    def __call__(self, x: FloatArray) -> FloatArray:
        return simd.linear(x, self.weight, self.bias)


def pack_kernel(kernel: FloatArray) -> simd.PackedMatrix:
    """Pack the kernel of a convolution, `(n_out, n_in, ...)`, for rows of `(..., n_in)`."""
    last = np.moveaxis(kernel.astype(np.float32), 1, -1)
    return simd.pack(np.ascontiguousarray(last).reshape(len(kernel), -1))


def windows(x: FloatArray, width: int, stride: int = 1) -> FloatArray:
    """Return the rows of a convolution without copying: `(time, channel)` -> `(positions, width * channel)`."""
    time, channel = x.shape
    n = 1 + (time - width) // stride
    step, item = x.strides
    return np.lib.stride_tricks.as_strided(x, (n, width * channel), (stride * step, item), writeable=False)


def max_pool(x: FloatArray, width: int) -> FloatArray:
    """Return the maximum of each `width` positions, `(time, channel)` -> `(time // width, channel)`."""
    n = len(x) // width
    parts = x[: n * width].reshape(n, width, -1)
    pooled: FloatArray = np.maximum(parts[:, 0], parts[:, 1])
    for i in range(2, width):
        np.maximum(pooled, parts[:, i], out=pooled)
    return pooled


def instance_norm(x: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    """Normalize each channel of `(time, channel)` over time; variances as PyTorch's."""
    mean = x.mean(axis=0)
    centered: FloatArray = x - mean
    scale = weight / np.sqrt(np.square(centered).mean(axis=0) + np.float32(NORM_EPS))
    centered *= scale
    centered += bias
    return centered


# In WebAssembly, NumPy compares floats one by one, but integers by vectors, six times as fast. Positive floats have the
# order of their bits.


def relu(x: FloatArray) -> FloatArray:
    """Replace negative numbers by zero, in place."""
    bits = x.view(np.int32)
    np.maximum(bits, 0, out=bits)
    return x


def absolute(x: FloatArray) -> FloatArray:
    """Remove the signs, in place."""
    bits = x.view(np.int32)
    np.bitwise_and(bits, 0x7FFFFFFF, out=bits)
    return x


class LowerLimit:
    """The least value of each channel, `(channel,)`."""

    def __init__(self, low: FloatArray) -> None:
        self._low = low
        negative = np.signbit(low)
        # negative floats have the highest bit, and their order is reversed
        self._of_positive = np.where(negative, np.int32(-(1 << 31)), low.view(np.int32))
        self._of_negative = np.where(negative, low.view(np.uint32), np.uint32(0xFFFFFFFF))

    def __call__(self, x: FloatArray) -> FloatArray:
        """Return `(..., channel)` with values below the limits raised to them."""
        if not _HAS_SLOW_FLOATS:
            result: FloatArray = np.maximum(x, self._low)
            return result
        raised = np.maximum(x.view(np.int32), self._of_positive).view(np.uint32)
        return np.minimum(raised, self._of_negative, out=raised).view(np.float32)


def leaky_relu(x: FloatArray) -> FloatArray:
    """Multiply negative numbers by 0.01, in place."""
    result: FloatArray = np.maximum(x, x * np.float32(0.01), out=x)
    return result
