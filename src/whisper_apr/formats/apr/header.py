"""The head of an `.apr` version 2 file: 64 bytes, a JSON text, the table of blocks. docs/apr-format.md is the specification.

0x00  4 B  APR1                     0x18  u64  length of the data, unpacked
0x04  u16  2, the version           0x20  u64  where the data begins in the file
0x06  u16  64, bytes of this head   0x28  u64  length of the file
0x08  u32  flags: 1 = LZ4 blocks    0x30  u32  CRC32 of the JSON text
0x0C  u32  65536, bytes of a block  0x34  u32  CRC32 of the table
0x10  u32  number of blocks         0x38  u32  0
0x14  u32  length of the JSON text  0x3C  u32  CRC32 of the 60 bytes before
"""

import json
import math
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ...checkpoint import ModelDimensions, make_dimensions, tokens_of
from ...errors import FormatError
from ...simd.weights import array_layouts
from .schema import MATRIX_DTYPES, VECTOR_DTYPES, model_parts

MAGIC = b"APR1"
VERSION = 2
BLOCK = 64 << 10  # bytes of unpacked data that one checksum covers
ALIGNMENT = 64  # of every array within the data: a cache line, and the widest vector
MAX_JSON = 1 << 20  # bytes; large-v3's has about 0.2 MiB. Parsed, JSON takes up to some twenty times its length
MAX_INFLATION = 4  # times the file's length, and MAX_INFLATION_BYTES more: what LZ4 blocks may unpack to
MAX_INFLATION_BYTES = 48 << 20
VOCABULARY = "tokenizer.vocabulary"  # the name of the tensor that holds the tokens' bytes

_FIXED = struct.Struct("<4sHHIIIIQQQIIII")
PREFIX = _FIXED.size
_LZ4 = 1
_LZ4_BLOCK = 1 << 31  # in the table, beside a block's length
_ITEM_SIZES = {"float32": 4, "float16": 2, "int32": 4, "int8": 1, "uint8": 1}


def aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def fail(where: str, what: str) -> NoReturn:
    raise FormatError(f"{where}: {what}")


@dataclass(frozen=True)
class Stored:
    """One array of the data."""

    dtype: str
    shape: tuple[int, ...]
    offset: int  # from where the data begins; a multiple of 64

    @property
    def end(self) -> int:
        return self.offset + _ITEM_SIZES[self.dtype] * math.prod(self.shape)


@dataclass(frozen=True)
class Entry:
    """One tensor: a matrix in panels is several arrays, everything else is one, named "values"."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: str  # "panels", "rows", "zlib"
    arrays: Mapping[str, Stored]

    @property
    def end(self) -> int:
        return max(array.end for array in self.arrays.values())


@dataclass(frozen=True)
class Sizes:
    """The first 64 bytes."""

    is_packed: bool  # blocks may be LZ4
    n_block: int
    json_length: int
    data_length: int
    data_begin: int
    file_length: int
    json_crc: int
    table_crc: int

    def pack(self) -> bytes:
        head = _FIXED.pack(
            MAGIC, VERSION, PREFIX, _LZ4 if self.is_packed else 0, BLOCK, self.n_block, self.json_length, self.data_length,
            self.data_begin, self.file_length, self.json_crc, self.table_crc, 0, 0,
        )[:-4]  # fmt: skip
        return head + struct.pack("<I", zlib.crc32(head))


def read_sizes(raw: bytes, where: str) -> Sizes:
    """The first 64 bytes of a version 2 file. Raises FormatError."""
    if len(raw) < PREFIX:
        fail(where, f"cut off: {len(raw)} bytes are fewer than a head")
    magic, version, size, flags, block, n_block, n_json, n_data, begin, n_file, json_crc, table_crc, zero, crc = (
        _FIXED.unpack(raw[:PREFIX])
    )
    if magic != MAGIC:
        fail(where, "not an .apr file: it does not begin with APR1")
    if version != VERSION:
        fail(where, f".apr version {version}; versions 1 and 2 can be read")
    if zlib.crc32(raw[: PREFIX - 4]) != crc:
        fail(where, "damaged: the checksum of its head does not fit; load it again from where it came")
    if size != PREFIX or block != BLOCK or zero or flags & ~_LZ4:
        fail(where, "has features that this version of whisper_apr does not know; a newer one may read it")
    if n_json > MAX_JSON or n_block != -(-n_data // BLOCK) or begin != aligned(PREFIX + n_json + 8 * n_block):
        fail(where, "damaged: the sizes in its head contradict each other")
    if n_data > MAX_INFLATION * n_file + MAX_INFLATION_BYTES:
        fail(where, f"would unpack to {n_data} bytes, far more than its {n_file}; not a model")
    return Sizes(bool(flags & _LZ4), n_block, n_json, n_data, begin, n_file, json_crc, table_crc)


@dataclass(frozen=True)
class Head:
    """All that stands before the data."""

    sizes: Sizes
    dims: ModelDimensions
    alignment_heads: tuple[tuple[int, int], ...]
    suppress_tokens: tuple[int, ...] | None
    languages: tuple[str, ...]
    license: str
    provenance: Mapping[str, str]
    entries: Mapping[str, Entry] = field(repr=False)
    lengths: npt.NDArray[np.int64] = field(repr=False)  # of each block as it lies in the file
    offsets: npt.NDArray[np.int64] = field(repr=False)  # where each block lies in the file
    is_lz4: npt.NDArray[np.bool_] = field(repr=False)
    crcs: npt.NDArray[np.uint32] = field(repr=False)  # of each block, unpacked


def table_entry(length: int, is_lz4: bool, crc: int) -> bytes:
    """What the table says of one block: its length in the file, whether it is LZ4, and the checksum of its data unpacked."""
    return struct.pack("<II", length | (_LZ4_BLOCK if is_lz4 else 0), crc)


def block_size(sizes: Sizes, i: int) -> int:
    """Bytes of block i, unpacked: 64 KiB, and what is left for the last."""
    return min(BLOCK, sizes.data_length - i * BLOCK)


def read_head(sizes: Sizes, raw: bytes, where: str) -> Head:
    """From the file's bytes before the data, `sizes.data_begin` of them. Raises FormatError."""
    if len(raw) < sizes.data_begin:
        fail(where, f"cut off: {len(raw)} bytes; its head alone has {sizes.data_begin}")
    text, table = raw[PREFIX:][: sizes.json_length], raw[PREFIX + sizes.json_length :][: 8 * sizes.n_block]
    if zlib.crc32(text) != sizes.json_crc or zlib.crc32(table) != sizes.table_crc:
        fail(where, "damaged: the checksum of its head does not fit; load it again from where it came")
    if any(raw[PREFIX + len(text) + len(table) : sizes.data_begin]):
        fail(where, "damaged: the bytes between its head and its data are not zeros")
    words = np.frombuffer(table, "<u4").reshape(-1, 2)
    lengths = (words[:, 0] & ~np.uint32(_LZ4_BLOCK)).astype(np.int64)
    is_lz4 = (words[:, 0] & np.uint32(_LZ4_BLOCK)) != 0
    whole = np.full(sizes.n_block, BLOCK, np.int64)
    if sizes.n_block:
        whole[-1] = block_size(sizes, sizes.n_block - 1)
    if (is_lz4.any() and not sizes.is_packed) or (np.where(is_lz4, lengths >= whole, lengths != whole)).any():
        fail(where, "damaged: its table of blocks holds lengths that cannot be")
    offsets = sizes.data_begin + np.concatenate(([0], np.cumsum(lengths)))
    if offsets[-1] != sizes.file_length:
        fail(where, f"damaged: its blocks end at {offsets[-1]}, the file at {sizes.file_length}")
    return _read_json(sizes, text, where, lengths, offsets[:-1], is_lz4, words[:, 1].copy())


def _read_json(sizes: Sizes, text: bytes, where: str, *blocks: npt.NDArray[Any]) -> Head:
    try:
        content = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: its head is not JSON ({error})") from error
    try:
        dims = make_dimensions(content["dims"], where)
        entries = _read_entries(content["tensors"])
        heads = tuple((int(layer), int(head)) for layer, head in content["alignment_heads"])
        suppressed = content.get("suppress_tokens")
        languages = tuple(map(str, content["tokenizer"]["languages"]))
        provenance = {str(key): str(value) for key, value in content["provenance"].items()}
        license = str(content["license"])
    except FormatError as error:
        raise FormatError(f"{where}: {error}" if not str(error).startswith(where) else str(error)) from error
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"{where}: its head lacks something or holds it in a wrong form ({error!r})") from error
    _check_entries(entries, dims, sizes.data_length, where)
    known = {(layer, head) for layer in range(dims.n_text_layer) for head in range(dims.n_text_head)}
    if not known.issuperset(heads):
        fail(where, "names alignment heads that the model does not have")
    suppress_tokens = tokens_of(suppressed, dims)
    return Head(sizes, dims, heads, suppress_tokens, languages, license, provenance, entries, *blocks)


def _read_entries(listed: Iterable[Any]) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for item in listed:
        arrays = {
            str(name): Stored(str(array["dtype"]), tuple(array["shape"]), array["offset"])
            for name, array in item["arrays"].items()
        }
        entry = Entry(str(item["name"]), str(item["dtype"]), tuple(item["shape"]), str(item["layout"]), arrays)
        numbers = (*entry.shape, *(n for array in arrays.values() for n in (*array.shape, array.offset)))
        if any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in numbers):
            raise FormatError(f"tensor {entry.name!r} has a shape or an offset that is no whole number")
        if not arrays or any(array.dtype not in _ITEM_SIZES for array in arrays.values()):
            raise FormatError(f"tensor {entry.name!r} has no arrays, or arrays of a type that is not known")
        if entry.name in entries:
            raise FormatError(f"two tensors are {entry.name!r}")
        entries[entry.name] = entry
    return entries


def _check_entries(entries: Mapping[str, Entry], dims: ModelDimensions, data_length: int, where: str) -> None:
    """Arrays follow each other without a gap beyond alignment, up to the data's end, and are those that the model needs."""
    end = 0
    for entry in entries.values():
        for array in entry.arrays.values():
            if array.offset != aligned(end):
                fail(
                    where,
                    f"tensor {entry.name!r} lies at {array.offset}, not at {aligned(end)} where the one before it ends",
                )
            end = array.end
            if end > data_length:
                fail(where, f"tensor {entry.name!r} reaches beyond the data's {data_length} bytes")
    if end != data_length:
        fail(where, f"its tensors end at {end}, its data at {data_length}")
    for part in model_parts(dims):
        entry_or_none = entries.get(part.name)
        if entry_or_none is None:
            fail(where, f"tensor {part.name!r} is missing; the file is incomplete")
        expected = part_entry(part.name, entry_or_none.dtype, part.shape, part.is_matrix, where)
        found = {name: (array.dtype, array.shape) for name, array in entry_or_none.arrays.items()}
        if (entry_or_none.shape, entry_or_none.layout) != (part.shape, expected[0]) or found != expected[1]:
            fail(
                where,
                f"tensor {part.name!r} is {entry_or_none.dtype} {entry_or_none.shape} in {found}, not {part.shape} in {expected[1]}",
            )


def part_entry(
    name: str, dtype: str, shape: tuple[int, ...], is_matrix: bool, where: str
) -> tuple[str, dict[str, tuple[str, tuple[int, ...]]]]:
    """The layout of a part of the model, and element type and shape of each of its arrays. Raises FormatError for a dtype that cannot be."""
    if dtype not in (MATRIX_DTYPES if is_matrix else VECTOR_DTYPES):
        fail(where, f"tensor {name!r} is {dtype}; it can be {', '.join(MATRIX_DTYPES if is_matrix else VECTOR_DTYPES)}")
    if not is_matrix:
        return "rows", {"values": (dtype, shape)}
    forms = array_layouts(dtype, *shape)
    return "panels", {part: (np.dtype(kind).name, form) for part, (form, kind) in forms.items()}
