"""What an `.apr` version 2 file of a model holds, in which order: a network's tensors as its layers read them.

Projections of one input stand together, as one matrix and one bias: `decoder.blocks.0.attn.query_key_value.weight`. A convolution's
kernel `(n_out, n_in, 3)` is the matrix `(n_out, 3 * n_in)` of its windows. The order is that of need.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checkpoint import ModelDimensions, expected_shapes
from ...errors import FormatError
from ...simd import PackedMatrix, QuantizedWeight, Weight, pack, prepare
from ...simd.weights import cast, convert

MATRIX_DTYPES = ("float32", "float16", "int8", "int4")
VECTOR_DTYPES = ("float32", "float16")

_JOINED = {"attn": ("query", "key", "value"), "cross_attn": ("key", "value")}
_PROJECTION = re.compile(r"(.*\.(attn|cross_attn))\.(query|key|value)\.(weight|bias)")


@dataclass(frozen=True)
class Part:
    """One tensor of the file, and the model's tensors that it is made of, one after the other."""

    name: str
    shape: tuple[int, ...]  # of a matrix: (n_out, n_in)
    sources: tuple[str, ...]  # openai-whisper's names
    is_matrix: bool  # else a vector or a table of positions, which take part in float32


def model_parts(dims: ModelDimensions) -> list[Part]:
    """Every part of a model of these dimensions, in order."""
    shapes = expected_shapes(dims)
    parts = []
    for name, shape in shapes.items():
        found = _PROJECTION.fullmatch(name)
        joined = _JOINED[found[2]] if found else ()
        if found and found[3] in joined:
            if (found[3], found[4]) == (joined[0], "weight"):
                stem, width = f"{found[1]}.{'_'.join(joined)}", len(joined) * shape[0]
                for leaf, extents in (("weight", (width, shape[1])), ("bias", (width,))):
                    sources = tuple(f"{found[1]}.{part}.{leaf}" for part in joined)
                    parts.append(Part(f"{stem}.{leaf}", extents, sources, leaf == "weight"))
            continue
        is_matrix = name.endswith(".weight") and len(shape) > 1
        whole = (shape[0], int(np.prod(shape[1:]))) if is_matrix else shape
        parts.append(Part(name, whole, (name,), is_matrix))
    return parts


def _as_matrix(weight: Weight) -> Weight:
    """A convolution's kernel as the matrix of its windows: all inputs of the first position, then of the second ..."""
    if isinstance(weight, np.ndarray) and weight.ndim == 3:
        return weight.transpose(0, 2, 1).reshape(len(weight), -1)
    return weight


def _floats(weight: Weight) -> npt.NDArray[Any]:
    plain = weight.unpack() if isinstance(weight, PackedMatrix) else weight
    return plain.dequantize() if isinstance(plain, QuantizedWeight) else plain


def _sources(tensors: Mapping[str, Weight], part: Part) -> list[Weight]:
    """What a part is made of: itself where the tensors have it, else its sources. The key's bias is zeros."""
    if part.name in tensors:
        return [_as_matrix(tensors[part.name])]
    width = part.shape[0] // len(part.sources)
    return [
        np.zeros(width, np.float32) if name.endswith(".key.bias") else _as_matrix(tensors[name])
        for name in part.sources
    ]


def part_dtype(tensors: Mapping[str, Weight], part: Part, dtype: str | None) -> str:
    """In which type a part is to be stored: a matrix in `dtype`, or as it is where that is None.

    Of the others, biases and norms are float32; tables of positions are float16 where the matrices are not float32.
    """
    if part.is_matrix and dtype is not None:
        return dtype
    if not part.is_matrix and len(part.shape) == 1:
        return "float32"
    if dtype is not None:
        return "float32" if dtype == "float32" else "float16"
    kinds = {str(weight.dtype) for weight in _sources(tensors, part)}
    kind = kinds.pop()
    return kind if not kinds and kind in MATRIX_DTYPES else "float32"


def _joined(floats: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate(floats) if len(floats) > 1 else floats[0]


def make_vector(tensors: Mapping[str, Weight], part: Part, dtype: str) -> npt.NDArray[Any]:
    """A part that is no matrix. Raises FormatError for numbers that `dtype` cannot hold."""
    try:
        return cast(_joined([_floats(weight) for weight in _sources(tensors, part)]), dtype)
    except ValueError as error:
        raise FormatError(f"{part.name}: {error}") from error


def make_matrix(tensors: Mapping[str, Weight], part: Part, dtype: str) -> PackedMatrix:
    """A matrix in the kernels' layout. What has the type already is taken as it is. Raises FormatError for numbers that `dtype` cannot hold."""
    weights = _sources(tensors, part)
    if len(weights) == 1 and isinstance(weights[0], PackedMatrix) and weights[0].dtype == dtype:
        return weights[0]
    if all(isinstance(weight, QuantizedWeight) and weight.dtype == dtype for weight in weights):
        return prepare(weights)
    try:
        return pack(convert(_joined([_floats(weight) for weight in weights]), dtype))
    except ValueError as error:
        raise FormatError(f"{part.name}: {error}") from error


def plain_tensor(dims: ModelDimensions, tensors: Mapping[str, Weight], name: str) -> npt.NDArray[Any]:
    """One of the model's tensors as openai-whisper has it, in floats, whatever it is stored as. KeyError where it is not there."""
    shape = expected_shapes(dims)[name]
    if name in tensors:
        values, first = _floats(tensors[name]), 0
    else:
        part = next(part for part in model_parts(dims) if name in part.sources)
        values, first = _floats(tensors[part.name]), part.sources.index(name) * shape[0]
    values = values[first : first + shape[0]]
    if len(shape) == 3 and values.ndim == 2:  # a convolution, stored as the matrix of its windows
        return values.reshape(shape[0], shape[2], shape[1]).transpose(0, 2, 1)
    return values
