"""Read whisper.cpp's `ggml-*.bin` files.

All numbers are little-endian, and integers are int32. A file consists of

- the magic number 0x67676d6c;
- eleven integers, the dimensions and the type of most tensors (`_HEADER_FIELDS`);
- the mel filterbank: n_mels, n_freq, and n_mels * n_freq float32; this package skips it and computes its own;
- the vocabulary: the number of tokens, then for each its length in bytes and its bytes;
- up to the end of the file, the tensors: number of dimensions, length of the name, type; the dimensions, innermost
  first; the name; the data.

The quantized types are those of ggml's `ggml-quants.c`: blocks of 32 numbers with a float16 scale, and a float16
minimum in q4_1 and q5_1.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checkpoint import (
    BINARY_DIMENSION_ORDER,
    Checkpoint,
    ModelDimensions,
    check_shapes,
    expected_shapes,
    make_dimensions,
)
from ..finite import FiniteTensors
from ..simd import QuantizedWeight, Weight, quantize_int8
from .byte_reader import ByteReader, Bytes
from .files import map_bytes
from .lazy_tensors import LazyTensors
from .vocabulary import pack_model_vocabulary

MAGIC = struct.pack("<I", 0x67676D6C)
BLOCK_SIZE = 32  # numbers that share a scale in the quantized types
MAX_DIMENSIONS = 4
MAX_NAME = 256  # bytes
MIN_VOCABULARY = 256  # tokens; fewer cannot encode every byte

_HEADER_FIELDS = (*BINARY_DIMENSION_ORDER, "ftype")  # ftype is ignored: each tensor has its own type

Floats = npt.NDArray[np.float32]


def _float16_at(blocks: Bytes, offset: int) -> Floats:
    """Return the float16 at an offset of each block, `(n_block, 1)`."""
    return np.ascontiguousarray(blocks[:, offset : offset + 2]).view("<f2").astype(np.float32)


def _nibbles_at(blocks: Bytes, offset: int) -> Bytes:
    """Unpack 16 bytes of each block to 32 numbers, the low halves of all bytes first."""
    packed = blocks[:, offset : offset + 16]
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _fifth_bits_at(blocks: Bytes, offset: int) -> Bytes:
    """Unpack 4 bytes of each block to 32 numbers, 0 or 16."""
    return np.unpackbits(blocks[:, offset : offset + 4], axis=1, bitorder="little") * np.uint8(16)


def _decode_q4_0(blocks: Bytes) -> Floats:
    return (_nibbles_at(blocks, 2).astype(np.float32) - 8) * _float16_at(blocks, 0)


def _decode_q4_1(blocks: Bytes) -> Floats:
    return _nibbles_at(blocks, 4).astype(np.float32) * _float16_at(blocks, 0) + _float16_at(blocks, 2)


def _decode_q5_0(blocks: Bytes) -> Floats:
    values = _nibbles_at(blocks, 6) | _fifth_bits_at(blocks, 2)
    return (values.astype(np.float32) - 16) * _float16_at(blocks, 0)


def _decode_q5_1(blocks: Bytes) -> Floats:
    values = _nibbles_at(blocks, 8) | _fifth_bits_at(blocks, 4)
    return values.astype(np.float32) * _float16_at(blocks, 0) + _float16_at(blocks, 2)


def _decode_q8_0(blocks: Bytes) -> Floats:
    return np.ascontiguousarray(blocks[:, 2:]).view(np.int8).astype(np.float32) * _float16_at(blocks, 0)


@dataclass(frozen=True)
class _Type:
    """One of ggml's tensor types."""

    name: str
    size: int  # bytes of one block
    count: int = BLOCK_SIZE  # numbers in one block
    # uint8 (n_block, size) -> float32 (n_block, count); None for plain floats
    decode: Callable[[Bytes], Floats] | None = None


_TYPES = {
    0: _Type("float32", 4, 1),
    1: _Type("float16", 2, 1),
    2: _Type("q4_0", 18, decode=_decode_q4_0),
    3: _Type("q4_1", 20, decode=_decode_q4_1),
    6: _Type("q5_0", 22, decode=_decode_q5_0),
    7: _Type("q5_1", 24, decode=_decode_q5_1),
    8: _Type("q8_0", 34, decode=_decode_q8_0),
}


@dataclass(frozen=True)
class _StoredTensor:
    """A tensor as it is stored in the file."""

    kind: _Type
    shape: tuple[int, ...]
    raw: Bytes

    def floats(self) -> npt.NDArray[Any]:
        """Decode to floats: float16 if stored so, else float32."""
        if self.kind.decode is None:
            dtype = np.dtype(self.kind.name).newbyteorder("<")
            return np.frombuffer(self.raw.tobytes(), dtype).reshape(self.shape)
        with np.errstate(invalid="ignore", over="ignore"):  # scales may be infinite or NaN
            return self.kind.decode(self.raw.reshape(-1, self.kind.size)).reshape(self.shape)

    def weight(self) -> Weight:
        """Decode to the nearest supported type: q4_0 to int4 exactly, other quantized matrices to int8."""
        if self.kind.decode is None or len(self.shape) != 2:
            return self.floats()
        if self.kind.name == "q4_0":
            blocks = self.raw.reshape(-1, self.kind.size)
            values = _nibbles_at(blocks, 2).astype(np.int8) - np.int8(8)
            scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float16)
            return QuantizedWeight("int4", values.reshape(self.shape), scales.reshape(self.shape[0], -1))
        return quantize_int8(self.floats())


def _read_tokens(reader: ByteReader, n_vocab: int) -> list[bytes]:
    """Read the vocabulary's tokens. A model's last tokens, which have no text, may be missing."""
    (count,) = reader.unpack("i", "the vocabulary")
    if not 0 <= count <= n_vocab:
        reader.fail(f"its vocabulary has {count} tokens, but n_vocab is {n_vocab}; load the file again from its source")
    return reader.strings(count, 4, "a token")


def _read_tensor(reader: ByteReader) -> tuple[str, _StoredTensor]:
    """Read a tensor and its name."""
    n_dim, length, type_number = reader.unpack("3i", "a tensor's header")
    if not 0 < n_dim <= MAX_DIMENSIONS or not 0 < length <= MAX_NAME:
        reader.fail(f"damaged: a tensor has {n_dim} dimensions and a name of {length} bytes; load the file again")
    shape = reader.unpack(f"{n_dim}i", "a tensor's shape")[::-1]
    name = reader.read(length, "a tensor's name").tobytes().decode("utf-8", "replace")
    if type_number not in _TYPES:
        supported = ", ".join(kind.name for kind in _TYPES.values())
        reader.fail(f"tensor {name!r} is of ggml type {type_number}, which is not supported; convert it to {supported}")
    kind = _TYPES[type_number]
    if min(shape) < 1 or shape[-1] % kind.count:
        reader.fail(f"damaged: tensor {name!r} of type {kind.name} cannot have the shape {shape}")
    size = math.prod(shape) // kind.count * kind.size
    return name, _StoredTensor(kind, shape, reader.read(size, f"tensor {name!r}"))


def read_ggml(path: str | PathLike[str], *, exact: bool = False) -> Checkpoint:
    """Read a whisper.cpp model file.

    Quantized matrices stay small. q4_0 becomes int4 exactly. The other types become int8, which rounds once more,
    because ggml has a scale for each 32 inputs and int8 has one for each output. For normally distributed weights this
    adds an error of 0.7 % (relative RMS), where q8_0 itself has 0.5 %, q5 4 % and q4 8 %.

    Args:
        path: The file.
        exact: Return quantized matrices as float32 with exactly the values that the file stands for.

    Raises:
        FormatError: The file is damaged, incomplete, or not a Whisper model in ggml's format.
    """
    where = str(path)
    reader = ByteReader(map_bytes(path), where)
    if reader.read(len(MAGIC), "the magic number").tobytes() != MAGIC:
        reader.fail("not a whisper.cpp model: it does not begin with ggml's magic number")
    fields = reader.unpack(f"{len(_HEADER_FIELDS)}i", "the header")
    dims = make_dimensions(dict(zip(_HEADER_FIELDS, fields, strict=True)), where)
    n_mels, n_freq = reader.unpack("2i", "the size of the mel filters")
    if n_mels != dims.n_mels or n_freq < 0:
        reader.fail(f"damaged: its mel filters are {n_mels} x {n_freq}, but n_mels is {dims.n_mels}")
    reader.read(4 * n_mels * n_freq, "the mel filters")
    tokens = _read_tokens(reader, dims.n_vocab)
    stored: dict[str, _StoredTensor] = {}
    n_expected = len(expected_shapes(dims))
    while reader.remaining:
        name, tensor = _read_tensor(reader)
        stored[name] = tensor
        if len(stored) > 2 * n_expected:
            reader.fail(f"damaged: it has more than {2 * n_expected} tensors, a model of its size has {n_expected}")
    expected = _select_expected(stored, dims, where)
    decoders = {name: tensor.floats if exact else tensor.weight for name, tensor in expected.items()}
    # whisper.cpp's own test files have a vocabulary of a few tokens
    vocabulary = pack_model_vocabulary(tokens, dims, where) if len(tokens) >= MIN_VOCABULARY else b""
    return Checkpoint(dims, FiniteTensors(LazyTensors(decoders, where), where), vocabulary=vocabulary)


def _select_expected(stored: dict[str, _StoredTensor], dims: ModelDimensions, where: str) -> dict[str, _StoredTensor]:
    """Return the tensors that the model needs, in order. A convolution's bias is stored as a column."""
    shaped = {}
    for name, tensor in stored.items():
        is_column = name.endswith(".bias") and len(tensor.shape) == 2 and tensor.shape[1] == 1
        shaped[name] = _StoredTensor(tensor.kind, tensor.shape[:1], tensor.raw) if is_column else tensor
    check_shapes(dims, {name: tensor.shape for name, tensor in shaped.items()}, where)
    return {name: shaped[name] for name in expected_shapes(dims)}
