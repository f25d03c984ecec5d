"""The data of an `.apr` version 2 file: verified blocks, and tensors that are views of them."""

import threading
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ... import simd
from ...errors import FormatError
from ...finite import check_finite
from ...simd import PackedMatrix, Weight
from ..byte_reader import Bytes
from .header import BLOCK_SIZE, Header, TensorEntry, block_size

MAX_SCALE = float(np.finfo(np.float32).max) / 128  # finite also when multiplied by the largest quantized value


class DataSource(Protocol):
    """Provides the unpacked data of a file."""

    def read(self, begin: int, end: int) -> Bytes:
        """Return the data from `begin` to `end`, verified, as a view that is aligned like `begin`, up to 64 bytes."""


def unpack_block(header: Header, i: int, raw: Bytes, target: Bytes, where: str) -> None:
    """Unpack block i into `target` and verify it.

    Args:
        header: The file's header.
        i: The block's index.
        raw: The block as it is stored in the file.
        target: Receives the block's data; it may be `raw` itself if the block is not LZ4.
        where: Names the file in error messages.

    Raises:
        FormatError: The block is damaged.
    """
    if header.is_lz4[i]:
        if not simd.lz4_decode(raw.data, target.data):
            raise FormatError(
                f"{where}: damaged: block {i} is not LZ4 of {len(target)} bytes; load the file again from its source"
            )
    elif target.ctypes.data != raw.ctypes.data:
        target[:] = raw
    verify_block(header, i, target, where)


def verify_block(header: Header, i: int, data: Bytes, where: str) -> None:
    """Raise FormatError unless the checksum of block i matches its unpacked data."""
    if zlib.crc32(data.data) != header.crcs[i]:
        raise FormatError(
            f"{where}: damaged: the checksum of block {i} does not match; load the file again from its source"
        )


class FileData:
    """The data of a whole file: memory-mapped if the file is uncompressed, else unpacked block by block on demand.

    A block is verified when a byte of it is first read.

    Args:
        header: The file's header.
        raw: The whole file's bytes.
        where: Names the file in error messages.
        verify: False skips the checksums, for a file that was just written or verified; a damaged file then gives wrong
            numbers.
    """

    def __init__(self, header: Header, raw: Bytes, where: str, verify: bool = True) -> None:
        self._header = header
        self._raw = raw
        self._where = where
        self._verify = verify
        fixed = header.fixed
        self._data = (
            simd.aligned_empty((fixed.data_length,), np.uint8)
            if fixed.is_compressed
            else raw[fixed.data_begin : fixed.file_length]
        )
        self._is_loaded = np.full(fixed.n_block, not verify and not fixed.is_compressed)
        self._lock = threading.Lock()

    def read(self, begin: int, end: int) -> Bytes:
        """Return a read-only view of the data. Raises FormatError if a block of it is damaged."""
        first, last = begin // BLOCK_SIZE, -(-end // BLOCK_SIZE)
        with self._lock:
            for i in first + np.flatnonzero(~self._is_loaded[first:last]):
                self._load(int(i))
        data = self._data[begin:end]
        data.flags.writeable = False
        return data

    def _load(self, i: int) -> None:
        header = self._header
        target = self._data[i * BLOCK_SIZE :][: block_size(header.fixed, i)]
        if header.fixed.is_compressed:
            offset = int(header.offsets[i])
            unpack_block(header, i, self._raw[offset : offset + int(header.lengths[i])], target, self._where)
        elif self._verify:
            verify_block(header, i, target, self._where)
        self._is_loaded[i] = True


class FileTensors(Mapping[str, Weight]):
    """The tensors of a file, by their names in the file: matrices packed, all others as arrays; read-only views."""

    def __init__(self, header: Header, data: DataSource, where: str) -> None:
        self._header = header
        self._data = data
        self._where = where

    def __getitem__(self, name: str) -> Weight:
        entry = self._header.entries[name]
        arrays = read_arrays(entry, self._data)
        if entry.layout != "panels":
            check_finite(arrays["values"], name, self._where)
            return arrays["values"]
        n_out, n_in = entry.shape
        scales = arrays.get("scales")
        if scales is not None and not (np.abs(scales, dtype=np.float32) <= MAX_SCALE).all():
            raise FormatError(f"{self._where}: tensor {name!r} has a scale that is not finite; convert the model again")
        try:
            matrix = PackedMatrix.from_arrays(entry.dtype, (n_out, n_in), arrays)
        except ValueError as error:
            raise FormatError(f"{self._where}: tensor {name!r}: {error}") from error
        check_finite(matrix, name, self._where)
        return matrix

    def __contains__(self, name: object) -> bool:  # Mapping's own version would read the tensor
        return name in self._header.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._header.entries)

    def __len__(self) -> int:
        return len(self._header.entries)


def read_arrays(entry: TensorEntry, data: DataSource) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that a tensor consists of, as views."""
    return {
        name: data.read(array.offset, array.end).view(np.dtype(array.dtype).newbyteorder("<")).reshape(array.shape)
        for name, array in entry.arrays.items()
    }
