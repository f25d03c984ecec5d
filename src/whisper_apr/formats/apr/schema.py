"""The tensors of an `.apr` version 2 file: their names, shapes and order, and their conversion from a checkpoint.

Projections of the same input are fused into one matrix and one bias, such as
`decoder.blocks.0.attn.query_key_value.weight`. A convolution kernel `(n_out, n_in, 3)` is stored as the matrix
`(n_out, 3 * n_in)` that im2col needs. The order is that in which inference first reads the tensors.
"""

import math
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checkpoint import OUTLIERS, OUTPUT, ModelDimensions, expected_shapes
from ...errors import FormatError
from ...mixed import Calibration, as_floats, input_moments, input_power, merged_output, outlier_count, output_name
from ...simd import PackedMatrix, QuantizedWeight, Weight, pack, prepare
from ...simd.weights import cast, convert
from ..lazy_tensors import LazyTensors

MATRIX_DTYPES = ("float32", "float16", "int8", "int4")
VECTOR_DTYPES = ("float32", "float16")

_FUSED = {"attn": ("query", "key", "value"), "cross_attn": ("key", "value")}
_PROJECTION = re.compile(r"(.*\.(attn|cross_attn))\.(query|key|value)\.(weight|bias)")


@dataclass(frozen=True)
class Part:
    """A tensor of the file, and the model's tensors that are concatenated in it."""

    name: str
    shape: tuple[int, ...]  # of a matrix: (n_out, n_in)
    sources: tuple[str, ...]  # openai-whisper's names
    is_matrix: bool  # False for biases, layer norms and positional embeddings, which the kernels use in float32


def model_parts(dims: ModelDimensions, untied: bool = False, outliers: bool = False) -> list[Part]:
    """Return every tensor of the file for a model of these dimensions, in order.

    Args:
        dims: The model's dimensions.
        untied: See `expected_shapes`.
        outliers: Whether the model has `OUTLIERS`.
    """
    shapes = expected_shapes(dims, untied)
    parts = []
    for name, shape in shapes.items():
        found = _PROJECTION.fullmatch(name)
        fused = _FUSED[found[2]] if found else ()
        if found and found[3] in fused:
            # the first projection's weight stands for all fused weights and biases
            if (found[3], found[4]) == (fused[0], "weight"):
                stem, width = f"{found[1]}.{'_'.join(fused)}", len(fused) * shape[0]
                for leaf, extents in (("weight", (width, shape[1])), ("bias", (width,))):
                    sources = tuple(f"{found[1]}.{projection}.{leaf}" for projection in fused)
                    parts.append(Part(f"{stem}.{leaf}", extents, sources, leaf == "weight"))
            continue
        is_matrix = name.endswith(".weight") and len(shape) > 1
        stored_shape = (shape[0], math.prod(shape[1:])) if is_matrix else shape
        parts.append(Part(name, stored_shape, (name,), is_matrix))
    if outliers:
        extents = (dims.n_vocab, outlier_count(dims.n_text_state))
        parts.append(Part(OUTLIERS, extents, (OUTLIERS,), is_matrix=True))
    return parts


def _as_matrix(weight: Weight) -> Weight:
    """Reshape a convolution kernel to its im2col matrix: all inputs of the first position, then of the second ..."""
    if isinstance(weight, np.ndarray) and weight.ndim == 3:
        return weight.transpose(0, 2, 1).reshape(len(weight), -1)
    return weight


def _read_sources(tensors: Mapping[str, Weight], part: Part) -> list[Weight]:
    """Return the weights to concatenate: the part itself if the checkpoint has it, else its sources.

    The key projection has no bias in Whisper; it is stored as zeros.
    """
    if part.name in tensors:
        return [_as_matrix(tensors[part.name])]
    width = part.shape[0] // len(part.sources)
    return [
        np.zeros(width, np.float32) if name.endswith(".key.bias") else _as_matrix(tensors[name])
        for name in part.sources
    ]


def _fits_float16(weights: list[Weight]) -> bool:
    """Return whether float16 represents arrays exactly."""
    with np.errstate(over="ignore", invalid="ignore"):
        return all(
            isinstance(weight, np.ndarray) and np.array_equal(weight, weight.astype(np.float16)) for weight in weights
        )


def part_dtype(
    tensors: Mapping[str, Weight], part: Part, dtype: str | None, sensitive: Container[str] = frozenset()
) -> str:
    """Return the dtype in which a part is stored.

    Args:
        tensors: The checkpoint's tensors.
        part: The part.
        dtype: The dtype for matrices; None keeps each as it is in the checkpoint.
        sensitive: The matrices that have 8 bits in an int4 model, see `mixed.int8_matrices`.

    Returns:
        `dtype` for matrices, but int8 for the sensitive ones of an int4 model; float32 for biases and layer norms;
        for positional embeddings float16 if that represents them exactly and `dtype` is not float32, else float32.
    """
    if part.is_matrix and dtype is not None:
        if dtype == "int4" and part.sources[0] in sensitive:
            # more bits would bring back nothing
            return "int4" if all(weight.dtype == "int4" for weight in _read_sources(tensors, part)) else "int8"
        return dtype
    if not part.is_matrix and len(part.shape) == 1:
        return "float32"
    if dtype is not None:
        return "float16" if dtype != "float32" and _fits_float16(_read_sources(tensors, part)) else "float32"
    found = {str(weight.dtype) for weight in _read_sources(tensors, part)}
    only = found.pop() if len(found) == 1 else ""
    return only if only in MATRIX_DTYPES else "float32"


def _concatenate(weights: list[Weight]) -> npt.NDArray[Any]:
    """Concatenate weights along the first axis, as floats."""
    floats = [as_floats(weight) for weight in weights]
    return np.concatenate(floats) if len(floats) > 1 else floats[0]


def make_vector(tensors: Mapping[str, Weight], part: Part, dtype: str) -> npt.NDArray[Any]:
    """Return a part that is not a matrix. Raises FormatError if `dtype` cannot represent its values."""
    floats = _concatenate(_read_sources(tensors, part))
    try:
        return cast(floats, dtype)
    except ValueError as error:
        raise FormatError(f"{part.name}: {error}") from error


def make_matrix(
    tensors: Mapping[str, Weight], part: Part, dtype: str, calibration: Calibration | None = None
) -> PackedMatrix:
    """Return a matrix packed for the kernels, unchanged if it has the dtype already.

    Args:
        tensors: The checkpoint's tensors.
        part: The matrix.
        dtype: The dtype in which it is stored.
        calibration: Measured inputs, for int4.

    Raises:
        FormatError: If `dtype` cannot represent its values.
    """
    weights = _read_sources(tensors, part)
    if len(weights) == 1 and isinstance(weights[0], PackedMatrix) and weights[0].dtype == dtype:
        return weights[0]
    if all(isinstance(weight, QuantizedWeight) and weight.dtype == dtype for weight in weights):
        return prepare(weights)
    floats, name = _concatenate(weights), part.sources[0]
    power = input_power(tensors, name) if dtype == "int4" else None
    moments = None if calibration is None else input_moments(tensors, name, calibration)
    try:
        return pack(convert(floats, dtype, power, moments))
    except ValueError as error:
        raise FormatError(f"{part.name}: {error}") from error


def uses_calibration(tensors: Mapping[str, Weight], parts: list[Part], calibration: Calibration) -> bool:
    """Return whether a calibration concerns any matrix that is not in int4 already, which nothing would change."""
    return any(
        any(weight.dtype != "int4" for weight in _read_sources(tensors, part))
        for part in parts
        if part.sources[0] in calibration
    )


def merge_outliers(tensors: Mapping[str, Weight]) -> Mapping[str, Weight]:
    """Return a model's tensors without `OUTLIERS`, whose columns are put back into the output projection, in floats."""
    if OUTLIERS not in tensors:
        return tensors
    readers: dict[str, Callable[[], Weight]] = {
        name: partial(tensors.__getitem__, name) for name in tensors if name != OUTLIERS
    }
    return LazyTensors(readers | {output_name(tensors): partial(merged_output, tensors)}, "the model")


def plain_tensor(dims: ModelDimensions, tensors: Mapping[str, Weight], name: str) -> npt.NDArray[Any]:
    """Return a tensor in openai-whisper's shape and in floats, however the checkpoint stores it.

    Args:
        dims: The model's dimensions.
        tensors: The checkpoint's tensors.
        name: openai-whisper's name of the tensor.

    Raises:
        KeyError: The checkpoint does not have the tensor.
    """
    shape = expected_shapes(dims, OUTPUT in tensors)[name]
    if name == output_name(tensors):
        values, first = merged_output(tensors), 0
    elif name in tensors:
        values, first = as_floats(tensors[name]), 0
    else:
        part = next(part for part in model_parts(dims) if name in part.sources)
        values, first = as_floats(tensors[part.name]), part.sources.index(name) * shape[0]
    values = values[first : first + shape[0]]
    if len(shape) == 3 and values.ndim == 2:  # a convolution kernel, stored as its im2col matrix
        return values.reshape(shape[0], shape[2], shape[1]).transpose(0, 2, 1)
    return values
