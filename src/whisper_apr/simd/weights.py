"""Packed weights: float32, float16, int8 or int4 matrices in the layout that the kernels read.

`pack` converts a float or quantized weight `(n_out, n_in)` to a `PackedMatrix`, once, for `simd.linear`. `dtype`,
`shape` and `arrays()` describe a `PackedMatrix` completely: write these arrays to a file, each at a multiple of 64
bytes, and `PackedMatrix.from_arrays` uses the memory-mapped file without copying.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import dispatch
from .checks import FloatArray, as_array, as_index
from .feedback import quantize_int4_with_feedback
from .layout import (
    ALIGNMENT,
    GROUP,
    PANEL,
    QUAD,
    aligned_empty,
    div_up,
    huge_zeros,
    pack_int4,
    pack_int8,
    pack_panels,
    unpack_int4,
    unpack_int8,
    unpack_panels,
)
from .quantize import (
    HIGHEST_INT4,
    LOWEST_INT4,
    MAX_INPUTS,
    QuantizedWeight,
    dequantize,
    quantize_int4,
    quantize_int8,
)

QUANTIZED = ("int8", "int4")


def array_layouts(dtype: str, n_out: int, n_in: int) -> dict[str, tuple[tuple[int, ...], type]]:
    """Return the shape and the element type of each array of a packed matrix `(n_out, n_in)`, by name.

    Raises:
        ValueError: The dtype is not float32, float16, int8 or int4.
    """
    n_panel = div_up(n_out, PANEL)
    if dtype == "float32":
        return {"panels": ((n_panel, n_in, PANEL), np.float32)}
    if dtype == "float16":
        return {"panels": ((n_panel, n_in, PANEL), np.float16)}
    if dtype == "int8":
        return {
            "panels": ((n_panel, div_up(n_in, QUAD), PANEL, QUAD), np.int8),
            "scales": ((n_panel, PANEL), np.float32),
            # row sums; they undo the zero point of 128 of the dot product with unsigned inputs (VNNI)
            "sums": ((n_panel, PANEL), np.int32),
        }
    if dtype == "int4":
        n_group = div_up(n_in, GROUP)
        return {
            "panels": ((n_panel, n_group, GROUP // 2 // QUAD, PANEL, QUAD), np.uint8),
            "scales": ((n_panel, n_group, PANEL), np.float16),
        }
    raise ValueError(f"dtype must be float32, float16, int8 or int4, not {dtype!r}")


@dataclass(frozen=True, eq=False)
class PackedMatrix:
    """A weight `(n_out, n_in)` in the layout that the kernels read. Create one with `pack` or `prepare`.

    Attributes:
        dtype: "float32", "float16", "int8" or "int4".
        shape: `(n_out, n_in)`.
        panels: The packed values; `n_panel = ceil(n_out / 16)`. float32, float16: `(n_panel, n_in, 16)`; int8:
            `(n_panel, ceil(n_in / 4), 16, 4)`; int4: `(n_panel, ceil(n_in / 32), 4, 16, 4)` uint8, two values a byte.
        scales: int8: `(n_panel, 16)` float32; int4: `(n_panel, ceil(n_in / 32), 16)` float16; otherwise None.
        sums: int8: `(n_panel, 16)` int32, the sum of each output's values; otherwise None.

    Raises:
        TypeError: `shape` is not a pair of integers.
        ValueError: An array is missing or unexpected, or has the wrong shape, dtype or memory layout.
    """

    dtype: str
    shape: tuple[int, int]
    panels: npt.NDArray[Any] = field(repr=False)
    scales: npt.NDArray[Any] | None = field(default=None, repr=False)
    sums: npt.NDArray[np.int32] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        shape = self.shape
        if not isinstance(shape, tuple) or len(shape) != 2:
            raise TypeError(f"the shape of a packed matrix must be a pair of integers, not {shape!r:.40}")
        n_out, n_in = (as_index(n, "a size", 0) for n in shape)
        if self.dtype in QUANTIZED and n_in > MAX_INPUTS:
            raise ValueError(f"a packed {self.dtype} matrix must have at most {MAX_INPUTS} inputs, not shape {shape}")
        layouts = array_layouts(self.dtype, n_out, n_in)
        for name in ("panels", "scales", "sums"):
            array = getattr(self, name)
            expected, kind = layouts.get(name, (None, None))
            if array is None and expected is None:
                continue
            if not isinstance(array, np.ndarray) or array.shape != expected or array.dtype != kind:
                found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                wanted = f"{np.dtype(kind)} {expected}" if expected else "None"
                raise ValueError(f"{name} of a {self.dtype} matrix {shape} must be {wanted}, not {found}")
            if not (array.flags.c_contiguous and array.flags.aligned):
                raise ValueError(f"{name} of a packed matrix must be C-contiguous and aligned")

    @classmethod
    def from_arrays(cls, dtype: str, shape: tuple[int, int], arrays: Mapping[str, npt.NDArray[Any]]) -> "PackedMatrix":
        """Create a packed matrix from the arrays that `arrays` returns, without copying them.

        Args:
            dtype: "float32", "float16", "int8" or "int4".
            shape: `(n_out, n_in)`.
            arrays: The arrays by name. They may be read-only, and should start at multiples of 64 bytes for speed.

        Raises:
            TypeError: `arrays` is not a mapping, or `shape` is not a pair of integers.
            ValueError: An array is missing or unexpected, or has the wrong shape, dtype or memory layout.
        """
        if not isinstance(arrays, Mapping):
            raise TypeError(f"arrays must be a mapping of names to arrays, not {type(arrays).__name__}")
        return cls(dtype, shape, *(arrays.get(name) for name in ("panels", "scales", "sums")))  # type: ignore[arg-type]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that make up the matrix, by name: `panels`, and for quantized ones `scales` and `sums`."""
        parts = {"panels": self.panels, "scales": self.scales, "sums": self.sums}
        return {name: array for name, array in parts.items() if array is not None}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, padding included."""
        return sum(array.nbytes for array in self.arrays().values())

    def rows(self, index: npt.NDArray[np.integer[Any]]) -> FloatArray:
        """Return rows of the weight as float32, as for a lookup in an embedding table.

        Args:
            index: Indices of rows, an integer array of any shape.

        Returns:
            `(*index.shape, n_in)` float32.

        Raises:
            IndexError: An index is out of range.
        """
        n_out, n_in = self.shape
        if index.size and (index.min() < 0 or index.max() >= n_out):
            raise IndexError(
                f"row {index.max() if index.max() >= n_out else index.min()} is out of range: there are {n_out} rows"
            )
        panel, slot = np.divmod(index, PANEL)
        if self.scales is None:
            return self.panels[panel, :, slot].astype(np.float32)
        if self.dtype == "int8":
            quads = self.panels[panel, :, slot]  # (..., n_quad, 4)
            values = quads.reshape(*index.shape, QUAD * quads.shape[-2])[..., :n_in]
            return dequantize("int8", values, self.scales[panel, slot])
        packed = self.panels[panel, :, :, slot]  # (..., n_group, 4, 4)
        halves = np.stack([packed & 15, packed >> 4], axis=-3).view(np.int8) - np.int8(8)
        values = halves.reshape(*index.shape, GROUP * packed.shape[-3])[..., :n_in]
        return dequantize("int4", values, self.scales[panel, :, slot])

    def embed(
        self,
        tokens: npt.NDArray[np.integer[Any]],
        positions: FloatArray,
        lengths: npt.NDArray[np.int32],
        out: FloatArray,
    ) -> bool:
        """Compute `out[i] = rows(tokens[i]) + positions[lengths[i]]` and increment all lengths, in one compiled call.

        This is the first operation of a decoder's step; it avoids the overhead of several NumPy calls.

        Args:
            tokens: `(n_row, 1)` int64.
            positions: `(n, n_in)` float32: the positional embedding.
            lengths: `(n_row,)` int32: the position of each row's token.
            out: `(n_row, ..., n_in)` float32.

        Returns:
            True, or False if nothing was done: if an array has another dtype, shape or memory layout, if an index is
                out of range, and always on the backend `numpy`. Then use `rows`.
        """
        return bool(dispatch.impl.embed(tokens, self.panels, self.scales, *self.shape, positions, lengths, out))

    def unpack(self) -> "npt.NDArray[Any] | QuantizedWeight":
        """Return the weight that was packed: an array `(n_out, n_in)`, or a `QuantizedWeight`."""
        n_out, n_in = self.shape
        if self.scales is None:
            return unpack_panels(self.panels, n_out)
        if self.dtype == "int8":
            return QuantizedWeight("int8", unpack_int8(self.panels, n_out, n_in), self.scales.reshape(-1)[:n_out])
        n_panel, n_group, _ = self.scales.shape
        scales = self.scales.swapaxes(1, 2).reshape(n_panel * PANEL, n_group)[:n_out]
        return QuantizedWeight("int4", unpack_int4(self.panels, n_out, n_in), scales)


Weight = npt.NDArray[Any] | QuantizedWeight | PackedMatrix
"""A weight `(n_out, n_in)` in any form that `pack` accepts."""


def _in_panels(per_output: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array `(n_out, ...)` as `(n_panel, ..., 16)`, padded with zeros."""
    n_out = len(per_output)
    n_panel = div_up(n_out, PANEL)
    result = aligned_empty((n_panel, *per_output.shape[1:], PANEL), per_output.dtype)
    padded = np.zeros((n_panel * PANEL, *per_output.shape[1:]), per_output.dtype)
    padded[:n_out] = per_output
    result[...] = np.moveaxis(padded.reshape(n_panel, PANEL, *per_output.shape[1:]), 1, -1)
    return result


def pack(weight: Weight | npt.ArrayLike) -> PackedMatrix:
    """Pack a weight for `simd.linear`.

    Args:
        weight: `(n_out, n_in)`. A float16 array stays float16, an array of another type becomes float32, a quantized
            weight stays quantized, and a packed matrix is returned as it is.

    Raises:
        TypeError: The weight is not an array of real numbers.
        ValueError: The weight is not a matrix, or int4 values are out of range.
    """
    if isinstance(weight, PackedMatrix):
        return weight
    if isinstance(weight, QuantizedWeight):
        if weight.dtype == "int4":
            values = weight.values
            if values.size and not LOWEST_INT4 <= values.min() <= values.max() <= HIGHEST_INT4:
                raise ValueError(f"int4 values must be from {LOWEST_INT4} to {HIGHEST_INT4}")
            return PackedMatrix("int4", weight.shape, pack_int4(weight.values), _in_panels(weight.scales))
        sums = weight.values.sum(axis=1, dtype=np.int32)
        return PackedMatrix("int8", weight.shape, pack_int8(weight.values), _in_panels(weight.scales), _in_panels(sums))
    array = as_array(weight, "weight")
    if array.ndim != 2:
        raise ValueError(f"weight must have 2 dimensions, not shape {array.shape}")
    if array.dtype != np.float16:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
    n_out, n_in = array.shape
    return PackedMatrix(array.dtype.name, (n_out, n_in), pack_panels(array))


def _has_own_memory(array: npt.NDArray[Any]) -> bool:
    """Return whether an array is all of the memory that it refers to, which is thus freed with it."""
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return owner.base is None and owner.nbytes <= array.nbytes + ALIGNMENT


def to_huge_pages(matrices: Sequence[PackedMatrix]) -> list[PackedMatrix]:
    """Return the same matrices with their panels side by side in huge pages, see `huge_zeros`.

    Matrices that are multiplied with one row, one after the other, are read faster: each page of 4 KiB costs an address
    translation, across which the hardware does not prefetch. Those in a mapped file or in a larger array stay there.
    """
    moved = [matrix for matrix in matrices if _has_own_memory(matrix.panels)]
    sizes = [div_up(matrix.panels.nbytes, ALIGNMENT) * ALIGNMENT for matrix in moved]
    block = huge_zeros((sum(sizes),), np.uint8)
    panels: dict[int, npt.NDArray[Any]] = {}
    for matrix, size in zip(moved, sizes, strict=True):
        part, block = block[: matrix.panels.nbytes], block[size:]
        panels[id(matrix)] = part.view(matrix.panels.dtype).reshape(matrix.panels.shape)
        panels[id(matrix)][...] = matrix.panels
    return [replace(matrix, panels=panels[id(matrix)]) if id(matrix) in panels else matrix for matrix in matrices]


def cast(floats: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Convert floats to "float32" or "float16".

    Raises:
        ValueError: A finite number is beyond float16's range.
    """
    with np.errstate(over="ignore"):
        result = floats.astype(dtype, copy=False)
    if dtype == "float16" and not np.array_equal(np.isfinite(result), np.isfinite(floats)):
        raise ValueError("a number is beyond float16's 65504; use float32")
    return result


COMPUTE_TYPES = ("float32", "float16", *QUANTIZED)
"""The compute types that `prepare` accepts."""


def convert(
    floats: npt.NDArray[Any],
    dtype: str,
    power: npt.ArrayLike | None = None,
    moments: Sequence[npt.ArrayLike] | None = None,
) -> Weight:
    """Convert a matrix of floats to one of `COMPUTE_TYPES`, unpacked.

    See `prepare` for `power` and `quantize_int4_with_feedback` for `moments`; both concern int4 only.

    Raises:
        ValueError: A number is beyond the type's range, or not finite when quantizing.
    """
    if dtype == "int4" and moments is not None:
        return quantize_int4_with_feedback(floats, moments)
    if dtype == "int4":
        return quantize_int4(floats, power)
    return quantize_int8(floats) if dtype == "int8" else cast(floats, dtype)


def prepare(
    weights: Sequence[Weight], compute_type: str = "float32", power: npt.ArrayLike | None = None
) -> PackedMatrix:
    """Convert weights to a compute type and pack them as one matrix, their outputs concatenated.

    One product with the concatenated matrix computes, for example, the queries, keys and values of an attention layer.

    Args:
        weights: One or more weights `(n_out, n_in)`, with the same n_in. Quantized weights stay as they are if all
            have the same dtype; otherwise all weights are first converted to floats.
        compute_type: What to do with floats. "float32" keeps them as `pack` does (float16 arrays stay float16),
            "float16" rounds them, and "int8" and "int4" quantize them.
        power: The mean square of each input, `(n_in,)`, for the least error of int4; see `quantize_int4`.

    Returns:
        `(sum of n_out, n_in)`, packed.

    Raises:
        TypeError: `weights` is not a sequence of at least one weight.
        ValueError: The compute type is unknown, n_in differs, or a number is beyond the type's range.
    """
    if compute_type not in COMPUTE_TYPES:
        raise ValueError(f"compute_type must be one of {', '.join(COMPUTE_TYPES)}, not {compute_type!r}")
    if not isinstance(weights, Sequence) or not weights:
        raise TypeError("weights must be a sequence of at least one weight")
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
        raise ValueError(f"weights must be matrices with the same number of inputs, not of shapes {shapes}")
    quantized = [weight for weight in plain if isinstance(weight, QuantizedWeight)]
    if len(quantized) == len(plain) and len({weight.dtype for weight in quantized}) == 1:
        values, scales = [weight.values for weight in quantized], [weight.scales for weight in quantized]
        return pack(QuantizedWeight(quantized[0].dtype, np.concatenate(values), np.concatenate(scales)))
    floats = [weight.dequantize() if isinstance(weight, QuantizedWeight) else weight for weight in plain]
    joined = floats[0] if len(floats) == 1 else np.concatenate(floats)
    return pack(joined if compute_type == "float32" else convert(joined, compute_type, power))
