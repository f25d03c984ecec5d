"""Read whisper.cpp's `ggml-*.bin` files.

All numbers are little-endian, and integers are int32. A file consists of

- the magic number 0x67676d6c;
- eleven integers, the dimensions and the type of most tensors (`_HEADER_FIELDS`);
- the mel filterbank: n_mels, n_freq, and n_mels * n_freq float32; this package skips it and computes its own;
- the vocabulary: the number of tokens, then for each its length in bytes and its bytes;
- up to the end of the file, the tensors: number of dimensions, length of the name, type; the dimensions, innermost
  first; the name; the data.

`ggml_types.py` has the types of tensors.
"""

import math
import struct
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
from ..tokenizer.special_tokens import END_OF_TEXT, SpecialTokens
from .byte_reader import ByteReader, Bytes
from .files import map_bytes
from .ggml_types import TYPES, GgmlType, nibbles_at
from .lazy_tensors import LazyTensors
from .special_tokens import find_special_tokens
from .vocabulary import pack_model_vocabulary

MAGIC = struct.pack("<I", 0x67676D6C)
MAX_DIMENSIONS = 4
MAX_NAME = 256  # bytes
MIN_VOCABULARY = 256  # tokens; fewer cannot encode every byte

_HEADER_FIELDS = (*BINARY_DIMENSION_ORDER, "ftype")  # ftype is ignored: each tensor has its own type


@dataclass(frozen=True)
class _StoredTensor:
    """A tensor as it is stored in the file."""

    kind: GgmlType
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
        if self.kind.decode is None or len(self.shape) != 2 or self.kind.count == 1:
            return self.floats()
        if self.kind.name == "q4_0":
            blocks = self.raw.reshape(-1, self.kind.size)
            values = nibbles_at(blocks, 2).astype(np.int8) - np.int8(8)
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
    if type_number not in TYPES:
        supported = ", ".join(kind.name for kind in TYPES.values())
        reader.fail(f"tensor {name!r} is of ggml type {type_number}, which is not supported; convert it to {supported}")
    kind = TYPES[type_number]
    if min(shape) < 1 or shape[-1] % kind.count:
        reader.fail(f"damaged: tensor {name!r} of type {kind.name} cannot have the shape {shape}")
    size = math.prod(shape) // kind.count * kind.size
    return name, _StoredTensor(kind, shape, reader.read(size, f"tensor {name!r}"))


def read_ggml(path: str | PathLike[str], *, exact: bool = False) -> Checkpoint:
    """Read a whisper.cpp model file.

    Quantized matrices stay small. q4_0 becomes int4 exactly. The other types become int8, which rounds once more,
    because ggml has a scale for each 16 to 32 inputs and int8 has one for each output. For normally distributed weights
    this adds an error of 0.7 % (relative RMS), where q8_0 itself has 0.5 %, q5 4 % and q4 8 %.

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
    vocabulary, special = b"", None
    if len(tokens) >= MIN_VOCABULARY:
        special = _find_special_tokens(tokens, dims, where)
        vocabulary = pack_model_vocabulary(tokens, dims, where, special)
    return Checkpoint(
        dims, FiniteTensors(LazyTensors(decoders, where), where), vocabulary=vocabulary, special_tokens=special
    )


def _find_special_tokens(tokens: list[bytes], dims: ModelDimensions, where: str) -> SpecialTokens | None:
    """Return the special tokens, if they are among the tokens in the file's head; most files end before them."""
    if END_OF_TEXT.encode() not in tokens:
        return None
    end = tokens.index(END_OF_TEXT.encode())
    names = {token.decode("utf-8", "replace"): end + i for i, token in enumerate(tokens[end:]) if token}
    return find_special_tokens(names, set(), {}, dims.n_vocab, end, where)


def _select_expected(stored: dict[str, _StoredTensor], dims: ModelDimensions, where: str) -> dict[str, _StoredTensor]:
    """Return the tensors that the model needs, in order. A convolution's bias is stored as a column."""
    shaped = {}
    for name, tensor in stored.items():
        is_column = name.endswith(".bias") and len(tensor.shape) == 2 and tensor.shape[1] == 1
        shaped[name] = _StoredTensor(tensor.kind, tensor.shape[:1], tensor.raw) if is_column else tensor
    check_shapes(dims, {name: tensor.shape for name, tensor in shaped.items()}, where)
    return {name: shaped[name] for name in expected_shapes(dims)}
