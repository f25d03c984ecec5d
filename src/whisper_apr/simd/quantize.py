"""Quantization of weights to 8 or 4 bits."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .checks import FloatArray, as_float32, expect
from .layout import GROUP, div_up

MAX_INPUTS = 1 << 17  # of a quantized weight: the sum of 2^17 products of 127 * 127 fits in an int32
LARGEST_INT8 = 127  # the range is symmetric: -128 is not used
LARGEST_INT12 = 2047
ActivationBits = Literal[8, 12]
"""Bits that `linear` quantizes its input to."""
LOWEST_INT4, HIGHEST_INT4 = -8, 7
SMALLEST = 1e-30  # a row with no larger magnitude counts as zeros: the reciprocal of its scale could overflow

# The quantized values that int4 tries for a group's element of the largest magnitude, to find the scale with the least
# squared error. -8 is the end of the range; -9 clips that element, so that the others are rounded more finely; -7
# rounds them differently.
_INT4_EXTREMES = (-8.0, -9.0, -7.0)
# Of an input, relative to the mean: the weights of an input that seems to be unused may matter after all
_LEAST_IMPORTANCE = np.float32(1e-3)
_BLOCK = 1 << 18  # elements that are quantized at a time, which bounds the memory of temporaries


def activation_levels(bits: ActivationBits, n_in: int) -> int:
    """Return the largest integer that the inputs of a product are quantized to.

    Args:
        bits: 8 or 12.
        n_in: Inputs of an output. With 12 bits, a sum of more than 8,196 products of 2047 and -128 could exceed an
            int32, so that there are fewer levels.

    Raises:
        ValueError: `bits` is neither 8 nor 12.
    """
    expect(bits in (8, 12), f"activation_bits must be 8 or 12, not {bits!r:.40}")
    return LARGEST_INT8 if bits == 8 else min(LARGEST_INT12, np.iinfo(np.int32).max // (128 * max(1, n_in)))


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """A quantized weight `(n_out, n_in)` in row-major layout; it represents `values * scales`.

    Attributes:
        dtype: "int8" or "int4".
        values: `(n_out, n_in)` int8: from -127 to 127 for "int8", from -8 to 7 for "int4".
        scales: "int8": `(n_out,)` float32, one for each output. "int4": `(n_out, ceil(n_in / 32))` float16, one for
            each group of 32 inputs.

    Raises:
        TypeError: `values` or `scales` is not an array.
        ValueError: The dtype is unknown, or the arrays do not fit it or each other.
    """

    dtype: str
    values: npt.NDArray[np.int8] = field(repr=False)
    scales: npt.NDArray[Any] = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("values", "scales"):
            if not isinstance(getattr(self, name), np.ndarray):
                raise TypeError(f"{name} must be an array, not {type(getattr(self, name)).__name__}")
        if self.dtype not in ("int8", "int4") or self.values.dtype != np.int8 or self.values.ndim != 2:
            raise ValueError(f"{self.dtype} values must be an int8 matrix, not {self.values.dtype} {self.values.shape}")
        n_out, n_in = self.values.shape
        if n_in > MAX_INPUTS:
            raise ValueError(f"a quantized weight must have at most {MAX_INPUTS} inputs, not {n_in}")
        shape, kind = ((n_out,), np.float32) if self.dtype == "int8" else ((n_out, div_up(n_in, GROUP)), np.float16)
        if self.scales.shape != shape or self.scales.dtype != kind:
            raise ValueError(
                f"{self.dtype} scales must be {np.dtype(kind)} {shape}, not {self.scales.dtype} {self.scales.shape}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """`(n_out, n_in)`."""
        n_out, n_in = self.values.shape
        return n_out, n_in

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weight, without padding: half a byte per value for "int4"."""
        return self.values.nbytes // (1 if self.dtype == "int8" else 2) + self.scales.nbytes

    def dequantize(self) -> FloatArray:
        """Return `values * scales` as float32, `(n_out, n_in)`."""
        return dequantize(self.dtype, self.values, self.scales)


def dequantize(dtype: str, values: npt.NDArray[np.int8], scales: npt.NDArray[Any]) -> FloatArray:
    """Return values `(..., n_in)` times their scales, `(...)` for int8 or `(..., n_group)` for int4, as float32."""
    floats: FloatArray = values.astype(np.float32)
    if dtype == "int8":
        floats *= scales[..., None]
    else:
        floats *= np.repeat(scales.astype(np.float32), GROUP, axis=-1)[..., : values.shape[-1]]
    return floats


def _row_blocks(weight: npt.NDArray[Any]) -> list[slice]:
    """Check a weight to quantize, and return slices of its rows of about `_BLOCK` elements."""
    if not isinstance(weight, np.ndarray):
        raise TypeError(f"a weight to quantize must be an array, not {type(weight).__name__}")
    if weight.ndim != 2 or weight.dtype.kind != "f":
        raise ValueError(f"a weight to quantize must be a matrix of floats, not {weight.dtype} {weight.shape}")
    step = max(1, _BLOCK // max(1, weight.shape[1]))
    return [slice(i, i + step) for i in range(0, len(weight), step)]


def _as_finite_float32(block: npt.NDArray[Any]) -> FloatArray:
    with np.errstate(over="ignore"):
        floats = block.astype(np.float32)
    if not np.isfinite(floats).all():
        raise ValueError("a weight to quantize must be finite; it holds infinity or NaN")
    return floats


def quantize_int8(weight: npt.NDArray[Any]) -> QuantizedWeight:
    """Quantize a weight to int8 symmetrically, with one scale for each output.

    `values = round(weight / scale)`, half to even, with `scale = max |row| / 127`, or 1 if no magnitude of the row is
    above 1e-30.

    Args:
        weight: `(n_out, n_in)`, finite floats of any precision; at most 2^17 inputs.

    Raises:
        TypeError: The weight is not an array.
        ValueError: The weight is not a matrix of finite floats, or has too many inputs.
    """
    blocks = _row_blocks(weight)
    values = np.empty(weight.shape, np.int8)
    scales = np.empty(len(weight), np.float32)
    for rows in blocks:
        block = _as_finite_float32(weight[rows])
        largest = np.abs(block).max(axis=1, initial=0.0)
        scale = np.where(largest > SMALLEST, largest / np.float32(LARGEST_INT8), np.float32(1))
        values[rows] = np.rint(block / scale[:, None])
        scales[rows] = scale
    return QuantizedWeight("int8", values, scales)


def _round_to_int4(groups: FloatArray, scale: FloatArray) -> FloatArray:
    """Return `groups / scale`, rounded and clipped to int4's range; zeros for a scale of 0."""
    with np.errstate(divide="ignore"):
        inverse = np.where(scale == 0, np.float32(0), 1 / scale)
    return np.clip(np.rint(groups * inverse), LOWEST_INT4, HIGHEST_INT4)


def _round_to_float16(scale: FloatArray) -> FloatArray:
    """Round scales to float16 and back, clipped to its finite range."""
    limit = np.float32(np.finfo(np.float16).max)
    return np.clip(scale, -limit, limit).astype(np.float16).astype(np.float32)


def _importance_groups(power: npt.ArrayLike | None, n_in: int, n_group: int) -> FloatArray:
    """Check the mean squares of the inputs, and return them relative to their mean, `(n_group, 32)`."""
    groups = np.ones(n_group * GROUP, np.float32)
    if power is not None:
        squares = as_float32(power, "power", 1)
        if squares.shape != (n_in,) or not np.isfinite(squares).all() or (squares < 0).any():
            raise ValueError(f"power must be ({n_in},) finite numbers of at least 0, not of shape {squares.shape}")
        mean = squares.mean(dtype=np.float64)
        if mean > 0:
            groups[:n_in] = np.maximum(squares / mean, _LEAST_IMPORTANCE)
    return groups.reshape(n_group, GROUP)


def quantize_int4(weight: npt.NDArray[Any], power: npt.ArrayLike | None = None) -> QuantizedWeight:
    """Quantize a weight to int4, with one scale for each group of 32 inputs of an output.

    The scale, of either sign, is the one with the least squared error among three candidates. For each candidate, the
    element of the largest magnitude is first quantized to -8, -9 or -7; the scale is then fitted to the quantized
    values by least squares, and the group is quantized again.

    Args:
        weight: As for `quantize_int8`.
        power: The mean square of each input, `(n_in,)`, by which the squared errors of its weights are weighted; None
            if all are the same.

    Raises:
        TypeError: As for `quantize_int8`.
        ValueError: As for `quantize_int8`, or `power` has another shape, or is not finite or negative.
    """
    blocks = _row_blocks(weight)
    n_out, n_in = weight.shape
    n_group = div_up(n_in, GROUP)
    importance = _importance_groups(power, n_in, n_group)
    values = np.empty((n_out, n_in), np.int8)
    scales = np.empty((n_out, n_group), np.float16)
    for rows in blocks:
        block = _as_finite_float32(weight[rows])
        padded = np.zeros((len(block), n_group * GROUP), np.float32)
        padded[:, :n_in] = block
        groups = padded.reshape(len(block), n_group, GROUP)
        extreme = np.take_along_axis(groups, np.abs(groups).argmax(axis=-1)[..., None], axis=-1)
        least = np.full(extreme.shape, np.inf, np.float32)
        best, best_scale = np.zeros_like(groups), np.zeros_like(extreme)
        for target in _INT4_EXTREMES:
            quantized = _round_to_int4(groups, _round_to_float16(extreme / np.float32(target)))
            weighted = quantized * importance
            squares = np.maximum(np.einsum("rgi,rgi->rg", quantized, weighted), _LEAST_IMPORTANCE)[..., None]
            scale = _round_to_float16(np.einsum("rgi,rgi->rg", groups, weighted)[..., None] / squares)
            quantized = _round_to_int4(groups, scale)
            difference = quantized * scale - groups
            error = np.einsum("rgi,rgi->rg", difference, difference * importance)[..., None]
            better = error < least
            least, best_scale = np.where(better, error, least), np.where(better, scale, best_scale)
            np.copyto(best, quantized, where=better)
        values[rows] = best.reshape(padded.shape)[:, :n_in]
        scales[rows] = best_scale[..., 0]
    return QuantizedWeight("int4", values, scales)
