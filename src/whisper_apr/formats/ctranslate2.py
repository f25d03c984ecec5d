"""Read CTranslate2's model folders, which faster-whisper uses: `model.bin`, and `config.json` with the alignment heads.

`model.bin` is little-endian. A string is a uint16 length, which counts the terminating zero, and the bytes. The file
consists of

- uint32 format version, 6;
- string "WhisperSpec" and uint32 revision;
- uint32 number of variables, each a string name, uint8 number of dimensions, uint32 dimensions, uint8 type, uint32 size
  in bytes, and the data;
- uint32 number of aliases, each a string name and the string name of its variable.

Projections of the same input are fused into one matrix. An integer matrix is the original times `weight_scale` (one for
each output), rounded.
"""

import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checkpoint import (
    EMBEDDING,
    OUTPUT,
    Checkpoint,
    ModelDimensions,
    check_shapes,
    expected_shapes,
    make_dimensions,
    parse_alignment_heads,
    parse_suppress_tokens,
)
from ..errors import FormatError
from ..finite import FiniteTensors
from ..simd import QuantizedWeight, Weight
from .byte_reader import ByteReader
from .files import map_bytes, read_optional_json
from .lazy_tensors import LazyTensors
from .model_card import read_license
from .vocabulary import read_vocabulary

VERSION = 6
SPEC = b"WhisperSpec\0"
SIGNATURE = struct.pack("<IH", VERSION, len(SPEC)) + SPEC
MAX_VARIABLES = 20_000  # large-v3 has fewer than 2,000
MAX_DIMENSIONS = 4
MIN_SCALE = 2**16 / float(np.finfo(np.float32).max)  # an integer of 16 bits divided by it is finite

_DTYPES = ("<f4", "i1", "<i2", "<i4", "<f2", "bfloat16")

# CTranslate2's name of a layer's module -> openai-whisper's names of the modules that are fused in it, in row order
_ENCODER_PARTS = {
    "self_attention/layer_norm": ("attn_ln",),
    "self_attention/linear_0": ("attn.query", "attn.key", "attn.value"),
    "self_attention/linear_1": ("attn.out",),
    "ffn/layer_norm": ("mlp_ln",),
    "ffn/linear_0": ("mlp.0",),
    "ffn/linear_1": ("mlp.2",),
}
_DECODER_PARTS = _ENCODER_PARTS | {
    "attention/layer_norm": ("cross_attn_ln",),
    "attention/linear_0": ("cross_attn.query",),
    "attention/linear_1": ("cross_attn.key", "cross_attn.value"),
    "attention/linear_2": ("cross_attn.out",),
}
_SAME_LEAVES = (("weight", "weight"), ("bias", "bias"))


@dataclass(frozen=True)
class _Variable:
    """A tensor as it is stored in the file."""

    dtype: str
    shape: tuple[int, ...]
    raw: npt.NDArray[np.uint8]

    def rows(self, begin: int, end: int) -> npt.NDArray[Any]:
        """Return a slice along the first axis, bfloat16 as float32."""
        size = len(self.raw) // self.shape[0]
        raw = self.raw[begin * size : end * size].tobytes()
        shape = (end - begin, *self.shape[1:])
        if self.dtype == "bfloat16":
            return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
        return np.frombuffer(raw, self.dtype).reshape(shape)

    def first(self) -> int:
        """Return the first number, as an integer."""
        return int(np.frombuffer(self.raw.tobytes(), self.dtype)[0])


def _read_string(reader: ByteReader) -> str:
    length = reader.uint16("the length of a name")
    return reader.read(length, "a name").tobytes()[:-1].decode("utf-8", "replace")


def _read_count(reader: ByteReader, what: str) -> int:
    count = reader.uint32(f"the number of {what}")
    if count > MAX_VARIABLES:
        reader.fail(f"damaged: it has {count} {what}, more than any model; load the file again from its source")
    return count


def _read_variable(reader: ByteReader, name: str) -> _Variable:
    n_dim = reader.uint8(f"the number of dimensions of {name!r}")
    if n_dim > MAX_DIMENSIONS:
        reader.fail(f"damaged: {name!r} has {n_dim} dimensions, at most {MAX_DIMENSIONS} are possible")
    shape = reader.unpack(f"{n_dim}I", f"the shape of {name!r}")
    type_number, size = reader.uint8(f"the type of {name!r}"), reader.uint32(f"the size of {name!r}")
    if type_number >= len(_DTYPES):
        reader.fail(f"{name!r} is of type {type_number}, which is not supported")
    dtype = _DTYPES[type_number]
    item_size = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
    if 0 in shape or size != item_size * math.prod(shape):
        reader.fail(f"damaged: {name!r} of shape {shape} and type {dtype} has {size} bytes")
    return _Variable(dtype, shape, reader.read(size, f"the data of {name!r}"))


def _read_variables(path: Path) -> dict[str, _Variable]:
    """Read `model.bin`, with its aliases resolved."""
    reader = ByteReader(map_bytes(path), str(path))
    if reader.read(len(SIGNATURE), "the signature").tobytes() != SIGNATURE:
        reader.fail(f"not a Whisper model in CTranslate2's format, version {VERSION}; convert the original model")
    reader.uint32("the revision")
    variables = {}
    for _ in range(_read_count(reader, "variables")):
        name = _read_string(reader)
        variables[name] = _read_variable(reader, name)
    for _ in range(_read_count(reader, "aliases")):
        alias, name = _read_string(reader), _read_string(reader)
        if name not in variables:
            reader.fail(f"damaged: {alias!r} is an alias of {name!r}, which does not exist")
        variables[alias] = variables[name]
    if reader.remaining:
        reader.fail(f"damaged: {reader.remaining} bytes follow its end; load the file again from its source")
    return variables


@dataclass(frozen=True)
class _Part:
    """One tensor of the model: the rows of a possibly fused variable, and their scales."""

    variable: _Variable
    scales: _Variable | None
    index: int  # which of the equal parts of the variable's rows
    count: int  # number of parts

    @property
    def shape(self) -> tuple[int, ...]:
        n = self.variable.shape[0]
        # if the rows cannot be divided, return a shape that never matches, for check_shapes to report
        return (n // self.count, *self.variable.shape[1:]) if n % self.count == 0 else (n,) * 5

    def is_same(self, other: "_Part") -> bool:
        """Return whether another part has the same numbers; CTranslate2 stores matrices that are equal once."""
        scales = self.scales if self.scales is not None else other.scales  # those of an alias may be left out
        return all(
            a is b or (a is not None and b is not None and a.dtype == b.dtype and np.array_equal(a.raw, b.raw))
            for a, b in ((self.variable, other.variable), (scales, other.scales))
        )

    def weight(self) -> Weight:
        """Decode the tensor; int8 stays int8. Raises ValueError for invalid scales."""
        n = self.variable.shape[0] // self.count
        begin, end = self.index * n, (self.index + 1) * n
        values = self.variable.rows(begin, end)
        if self.scales is None:
            return values
        if self.scales.shape == self.variable.shape[:1]:
            scales = self.scales.rows(begin, end).astype(np.float32)
        else:  # int16 has one scale for the whole matrix
            scales = np.full(n, np.frombuffer(self.scales.raw.tobytes(), "<f4")[0], np.float32)
        if not (np.isfinite(scales).all() and (np.abs(scales) > MIN_SCALE).all()):
            raise ValueError(f"its scales must be finite and at least {MIN_SCALE:.0e}")
        if values.dtype != np.int8:
            return values.astype(np.float32) / scales.reshape(-1, *[1] * (values.ndim - 1))
        if values.ndim == 3:  # a convolution kernel as a matrix, position-major (im2col)
            values = values.transpose(0, 2, 1).reshape(n, -1)
        return QuantizedWeight("int8", np.ascontiguousarray(values), 1 / scales)


def _sources(dims: ModelDimensions) -> Iterator[tuple[str, str, int, int]]:
    """Yield (openai-whisper's name, CTranslate2's name, index, count) of every module; see `_Part` for the last two."""
    for side, parts, n_layer in (
        ("encoder", _ENCODER_PARTS, dims.n_audio_layer),
        ("decoder", _DECODER_PARTS, dims.n_text_layer),
    ):
        for i in range(n_layer):
            for theirs, ours in parts.items():
                for index, name in enumerate(ours):
                    yield f"{side}.blocks.{i}.{name}", f"{side}/layer_{i}/{theirs}", index, len(ours)
    yield "encoder.conv1", "encoder/conv1", 0, 1
    yield "encoder.conv2", "encoder/conv2", 0, 1
    yield "encoder.ln_post", "encoder/layer_norm", 0, 1
    yield "decoder.ln", "decoder/layer_norm", 0, 1
    yield "decoder.token_embedding", "decoder/embeddings", 0, 1
    yield "decoder.output", "decoder/projection", 0, 1


def _find_parts(variables: Mapping[str, _Variable], dims: ModelDimensions) -> dict[str, _Part]:
    """Find the model's tensors among the variables, by openai-whisper's names; some may be missing."""
    parts = {}
    for ours, theirs, index, count in _sources(dims):
        is_norm = theirs.endswith("layer_norm")
        for ours_leaf, theirs_leaf in (("weight", "gamma"), ("bias", "beta")) if is_norm else _SAME_LEAVES:
            variable = variables.get(f"{theirs}/{theirs_leaf}")
            if variable is not None and variable.shape:
                scales = variables.get(f"{theirs}/{theirs_leaf}_scale")
                parts[f"{ours}.{ours_leaf}"] = _Part(variable, scales, index, count)
    for side in ("encoder", "decoder"):
        variable = variables.get(f"{side}/position_encodings/encodings")
        if variable is not None and variable.shape:
            parts[f"{side}.positional_embedding"] = _Part(variable, None, 0, 1)
    return parts


def _infer_dimensions(variables: Mapping[str, _Variable], where: str) -> ModelDimensions:
    """Infer the model's dimensions from the shapes of its variables."""

    def size(name: str, axis: int, n_dim: int) -> int | None:
        variable = variables.get(name)
        return variable.shape[axis] if variable is not None and len(variable.shape) == n_dim else None

    def number(name: str) -> int | None:
        variable = variables.get(name)
        return variable.first() if variable is not None and variable.dtype[-2] == "i" else None

    def count_layers(side: str) -> int:
        matches = [re.match(rf"{side}/layer_(\d{{1,4}})/", name) for name in variables]
        return 1 + max((int(match[1]) for match in matches if match), default=-1)

    return make_dimensions(
        {
            "n_mels": size("encoder/conv1/weight", 1, 3),
            "n_audio_ctx": size("encoder/position_encodings/encodings", 0, 2),
            "n_audio_state": size("encoder/conv1/weight", 0, 3),
            "n_audio_head": number("encoder/num_heads"),
            "n_audio_layer": count_layers("encoder"),
            "n_vocab": size("decoder/embeddings/weight", 0, 2),
            "n_text_ctx": size("decoder/position_encodings/encodings", 0, 2),
            "n_text_state": size("decoder/embeddings/weight", 1, 2),
            "n_text_head": number("decoder/num_heads"),
            "n_text_layer": count_layers("decoder"),
        },
        where,
    )


def _check_scales(name: str, part: _Part, where: str) -> None:
    """Raise FormatError unless an integer tensor has float32 scales and a float tensor has none."""
    variable, scales = part.variable, part.scales
    is_integer = variable.dtype in ("i1", "<i2", "<i4")
    if is_integer and scales is None:
        raise FormatError(f"{where}: {name} is of type {variable.dtype}, but integers need a scale")
    if scales is None:
        return
    if not is_integer:
        raise FormatError(f"{where}: {name} is of type {variable.dtype}, but has scales as if it were quantized")
    if scales.dtype != "<f4" or scales.shape not in ((), (1,), variable.shape[:1]):
        raise FormatError(
            f"{where}: {name} has scales of type {scales.dtype} and shape {scales.shape}; "
            "they must be float32, one for each output or one for all"
        )


def read_ctranslate2(path: str | PathLike[str]) -> Checkpoint:
    """Read a CTranslate2 model.

    int8 matrices are kept as they are; int16 ones become float32.

    Args:
        path: The folder, or its `model.bin`. `config.json` and the vocabulary beside it are optional.

    Raises:
        FormatError: The model is damaged, incomplete, or not a Whisper model.
    """
    file = Path(path) / "model.bin" if Path(path).is_dir() else Path(path)
    where = str(file)
    variables = _read_variables(file)
    dims = _infer_dimensions(variables, where)
    parts = _find_parts(variables, dims)
    if OUTPUT in parts and EMBEDDING in parts and parts[OUTPUT].is_same(parts[EMBEDDING]):
        del parts[OUTPUT]
    if "decoder.output.bias" in parts:
        raise FormatError(f"{where}: the output projection has a bias, which Whisper's does not have")
    shapes = expected_shapes(dims, OUTPUT in parts)
    check_shapes(dims, {name: part.shape for name, part in parts.items()}, where)
    for name in shapes:
        _check_scales(name, parts[name], where)
    tensors = LazyTensors({name: parts[name].weight for name in shapes}, where)
    config = read_optional_json(file.with_name("config.json"))
    vocabulary, special_tokens = read_vocabulary(file.parent, dims, config)
    return Checkpoint(
        dims,
        FiniteTensors(tensors, where),
        parse_alignment_heads(config.get("alignment_heads"), dims),
        parse_suppress_tokens(config.get("suppress_ids"), dims),
        vocabulary=vocabulary,
        special_tokens=special_tokens,
        license=read_license(file.with_name("README.md")),
    )
