"""whisper.cpp's `ggml-*.bin`: a head of whole numbers, mel filters, a vocabulary, then tensors one after the other.

Little-endian throughout: the magic 0x67676d6c; eleven int32 (`_HEAD`); n_mels and n_freq, int32, and as many float32; a count of tokens and
each token's bytes behind their number; then, up to the end, tensors: number of dimensions, length of the name and type, int32; the
dimensions, the innermost first; the name; the data. The filters are those that this package
computes; they are passed over.
"""

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ..checkpoint import VOCABULARY_FIRST, Checkpoint, ModelDimensions, check_shapes, expected_shapes, make_dimensions
from ..errors import FormatError
from ..finite import FiniteTensors
from ..simd import QuantizedWeight, Weight, quantize_int8
from .files import map_bytes
from .vocabulary import vocabulary_of

MAGIC = struct.pack("<I", 0x67676D6C)
BLOCK = 32  # numbers that share a scale in the quantized types
MAX_DIMENSIONS = 4
MAX_NAME = 256

_HEAD = (*VOCABULARY_FIRST, "ftype")  # the last: the type of most tensors; each says its own

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def _half(blocks: Bytes, at: int) -> Floats:
    """The float16 at a place of each block, as a column."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(blocks: Bytes, at: int) -> Bytes:
    """16 bytes of each block as 32 numbers: all the lower halves come first."""
    packed = blocks[:, at : at + 16]
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _fifth_bits(blocks: Bytes, at: int) -> Bytes:
    """32 bits of each block, each worth 16."""
    return np.unpackbits(blocks[:, at : at + 4], axis=1, bitorder="little") * np.uint8(16)


def _q4_0(b: Bytes) -> Floats:
    return (_nibbles(b, 2).astype(np.float32) - 8) * _half(b, 0)


def _q4_1(b: Bytes) -> Floats:
    return _nibbles(b, 4).astype(np.float32) * _half(b, 0) + _half(b, 2)


def _q5_0(b: Bytes) -> Floats:
    return ((_nibbles(b, 6) | _fifth_bits(b, 2)).astype(np.float32) - 16) * _half(b, 0)


def _q5_1(b: Bytes) -> Floats:
    return (_nibbles(b, 8) | _fifth_bits(b, 4)).astype(np.float32) * _half(b, 0) + _half(b, 2)


def _q8_0(b: Bytes) -> Floats:
    return np.ascontiguousarray(b[:, 2:]).view(np.int8).astype(np.float32) * _half(b, 0)


@dataclass(frozen=True)
class _Type:
    name: str
    size: int  # bytes of `count` numbers
    count: int = BLOCK
    decode: Callable[[Bytes], Floats] | None = (
        None  # blocks (n, size) -> numbers (n, 32); None: the bytes are the numbers
    )


_TYPES = {
    0: _Type("float32", 4, 1),
    1: _Type("float16", 2, 1),
    2: _Type("q4_0", 18, decode=_q4_0),
    3: _Type("q4_1", 20, decode=_q4_1),
    6: _Type("q5_0", 22, decode=_q5_0),
    7: _Type("q5_1", 24, decode=_q5_1),
    8: _Type("q8_0", 34, decode=_q8_0),
}


@dataclass(frozen=True)
class _Entry:
    kind: _Type
    shape: tuple[int, ...]
    raw: Bytes

    def floats(self) -> npt.NDArray[Any]:
        """The numbers, exactly those that the file stands for."""
        if self.kind.decode is None:
            dtype = np.dtype(self.kind.name).newbyteorder("<")
            return np.frombuffer(self.raw.tobytes(), dtype).reshape(self.shape)
        with np.errstate(invalid="ignore", over="ignore"):  # scales that are no numbers
            return self.kind.decode(self.raw.reshape(-1, self.kind.size)).reshape(self.shape)

    def weight(self) -> Weight:
        """The numbers in the type of ours that is nearest. q4_0 is our int4, number for number; others become int8 with a scale for each output."""
        if self.kind.decode is None or len(self.shape) != 2:
            return self.floats()
        if self.kind.name == "q4_0":
            blocks = self.raw.reshape(-1, self.kind.size)
            values = _nibbles(blocks, 2).astype(np.int8) - np.int8(8)
            scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float16)
            return QuantizedWeight("int4", values.reshape(self.shape), scales.reshape(self.shape[0], -1))
        return quantize_int8(self.floats())


class _Tensors(Mapping[str, Weight]):
    """Decoded when they are asked for, so that not all of them are in memory as floats at once."""

    def __init__(self, entries: dict[str, _Entry], exact: bool, where: str) -> None:
        self.entries, self.exact, self.where = entries, exact, where

    def __getitem__(self, name: str) -> Weight:
        entry = self.entries[name]
        try:
            return entry.floats() if self.exact else entry.weight()
        except ValueError as error:  # of the quantizer: infinity or NaN
            raise FormatError(f"{self.where}: {name}: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class _Reader:
    """Goes through the file's bytes, never beyond them."""

    def __init__(self, raw: Bytes, where: str) -> None:
        self.raw, self.where, self.at = raw, where, 0

    def fail(self, what: str) -> NoReturn:
        raise FormatError(f"{self.where}: {what}")

    def take(self, n: int, what: str) -> Bytes:
        if not 0 <= n <= len(self.raw) - self.at:
            self.fail(f"cut off or damaged: {what} should have {n} bytes, and {len(self.raw) - self.at} are left")
        self.at += n
        return self.raw[self.at - n : self.at]

    def numbers(self, count: int, what: str) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", self.take(4 * count, what).tobytes())

    def words(self, n_vocab: int) -> list[bytes]:
        """The vocabulary's tokens. A model's last ones, which have no text, may be missing from it."""
        (count,) = self.numbers(1, "the vocabulary")
        if not 0 <= count <= n_vocab:
            self.fail(f"has {count} tokens in its vocabulary, and a network for {n_vocab}")
        words = []
        for _ in range(count):
            (length,) = self.numbers(1, "a token")
            words.append(self.take(length, "a token").tobytes())
        return words

    def tensor(self) -> tuple[str, _Entry]:
        n_dim, length, number = self.numbers(3, "a tensor's head")
        if not 0 < n_dim <= MAX_DIMENSIONS or not 0 < length <= MAX_NAME:
            self.fail(f"damaged: a tensor of {n_dim} dimensions, its name of {length} bytes")
        shape = self.numbers(n_dim, "a tensor's shape")[::-1]
        name = self.take(length, "a tensor's name").tobytes().decode("utf-8", "replace")
        if number not in _TYPES:
            self.fail(f"tensor {name!r} is of type {number}; {', '.join(t.name for t in _TYPES.values())} can be read")
        kind = _TYPES[number]
        if min(shape) < 1 or shape[-1] % kind.count:
            self.fail(f"tensor {name!r} of shape {shape} cannot be of type {kind.name}")
        return name, _Entry(kind, shape, self.take(math.prod(shape) // kind.count * kind.size, f"tensor {name!r}"))


def read_ggml(path: str | PathLike[str], *, exact: bool = False) -> Checkpoint:
    """Read whisper.cpp's file. Raises FormatError.

    Matrices in 4, 5 or 8 bits stay small: q4_0 becomes int4 as it is; the others become int8, rounded once more, as their steps differ by
    block of 32 and int8's by output: that moves normally distributed weights by 0.7 %, where q8_0 itself moves them by 0.5 %, q5 by 4 %, q4
    by 8 %. exact: floats instead, precisely those that the file stands for.
    """
    where, raw = str(path), map_bytes(path)
    reader = _Reader(raw, where)
    if reader.take(4, "the head").tobytes() != MAGIC:
        reader.fail("not whisper.cpp's file: it does not begin with its magic number")
    head = dict(zip(_HEAD, reader.numbers(len(_HEAD), "the head"), strict=True))
    dims = make_dimensions(head, where)
    n_mels, n_freq = reader.numbers(2, "the mel filters")
    if n_mels != dims.n_mels or n_freq < 0:
        reader.fail(f"has {n_mels} mel filters, and a network for {dims.n_mels}")
    reader.take(4 * n_mels * n_freq, "the mel filters")
    words = reader.words(dims.n_vocab)
    entries: dict[str, _Entry] = {}
    n_known = len(expected_shapes(dims))
    while reader.at < len(raw):
        name, entry = reader.tensor()
        entries[name] = entry
        if len(entries) > 2 * n_known:
            reader.fail(f"damaged: more than {2 * n_known} tensors, and a model of its dimensions has {n_known}")
    tensors = FiniteTensors(_Tensors(_as_expected(entries, dims, where), exact, where), where)
    # fewer than there are bytes are no vocabulary: whisper.cpp's own test files have none
    vocabulary = vocabulary_of(words, dims, where) if len(words) >= 256 else b""
    return Checkpoint(dims, tensors, vocabulary=vocabulary)


def _as_expected(entries: dict[str, _Entry], dims: ModelDimensions, where: str) -> dict[str, _Entry]:
    """The model's tensors in order. A convolution's bias stands in the file as a column."""
    shaped = {}
    for name, entry in entries.items():
        is_column = name.endswith(".bias") and len(entry.shape) == 2 and entry.shape[1] == 1
        shaped[name] = _Entry(entry.kind, entry.shape[:1], entry.raw) if is_column else entry
    check_shapes(dims, {name: entry.shape for name, entry in shaped.items()}, where)
    return {name: shaped[name] for name in expected_shapes(dims)}
