"""CTranslate2's folders, which faster-whisper uses: `model.bin`, and `config.json` with the alignment heads.

`model.bin`, little-endian: uint32 6, the version; the name "WhisperSpec" (a uint16 length, the bytes, and a zero, which counts); uint32, its
revision; a uint32 count of variables, each a name, uint8 number of dimensions, uint32 dimensions, uint8 type, uint32 number of bytes, and
the bytes; a uint32 count of aliases, each a name and the name of the variable that it stands for. Projections of one input are one matrix. A
matrix in int8 was multiplied by its `weight_scale`, one for each output, before it was rounded.
"""

import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ..checkpoint import (
    Checkpoint,
    ModelDimensions,
    check_shapes,
    expected_shapes,
    make_dimensions,
    pairs_of,
    tokens_of,
)
from ..errors import FormatError
from ..finite import FiniteTensors
from ..simd import QuantizedWeight, Weight
from .files import map_bytes, read_json
from .model_card import read_license
from .vocabulary import read_vocabulary

VERSION = 6
SPEC = b"WhisperSpec\0"
BEGINNING = struct.pack("<IH", VERSION, len(SPEC)) + SPEC
MAX_VARIABLES = 20_000  # large-v3 has fewer than 2,000
MAX_DIMENSIONS = 4

_DTYPES = ("<f4", "i1", "<i2", "<i4", "<f2", "bfloat16")

# CTranslate2's name of a layer's part -> the names of ours that are its rows, one after the other
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


@dataclass(frozen=True)
class _Variable:
    dtype: str
    shape: tuple[int, ...]
    raw: npt.NDArray[np.uint8]

    def rows(self, begin: int, end: int) -> npt.NDArray[Any]:
        """Some of the numbers, along the first axis; bfloat16 widened."""
        size = len(self.raw) // self.shape[0]
        raw = self.raw[begin * size : end * size].tobytes()
        shape = (end - begin, *self.shape[1:])
        if self.dtype == "bfloat16":
            return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
        return np.frombuffer(raw, self.dtype).reshape(shape)

    def number(self) -> int:
        return int(np.frombuffer(self.raw.tobytes(), self.dtype)[0])


class _Reader:
    """Goes through the file's bytes, never beyond them."""

    def __init__(self, raw: npt.NDArray[np.uint8], where: str) -> None:
        self.raw, self.where, self.at = raw, where, 0

    def fail(self, what: str) -> NoReturn:
        raise FormatError(f"{self.where}: {what}")

    def take(self, n: int) -> npt.NDArray[np.uint8]:
        if n > len(self.raw) - self.at:
            self.fail(
                f"cut off or damaged: {n} bytes are expected at {self.at}, and {len(self.raw) - self.at} are left"
            )
        self.at += n
        return self.raw[self.at - n : self.at]

    def number(self, form: str) -> int:
        (value,) = struct.unpack(f"<{form}", self.take(struct.calcsize(form)).tobytes())
        return int(value)

    def word(self) -> str:
        return self.take(self.number("H")).tobytes()[:-1].decode("utf-8", "replace")

    def count(self, what: str) -> int:
        count = self.number("I")
        if count > MAX_VARIABLES:
            self.fail(f"damaged: {count} {what}")
        return count

    def variable(self, name: str) -> _Variable:
        n_dim = self.number("B")
        if n_dim > MAX_DIMENSIONS:
            self.fail(f"damaged: {name!r} has {n_dim} dimensions")
        shape = tuple(self.number("I") for _ in range(n_dim))
        number, size = self.number("B"), self.number("I")
        if number >= len(_DTYPES):
            self.fail(f"{name!r} is of type {number}, which is not known")
        dtype = _DTYPES[number]
        item = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
        if 0 in shape or size != item * math.prod(shape):
            self.fail(f"damaged: {name!r} of shape {shape} has {size} bytes")
        return _Variable(dtype, shape, self.take(size))


def _read_variables(path: Path) -> dict[str, _Variable]:
    reader = _Reader(map_bytes(path), str(path))
    if reader.take(len(BEGINNING)).tobytes() != BEGINNING:
        reader.fail(f"not CTranslate2's file of a Whisper model, of version {VERSION}")
    reader.number("I")
    variables = {}
    for _ in range(reader.count("variables")):
        name = reader.word()
        variables[name] = reader.variable(name)
    for _ in range(reader.count("aliases")):
        alias, name = reader.word(), reader.word()
        if name not in variables:
            reader.fail(f"damaged: {alias!r} stands for {name!r}, which is not there")
        variables[alias] = variables[name]
    if reader.at != len(reader.raw):
        reader.fail(f"damaged: {len(reader.raw) - reader.at} bytes follow its end")
    return variables


@dataclass(frozen=True)
class _Part:
    """Where one of our tensors is: some rows of a variable, and of the scales that it was multiplied by."""

    variable: _Variable
    scales: _Variable | None
    index: int  # of so many equal parts
    count: int

    @property
    def shape(self) -> tuple[int, ...]:
        n = self.variable.shape[0]
        # what cannot be parted has a shape that no model expects
        return (n // self.count, *self.variable.shape[1:]) if n % self.count == 0 else (n,) * 5

    def weight(self) -> Weight:
        n = self.variable.shape[0] // self.count
        begin, end = self.index * n, (self.index + 1) * n
        values = self.variable.rows(begin, end)
        if self.scales is None:
            return values
        if self.scales.shape == self.variable.shape[:1]:
            scales = self.scales.rows(begin, end).astype(np.float32)
        else:  # int16: one for all
            scales = np.full(n, np.frombuffer(self.scales.raw.tobytes(), "<f4")[0], np.float32)
        if not (np.isfinite(scales).all() and (np.abs(scales) > np.finfo(np.float32).tiny).all()):
            raise ValueError("its scales are not all positive numbers")
        if values.dtype != np.int8:
            return values.astype(np.float32) / scales.reshape(-1, *[1] * (values.ndim - 1))
        if values.ndim == 3:  # a convolution becomes the matrix of its windows
            values = values.transpose(0, 2, 1).reshape(n, -1)
        return QuantizedWeight("int8", np.ascontiguousarray(values), 1 / scales)


class _Tensors(Mapping[str, Weight]):
    """Read when they are asked for, so that what is not packed yet stays in the file."""

    def __init__(self, parts: dict[str, _Part], where: str) -> None:
        self.parts, self.where = parts, where

    def __getitem__(self, name: str) -> Weight:
        try:
            return self.parts[name].weight()
        except ValueError as error:
            raise FormatError(f"{self.where}: {name}: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)


def _sources(dims: ModelDimensions) -> Iterator[tuple[str, str, int, int]]:
    """(our name, CTranslate2's, which part of how many) of every tensor, without what follows the last `.` or `/`."""
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


def _parts(variables: Mapping[str, _Variable], dims: ModelDimensions) -> dict[str, _Part]:
    parts = {}
    for ours, theirs, index, count in _sources(dims):
        is_norm = theirs.endswith("layer_norm")
        for ending, other in (("weight", "gamma" if is_norm else "weight"), ("bias", "beta" if is_norm else "bias")):
            variable = variables.get(f"{theirs}/{other}")
            if variable is not None and variable.shape:
                parts[f"{ours}.{ending}"] = _Part(variable, variables.get(f"{theirs}/{other}_scale"), index, count)
    for side in ("encoder", "decoder"):
        variable = variables.get(f"{side}/position_encodings/encodings")
        if variable is not None and variable.shape:
            parts[f"{side}.positional_embedding"] = _Part(variable, None, 0, 1)
    return parts


def _dimensions(variables: Mapping[str, _Variable], where: str) -> ModelDimensions:
    """From the shapes of some variables; each is where it is in every Whisper model."""

    def size(name: str, axis: int, n_dim: int) -> int | None:
        variable = variables.get(name)
        return variable.shape[axis] if variable is not None and len(variable.shape) == n_dim else None

    def number(name: str) -> int | None:
        variable = variables.get(name)
        return variable.number() if variable is not None and variable.dtype[-2] == "i" else None

    def layers(side: str) -> int:
        found = [re.match(rf"{side}/layer_(\d{{1,4}})/", name) for name in variables]
        return 1 + max((int(match[1]) for match in found if match), default=-1)

    return make_dimensions(
        {
            "n_mels": size("encoder/conv1/weight", 1, 3),
            "n_audio_ctx": size("encoder/position_encodings/encodings", 0, 2),
            "n_audio_state": size("encoder/conv1/weight", 0, 3),
            "n_audio_head": number("encoder/num_heads"),
            "n_audio_layer": layers("encoder"),
            "n_vocab": size("decoder/embeddings/weight", 0, 2),
            "n_text_ctx": size("decoder/position_encodings/encodings", 0, 2),
            "n_text_state": size("decoder/embeddings/weight", 1, 2),
            "n_text_head": number("decoder/num_heads"),
            "n_text_layer": layers("decoder"),
        },
        where,
    )


def read_ctranslate2(path: str | PathLike[str]) -> Checkpoint:
    """Read a folder, or a `model.bin` with config.json beside it where there is one. int8 stays int8, as it is. Raises FormatError."""
    file = Path(path) / "model.bin" if Path(path).is_dir() else Path(path)
    where = str(file)
    variables = _read_variables(file)
    dims = _dimensions(variables, where)
    parts = _parts(variables, dims)
    check_shapes(dims, {name: part.shape for name, part in parts.items()}, where)
    for name in expected_shapes(dims):
        part = parts[name]
        if (part.scales is None) == (part.variable.dtype in ("i1", "<i2", "<i4")):
            raise FormatError(
                f"{where}: {name} is of type {part.variable.dtype}; whole numbers need a scale, and floats none"
            )
        if part.scales is not None and (
            part.scales.dtype != "<f4" or part.scales.shape not in ((), (1,), part.variable.shape[:1])
        ):
            raise FormatError(f"{where}: {name} has scales of type {part.scales.dtype} and shape {part.scales.shape}")
    config = file.with_name("config.json")
    said = read_json(config) if config.exists() else {}
    return Checkpoint(
        dims,
        FiniteTensors(_Tensors({name: parts[name] for name in expected_shapes(dims)}, where), where),
        pairs_of(said.get("alignment_heads"), dims),
        tokens_of(said.get("suppress_ids"), dims),
        vocabulary=read_vocabulary(file.parent, dims),
        license=read_license(file.with_name("README.md")),
    )
