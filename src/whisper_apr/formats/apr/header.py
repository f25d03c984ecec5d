"""The header of an `.apr` version 2 file: a fixed part, a JSON part and the block table. See docs/apr-format.md.

The fixed part, 64 bytes, little-endian:

    0x00  4 B  "APR1"                     0x18  u64  length of the unpacked data
    0x04  u16  version, 2                 0x20  u64  offset of the data in the file
    0x06  u16  size of this part, 64      0x28  u64  length of the file
    0x08  u32  flags, see below           0x30  u32  CRC32 of the JSON
    0x0C  u32  block size, 65536          0x34  u32  CRC32 of the block table
    0x10  u32  number of blocks           0x38  u32  0
    0x14  u32  length of the JSON         0x3C  u32  CRC32 of the 60 bytes before it

The flags are 1 for blocks that may be LZ4, 2 for a model whose output projection is not the token embedding, and 4 for
one that has columns of the output projection in a tensor of their own.
"""

import json
import math
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checkpoint import OUTLIERS, OUTPUT, ModelDimensions, make_dimensions, parse_suppress_tokens
from ...errors import FormatError
from ...simd.weights import array_layouts
from ...tokenizer.special_tokens import SpecialTokens
from .schema import MATRIX_DTYPES, VECTOR_DTYPES, model_parts
from .tokens import read_special_tokens

MAGIC = b"APR1"
VERSION = 2
BLOCK_SIZE = 64 << 10  # bytes of unpacked data for each checksum
ALIGNMENT = 64  # bytes, of each array within the data: a cache line, and the widest vector
MAX_JSON = 1 << 20  # bytes; large-v3's has about 0.2 MiB. Parsed, JSON can take twenty times its size in memory
MAX_INFLATION = 4  # the data may be this many times as long as the file, plus MAX_INFLATION_BYTES
MAX_INFLATION_BYTES = 48 << 20
VOCABULARY = "tokenizer.vocabulary"  # name of the tensor that holds the tokens' bytes

_FIXED = struct.Struct("<4sHHIIIIQQQIIII")
FIXED_SIZE = _FIXED.size
_LZ4, _UNTIED, _OUTLIERS = 1, 2, 4  # bits of the flags
_LZ4_BLOCK = 1 << 31  # bit of a block's length in the table
_ITEM_SIZES = {"float32": 4, "float16": 2, "int32": 4, "int8": 1, "uint8": 1}


def align_up(offset: int) -> int:
    """Round an offset up to a multiple of ALIGNMENT."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class StoredArray:
    """An array within the data."""

    dtype: str
    shape: tuple[int, ...]
    offset: int  # from the start of the unpacked data, in bytes

    @property
    def end(self) -> int:
        """Offset of the first byte after the array."""
        return self.offset + _ITEM_SIZES[self.dtype] * math.prod(self.shape)


@dataclass(frozen=True)
class TensorEntry:
    """A tensor: several arrays if it is a matrix in panels, else a single one named "values"."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: str  # "panels", "rows" or "zlib"
    arrays: Mapping[str, StoredArray]

    @property
    def end(self) -> int:
        """Offset of the first byte after the tensor's last array."""
        return max(array.end for array in self.arrays.values())


@dataclass(frozen=True)
class FixedHeader:
    """The fixed part of the header, the first 64 bytes. Lengths and offsets are in bytes."""

    is_compressed: bool  # blocks may be LZ4
    is_untied: bool  # the output projection is a tensor of its own
    has_outliers: bool  # columns of the output projection are a tensor of their own
    n_block: int
    json_length: int
    data_length: int
    data_begin: int
    file_length: int
    json_crc: int
    table_crc: int

    def pack(self) -> bytes:
        """Return the 64 bytes."""
        flags = _LZ4 * self.is_compressed | _UNTIED * self.is_untied | _OUTLIERS * self.has_outliers
        fields = _FIXED.pack(
            MAGIC, VERSION, FIXED_SIZE, flags, BLOCK_SIZE, self.n_block, self.json_length,
            self.data_length, self.data_begin, self.file_length, self.json_crc, self.table_crc, 0, 0,
        )[:-4]  # fmt: skip
        return fields + struct.pack("<I", zlib.crc32(fields))


def read_fixed_header(raw: bytes, where: str) -> FixedHeader:
    """Parse the first 64 bytes of a version 2 file. Raises FormatError."""
    if len(raw) < FIXED_SIZE:
        raise FormatError(f"{where}: cut off: it has only {len(raw)} bytes; load it again from its source")
    magic, version, size, flags, block, n_block, n_json, n_data, begin, n_file, json_crc, table_crc, zero, crc = (
        _FIXED.unpack(raw[:FIXED_SIZE])
    )
    if magic != MAGIC:
        raise FormatError(f"{where}: not an .apr file: it does not begin with APR1")
    if version != VERSION:
        raise FormatError(f"{where}: .apr version {version} is not supported, only versions 1 and 2 are")
    if zlib.crc32(raw[: FIXED_SIZE - 4]) != crc:
        raise FormatError(f"{where}: damaged: the checksum of its header does not match; load it again from its source")
    if size != FIXED_SIZE or block != BLOCK_SIZE or zero or flags & ~(_LZ4 | _UNTIED | _OUTLIERS):
        raise FormatError(f"{where}: it needs features that this version of whisper_apr lacks; install a newer version")
    if n_json > MAX_JSON or n_block != -(-n_data // BLOCK_SIZE) or begin != align_up(FIXED_SIZE + n_json + 8 * n_block):
        raise FormatError(f"{where}: damaged: the sizes in its header contradict each other")
    if n_data > MAX_INFLATION * n_file + MAX_INFLATION_BYTES:
        raise FormatError(f"{where}: not a model: its {n_file} bytes would unpack to {n_data} bytes")
    return FixedHeader(
        bool(flags & _LZ4), bool(flags & _UNTIED), bool(flags & _OUTLIERS),
        n_block, n_json, n_data, begin, n_file, json_crc, table_crc,
    )  # fmt: skip


@dataclass(frozen=True)
class Header:
    """Everything before the data. The block arrays have one element for each block."""

    fixed: FixedHeader
    dims: ModelDimensions
    alignment_heads: tuple[tuple[int, int], ...]
    suppress_tokens: tuple[int, ...] | None
    languages: tuple[str, ...]
    special_tokens: SpecialTokens | None
    license: str
    provenance: Mapping[str, str]
    entries: Mapping[str, TensorEntry] = field(repr=False)
    lengths: npt.NDArray[np.int64] = field(repr=False)  # bytes of the block in the file
    offsets: npt.NDArray[np.int64] = field(repr=False)  # of the block in the file
    is_lz4: npt.NDArray[np.bool_] = field(repr=False)
    crcs: npt.NDArray[np.uint32] = field(repr=False)  # of the block's unpacked data


def pack_block_entry(length: int, is_lz4: bool, crc: int) -> bytes:
    """Return an entry of the block table: the block's length in the file, and the checksum of its unpacked data."""
    return struct.pack("<II", length | (_LZ4_BLOCK if is_lz4 else 0), crc)


def block_size(fixed: FixedHeader, i: int) -> int:
    """Return the unpacked size of block i in bytes: 64 KiB, or less for the last block."""
    return min(BLOCK_SIZE, fixed.data_length - i * BLOCK_SIZE)


def read_header(fixed: FixedHeader, raw: bytes, where: str) -> Header:
    """Parse the whole header.

    Args:
        fixed: The fixed part.
        raw: The file's first `fixed.data_begin` bytes.
        where: Names the file in error messages.

    Raises:
        FormatError: The header is cut off, damaged, or does not describe a Whisper model.
    """
    if len(raw) < fixed.data_begin:
        raise FormatError(f"{where}: cut off: it has {len(raw)} bytes, its header alone has {fixed.data_begin}")
    table_begin = FIXED_SIZE + fixed.json_length
    table_end = table_begin + 8 * fixed.n_block
    text, table = raw[FIXED_SIZE:table_begin], raw[table_begin:table_end]
    if zlib.crc32(text) != fixed.json_crc or zlib.crc32(table) != fixed.table_crc:
        raise FormatError(f"{where}: damaged: the checksum of its header does not match; load it again from its source")
    if any(raw[table_end : fixed.data_begin]):
        raise FormatError(f"{where}: damaged: the padding between its header and its data is not zeros")
    words = np.frombuffer(table, "<u4").reshape(-1, 2)
    lengths = (words[:, 0] & ~np.uint32(_LZ4_BLOCK)).astype(np.int64)
    is_lz4 = (words[:, 0] & np.uint32(_LZ4_BLOCK)) != 0
    unpacked_lengths = np.full(fixed.n_block, BLOCK_SIZE, np.int64)
    if fixed.n_block:
        unpacked_lengths[-1] = block_size(fixed, fixed.n_block - 1)
    is_invalid = np.where(is_lz4, lengths >= unpacked_lengths, lengths != unpacked_lengths)
    if is_invalid.any() or (is_lz4.any() and not fixed.is_compressed):
        raise FormatError(f"{where}: damaged: its block table has impossible lengths")
    offsets = fixed.data_begin + np.concatenate(([0], np.cumsum(lengths)))
    if offsets[-1] != fixed.file_length:
        raise FormatError(f"{where}: damaged: its blocks end at {offsets[-1]}, but the file at {fixed.file_length}")
    return _read_json(fixed, text, where, lengths, offsets[:-1], is_lz4, words[:, 1].copy())


def _read_json(fixed: FixedHeader, text: bytes, where: str, *blocks: npt.NDArray[Any]) -> Header:
    """Parse the JSON part; `blocks` are the arrays for the Header."""
    try:
        content = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: its header is not JSON ({error})") from error
    try:
        dims = make_dimensions(content["dims"], where)
        entries = _read_entries(content["tensors"], where)
        alignment_heads = tuple((int(layer), int(head)) for layer, head in content["alignment_heads"])
        languages = tuple(map(str, content["tokenizer"]["languages"]))
        special = read_special_tokens(content["tokenizer"], dims, where)
        provenance = {str(key): str(value) for key, value in content["provenance"].items()}
        license = str(content["license"])
        suppress_tokens = parse_suppress_tokens(content.get("suppress_tokens"), dims)
    except FormatError:
        raise
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"{where}: a field of its JSON header is missing or invalid ({error!r})") from error
    _check_entries(entries, dims, fixed, where)
    existing_heads = {(layer, head) for layer in range(dims.n_text_layer) for head in range(dims.n_text_head)}
    if not existing_heads.issuperset(alignment_heads):
        raise FormatError(f"{where}: its header names alignment heads that the model does not have")
    return Header(
        fixed, dims, alignment_heads, suppress_tokens, languages, special, license, provenance, entries, *blocks
    )


def _read_entries(items: Iterable[Any], where: str) -> dict[str, TensorEntry]:
    """Parse the list of tensors. Raises FormatError, or another exception if a field is missing."""
    entries: dict[str, TensorEntry] = {}
    for item in items:
        arrays = {
            str(name): StoredArray(str(array["dtype"]), tuple(array["shape"]), array["offset"])
            for name, array in item["arrays"].items()
        }
        entry = TensorEntry(str(item["name"]), str(item["dtype"]), tuple(item["shape"]), str(item["layout"]), arrays)
        numbers = (*entry.shape, *(n for array in arrays.values() for n in (*array.shape, array.offset)))
        if any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in numbers):
            raise FormatError(f"{where}: tensor {entry.name!r} has a shape or offset that is not an integer from 0 on")
        if not arrays or any(array.dtype not in _ITEM_SIZES for array in arrays.values()):
            raise FormatError(f"{where}: tensor {entry.name!r} has no arrays, or arrays of an unknown type")
        if entry.name in entries:
            raise FormatError(f"{where}: two tensors are named {entry.name!r}")
        entries[entry.name] = entry
    return entries


def _check_entries(entries: Mapping[str, TensorEntry], dims: ModelDimensions, fixed: FixedHeader, where: str) -> None:
    """Raise FormatError unless the arrays fill the data without gaps, and the model's tensors are complete."""
    end, data_length = 0, fixed.data_length
    for entry in entries.values():
        for array in entry.arrays.values():
            if array.offset != align_up(end):
                raise FormatError(
                    f"{where}: tensor {entry.name!r} has the offset {array.offset}, not {align_up(end)}, "
                    "the end of the array before it"
                )
            end = array.end
            if end > data_length:
                raise FormatError(f"{where}: tensor {entry.name!r} reaches beyond the {data_length} bytes of data")
    if end != data_length:
        raise FormatError(f"{where}: its tensors end at {end}, but its data at {data_length}")
    for name, is_there in ((OUTPUT, fixed.is_untied), (OUTLIERS, fixed.has_outliers)):
        if name in entries and not is_there:
            raise FormatError(f"{where}: it has a tensor {name!r}, which contradicts its flags")
    for part in model_parts(dims, fixed.is_untied, fixed.has_outliers):
        found = entries.get(part.name)
        if found is None:
            raise FormatError(f"{where}: incomplete: tensor {part.name!r} is missing")
        layout, arrays = tensor_layout(part.name, found.dtype, part.shape, part.is_matrix, where)
        found_arrays = {name: (array.dtype, array.shape) for name, array in found.arrays.items()}
        if (found.shape, found.layout) != (part.shape, layout) or found_arrays != arrays:
            raise FormatError(
                f"{where}: tensor {part.name!r} is {found.dtype} {found.shape}, {found.layout}, {found_arrays}; "
                f"it must be {part.shape}, {layout}, {arrays}"
            )


def tensor_layout(
    name: str, dtype: str, shape: tuple[int, ...], is_matrix: bool, where: str
) -> tuple[str, dict[str, tuple[str, tuple[int, ...]]]]:
    """Return how a tensor is stored.

    Returns:
        The layout, "panels" or "rows", and the dtype and shape of each array.

    Raises:
        FormatError: A tensor of this kind cannot have this dtype.
    """
    dtypes = MATRIX_DTYPES if is_matrix else VECTOR_DTYPES
    if dtype not in dtypes:
        raise FormatError(f"{where}: tensor {name!r} is {dtype}; it must be {', '.join(dtypes)}")
    if not is_matrix:
        return "rows", {"values": (dtype, shape)}
    forms = array_layouts(dtype, *shape)
    return "panels", {array: (np.dtype(kind).name, extents) for array, (extents, kind) in forms.items()}
