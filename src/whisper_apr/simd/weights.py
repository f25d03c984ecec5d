"""Weights in the kernels' layout: float32, float16, and quantized to 8 or 4 bits.

`quantize_int8` and `quantize_int4` round a weight, in the plain layout `(n_out, n_in)`; `pack` lays a weight of any
kind out for `simd.linear`, once. A `PackedMatrix` is described whole by `dtype`, `shape` and `arrays()`: a file that
stores those, each at a multiple of 64 bytes, can be mapped, and `PackedMatrix.from_arrays` takes the mapped arrays
without copying.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import dispatch
from .checks import FloatArray as FloatArray
from .checks import as_array, as_index
from .layout import (
    GROUP,
    PANEL,
    QUAD,
    aligned_empty,
    div_up,
    pack_int4,
    pack_int8,
    pack_panels,
    unpack_int4,
    unpack_int8,
    unpack_panels,
)

QUANTIZED = ("int8", "int4")
MAX_INPUTS = 1 << 17  # inputs of a quantized weight: 2^17 products of 127 * 127 still fit in an int32
LARGEST_INT8 = 127  # both signs: -128 stays unused
LOWEST_INT4, HIGHEST_INT4 = -8, 7
SMALLEST = 1e-30  # a largest magnitude under this counts as 0: its reciprocal is no float32 to rely on

# Where a group's largest number is put, in steps, when int4 looks for the scale with the least squared error. -8 is the
# end of the range; a little beyond it, the largest is cut and the others gain; a little within, they gain by rounding
# otherwise.
_INT4_TRIES = (-8.0, -9.0, -7.0)
_BLOCK = 1 << 18  # numbers that are quantized at a time: temporaries stay small


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """A rounded weight in the plain layout; `values * scales` is what it stands for.

    `dtype` "int8": values -127 to 127, scales `(n_out,)` float32. "int4": values -8 to 7, scales `(n_out, ceil(n_in /
    32))` float16, one for each 32 inputs. Raises ValueError where the arrays do not fit each other.
    """

    dtype: str
    values: npt.NDArray[np.int8]  # (n_out, n_in)
    scales: npt.NDArray[Any]

    def __post_init__(self) -> None:
        for name in ("values", "scales"):
            if not isinstance(getattr(self, name), np.ndarray):
                raise TypeError(f"{name} must be an array, not {type(getattr(self, name)).__name__}")
        if self.dtype not in ("int8", "int4") or self.values.dtype != np.int8 or self.values.ndim != 2:
            raise ValueError(f"{self.dtype} values must be an int8 matrix, not {self.values.dtype} {self.values.shape}")
        n_out, n_in = self.values.shape
        if n_in > MAX_INPUTS:
            raise ValueError(f"a quantized weight has at most {MAX_INPUTS} inputs, not {n_in}")
        shape, kind = ((n_out,), np.float32) if self.dtype == "int8" else ((n_out, div_up(n_in, GROUP)), np.float16)
        if self.scales.shape != shape or self.scales.dtype != kind:
            raise ValueError(
                f"{self.dtype} scales must be {np.dtype(kind)} {shape}, not {self.scales.dtype} {self.scales.shape}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        n_out, n_in = self.values.shape
        return n_out, n_in

    @property
    def nbytes(self) -> int:
        """As packed: int4 counts half a byte a value."""
        return self.values.nbytes // (1 if self.dtype == "int8" else 2) + self.scales.nbytes

    def dequantize(self) -> FloatArray:
        return _dequantize(self.dtype, self.values, self.scales)


def _dequantize(dtype: str, values: npt.NDArray[np.int8], scales: npt.NDArray[Any]) -> FloatArray:
    """values `(..., n_in)` and their scales `(...)` or `(..., n_group)` -> float32."""
    floats: FloatArray = values.astype(np.float32)
    if dtype == "int8":
        floats *= scales[..., None]
    else:
        floats *= np.repeat(scales.astype(np.float32), GROUP, axis=-1)[..., : values.shape[-1]]
    return floats


def _row_blocks(weight: npt.NDArray[Any]) -> list[slice]:
    if not isinstance(weight, np.ndarray):
        raise TypeError(f"a weight to quantize must be an array, not {type(weight).__name__}")
    if weight.ndim != 2 or weight.dtype.kind != "f":
        raise ValueError(f"a weight to quantize must be a matrix of floats, not {weight.dtype} {weight.shape}")
    step = max(1, _BLOCK // max(1, weight.shape[1]))
    return [slice(i, i + step) for i in range(0, len(weight), step)]


def _finite(block: npt.NDArray[Any]) -> FloatArray:
    with np.errstate(over="ignore"):
        floats = block.astype(np.float32)
    if not np.isfinite(floats).all():
        raise ValueError("a weight to quantize must be finite; it holds infinity or NaN")
    return floats


def quantize_int8(weight: npt.NDArray[Any]) -> QuantizedWeight:
    """Round `(n_out, n_in)` to 8 bits, symmetrically: `scale = max |row| / 127` (1 for a row of zeros), `round(weight /
    scale)`.

    Half is rounded to even. Raises ValueError for a weight that is not a matrix of finite floats.
    """
    blocks = _row_blocks(weight)
    values = np.empty(weight.shape, np.int8)
    scales = np.empty(len(weight), np.float32)
    for rows in blocks:
        block = _finite(weight[rows])
        largest = np.abs(block).max(axis=1, initial=0.0)
        scale = np.where(largest > SMALLEST, largest / np.float32(LARGEST_INT8), np.float32(1))
        values[rows] = np.rint(block / scale[:, None])
        scales[rows] = scale
    return QuantizedWeight("int8", values, scales)


def _int4_steps(groups: FloatArray, scale: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        inverse = np.where(scale == 0, np.float32(0), 1 / scale)
    return np.clip(np.rint(groups * inverse), LOWEST_INT4, HIGHEST_INT4)


def _as_half(scale: FloatArray) -> FloatArray:
    """As it will be read back from float16; too large becomes float16's largest."""
    limit = np.float32(np.finfo(np.float16).max)
    return np.clip(scale, -limit, limit).astype(np.float16).astype(np.float32)


def quantize_int4(weight: npt.NDArray[Any]) -> QuantizedWeight:
    """Round `(n_out, n_in)` to 4 bits, in groups of 32 inputs: the scale (of either sign) with the least squared error
    of a few.

    Each try puts the group's largest number at one of `_INT4_TRIES`, then fits the scale to the rounded values by least
    squares and rounds again. Raises ValueError for a weight that is not a matrix of finite floats.
    """
    blocks = _row_blocks(weight)
    n_out, n_in = weight.shape
    n_group = div_up(n_in, GROUP)
    values = np.empty((n_out, n_in), np.int8)
    scales = np.empty((n_out, n_group), np.float16)
    for rows in blocks:
        block = _finite(weight[rows])
        padded = np.zeros((len(block), n_group * GROUP), np.float32)
        padded[:, :n_in] = block
        groups = padded.reshape(len(block), n_group, GROUP)
        extreme = np.take_along_axis(groups, np.abs(groups).argmax(axis=-1)[..., None], axis=-1)
        least = np.full(extreme.shape, np.inf, np.float32)
        best, best_scale = np.zeros_like(groups), np.zeros_like(extreme)
        for end in _INT4_TRIES:
            steps = _int4_steps(groups, _as_half(extreme / np.float32(end)))
            squares = np.maximum(np.einsum("rgi,rgi->rg", steps, steps), 1)[..., None]
            scale = _as_half(np.einsum("rgi,rgi->rg", groups, steps)[..., None] / squares)
            steps = _int4_steps(groups, scale)
            difference = steps * scale - groups
            error = np.einsum("rgi,rgi->rg", difference, difference)[..., None]
            better = error < least
            least, best_scale = np.where(better, error, least), np.where(better, scale, best_scale)
            np.copyto(best, steps, where=better)
        values[rows] = best.reshape(padded.shape)[:, :n_in]
        scales[rows] = best_scale[..., 0]
    return QuantizedWeight("int4", values, scales)


# ---- packed ---------------------------------------------------------------------------------------------------------


def array_layouts(dtype: str, n_out: int, n_in: int) -> dict[str, tuple[tuple[int, ...], type]]:
    """Shape and element type of each array that a packed matrix is made of."""
    n_panel = div_up(n_out, PANEL)
    if dtype == "float32":
        return {"panels": ((n_panel, n_in, PANEL), np.float32)}
    if dtype == "float16":
        return {"panels": ((n_panel, n_in, PANEL), np.float16)}
    if dtype == "int8":
        return {
            "panels": ((n_panel, div_up(n_in, QUAD), PANEL, QUAD), np.int8),
            "scales": ((n_panel, PANEL), np.float32),
            "sums": ((n_panel, PANEL), np.int32),  # of each output's values: what an unsigned dot product has too much
        }
    if dtype == "int4":
        n_group = div_up(n_in, GROUP)
        return {
            "panels": ((n_panel, n_group, GROUP // 2 // QUAD, PANEL, QUAD), np.uint8),
            "scales": ((n_panel, n_group, PANEL), np.float16),
        }
    raise ValueError(f"a packed matrix is float32, float16, int8 or int4, not {dtype!r}")


@dataclass(frozen=True, eq=False)
class PackedMatrix:
    """A weight `(n_out, n_in)` as the kernels read it, made by `pack`; the constructor raises as `from_arrays` does.

    `dtype` is "float32", "float16", "int8" or "int4".
    """

    dtype: str
    shape: tuple[int, int]
    panels: npt.NDArray[Any]  # see layout.py
    scales: npt.NDArray[Any] | None = None  # int8 (n_panel, 16) float32; int4 (n_panel, n_group, 16) float16
    sums: npt.NDArray[np.int32] | None = None  # int8 (n_panel, 16)

    def __post_init__(self) -> None:
        """Raise ValueError where an array is missing, or has a wrong shape, element type or memory order."""
        shape = self.shape
        if not isinstance(shape, tuple) or len(shape) != 2:
            raise TypeError(f"the shape of a packed matrix must be a pair of sizes, not {shape!r:.40}")
        n_out, n_in = (as_index(n, "a size", 0) for n in shape)
        if self.dtype in QUANTIZED and n_in > MAX_INPUTS:
            raise ValueError(f"a packed {self.dtype} matrix cannot have shape {shape}")
        forms = array_layouts(self.dtype, n_out, n_in)
        for name in ("panels", "scales", "sums"):
            array = getattr(self, name)
            form, kind = forms.get(name, (None, None))
            if array is None and form is None:
                continue
            if not isinstance(array, np.ndarray) or array.shape != form or array.dtype != kind:
                found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                wanted = f"{np.dtype(kind)} {form}" if form else "nothing"
                raise ValueError(f"{name} of a {self.dtype} matrix {shape} must be {wanted}, not {found}")
            if not (array.flags.c_contiguous and array.flags.aligned):
                raise ValueError(f"{name} of a packed matrix must be C-contiguous and aligned to its elements")

    @classmethod
    def from_arrays(cls, dtype: str, shape: tuple[int, int], arrays: Mapping[str, npt.NDArray[Any]]) -> "PackedMatrix":
        """The inverse of `arrays`. Nothing is copied; the arrays may be read-only, and should begin at multiples of 64
        bytes.

        Raises ValueError where an array is missing, or has a wrong shape, element type or memory order, TypeError where
        there are no arrays or no shape.
        """
        if not isinstance(arrays, Mapping):
            raise TypeError(f"arrays must be a mapping of names to arrays, not {type(arrays).__name__}")
        return cls(dtype, shape, *(arrays.get(name) for name in ("panels", "scales", "sums")))  # type: ignore[arg-type]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that it is made of, by name."""
        parts = {"panels": self.panels, "scales": self.scales, "sums": self.sums}
        return {name: array for name, array in parts.items() if array is not None}

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays().values())

    def rows(self, index: npt.NDArray[np.integer[Any]]) -> FloatArray:
        """Rows of the weight as float32, `(*index.shape, n_in)`: the look-up in an embedding table.

        Raises IndexError for a row that is not there.
        """
        n_out, n_in = self.shape
        if index.size and (index.min() < 0 or index.max() >= n_out):
            raise IndexError(f"row {index.max() if index.max() >= n_out else index.min()} of a table with {n_out}")
        panel, slot = np.divmod(index, PANEL)
        if self.scales is None:
            return self.panels[panel, :, slot].astype(np.float32)
        if self.dtype == "int8":
            quads = self.panels[panel, :, slot]  # (..., n_quad, 4)
            values = quads.reshape(*index.shape, QUAD * quads.shape[-2])[..., :n_in]
            return _dequantize("int8", values, self.scales[panel, slot])
        packed = self.panels[panel, :, :, slot]  # (..., n_group, 4, 4)
        halves = np.stack([packed & 15, packed >> 4], axis=-3).view(np.int8) - np.int8(8)
        values = halves.reshape(*index.shape, GROUP * packed.shape[-3])[..., :n_in]
        return _dequantize("int4", values, self.scales[panel, :, slot])

    def embed(
        self,
        tokens: npt.NDArray[np.integer[Any]],
        positions: FloatArray,
        lengths: npt.NDArray[np.int32],
        out: FloatArray,
    ) -> bool:
        """One more token a row at once, without what NumPy's calls cost: `out[i] = rows(tokens[i]) +
        positions[lengths[i]]`, all lengths one more.

        tokens `(n_row, 1)` int64, positions `(n, n_in)` and out `(n_row, ..., n_in)` float32, lengths `(n_row,)` int32,
        contiguous. False, and nothing done, where an array is another, where an index lies outside of its table, and on
        the backend `numpy`: then `rows` must be asked.
        """
        return bool(dispatch.impl.embed(tokens, self.panels, self.scales, *self.shape, positions, lengths, out))

    def unpack(self) -> "npt.NDArray[Any] | QuantizedWeight":
        """The plain layout: an array, or the quantized weight that was packed."""
        n_out, n_in = self.shape
        if self.scales is None:
            return unpack_panels(self.panels, n_out)
        if self.dtype == "int8":
            return QuantizedWeight("int8", unpack_int8(self.panels, n_out, n_in), self.scales.reshape(-1)[:n_out])
        n_panel, n_group, _ = self.scales.shape
        scales = self.scales.swapaxes(1, 2).reshape(n_panel * PANEL, n_group)[:n_out]
        return QuantizedWeight("int4", unpack_int4(self.panels, n_out, n_in), scales)


Weight = npt.NDArray[Any] | QuantizedWeight | PackedMatrix


def _panelled(per_output: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`(n_out, ...)` -> `(n_panel, ..., 16)`, zeros at the end."""
    n_out = len(per_output)
    n_panel = div_up(n_out, PANEL)
    result = aligned_empty((n_panel, *per_output.shape[1:], PANEL), per_output.dtype)
    padded = np.zeros((n_panel * PANEL, *per_output.shape[1:]), per_output.dtype)
    padded[:n_out] = per_output
    result[...] = np.moveaxis(padded.reshape(n_panel, PANEL, *per_output.shape[1:]), 1, -1)
    return result


def pack(weight: Weight) -> PackedMatrix:
    """Lay out a weight `(n_out, n_in)` for `simd.linear`, once.

    float16 stays float16, every other real type becomes float32; what is quantized stays so; what is packed is returned
    as it is.
    """
    if isinstance(weight, PackedMatrix):
        return weight
    if isinstance(weight, QuantizedWeight):
        if weight.dtype == "int4":
            values = weight.values
            if values.size and not LOWEST_INT4 <= values.min() <= values.max() <= HIGHEST_INT4:
                raise ValueError(f"int4 values must be from {LOWEST_INT4} to {HIGHEST_INT4}")
            return PackedMatrix("int4", weight.shape, pack_int4(weight.values), _panelled(weight.scales))
        sums = weight.values.sum(axis=1, dtype=np.int32)
        return PackedMatrix("int8", weight.shape, pack_int8(weight.values), _panelled(weight.scales), _panelled(sums))
    array = as_array(weight, "weight")
    if array.ndim != 2:
        raise ValueError(f"weight must have 2 dimensions, not shape {array.shape}")
    if array.dtype != np.float16:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
    n_out, n_in = array.shape
    return PackedMatrix(array.dtype.name, (n_out, n_in), pack_panels(array))


def cast(floats: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Floats as "float32" or "float16". Raises ValueError for a finite number that float16 cannot hold."""
    with np.errstate(over="ignore"):
        result = floats.astype(dtype, copy=False)
    if dtype == "float16" and not np.array_equal(np.isfinite(result), np.isfinite(floats)):
        raise ValueError("holds numbers beyond float16's 65504; keep it as float32")
    return result


_QUANTIZERS = {"int8": quantize_int8, "int4": quantize_int4}
COMPUTE_TYPES = ("float32", "float16", *_QUANTIZERS)


def convert(floats: npt.NDArray[Any], dtype: str) -> Weight:
    """A matrix of floats as one of COMPUTE_TYPES. Raises ValueError for numbers that the type cannot hold."""
    return _QUANTIZERS[dtype](floats) if dtype in _QUANTIZERS else cast(floats, dtype)


def prepare(weights: Sequence[Weight], compute_type: str = "float32") -> PackedMatrix:
    """Weights of one input, packed as one matrix with their outputs one after the other.

    `compute_type` says what becomes of floats: "float32" keeps them, "float16" takes the nearest of those, "int8" and
    "int4" quantize them. What is quantized already stays as it is; where kinds differ, all are made floats first.
    Raises ValueError for a number beyond float16's range, for weights with different numbers of inputs and for another
    compute type, TypeError for what is no weight.
    """
    if compute_type not in COMPUTE_TYPES:
        raise ValueError(f"compute_type must be one of {', '.join(COMPUTE_TYPES)}, not {compute_type!r}")
    if not isinstance(weights, Sequence) or not weights:
        raise TypeError("weights must be a list of at least one weight")
    first = weights[0]
    if (
        len(weights) == 1
        and isinstance(first, PackedMatrix)
        and (first.scales is not None or compute_type in ("float32", first.dtype))
    ):
        return first
    plain = [weight.unpack() if isinstance(weight, PackedMatrix) else weight for weight in weights]
    plain = [weight if isinstance(weight, QuantizedWeight) else as_array(weight, "a weight") for weight in plain]
    shapes = [weight.shape for weight in plain]
    if any(len(shape) != 2 or shape[1] != shapes[0][1] for shape in shapes):
        raise ValueError(f"weights must be matrices with one number of inputs, not of shapes {shapes}")
    quantized = [weight for weight in plain if isinstance(weight, QuantizedWeight)]
    if len(quantized) == len(plain) and len({weight.dtype for weight in quantized}) == 1:
        values, scales = [weight.values for weight in quantized], [weight.scales for weight in quantized]
        return pack(QuantizedWeight(quantized[0].dtype, np.concatenate(values), np.concatenate(scales)))
    floats = [weight.dequantize() if isinstance(weight, QuantizedWeight) else weight for weight in plain]
    whole = floats[0] if len(floats) == 1 else np.concatenate(floats)
    return pack(whole if compute_type == "float32" else convert(whole, compute_type))
