"""The data of an `.apr` version 2 file: bytes that are verified before anyone sees them, and tensors made of them without copying."""

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
from .header import BLOCK, Entry, Head, block_size, fail

MAX_SCALE = float(np.finfo(np.float32).max) / 128  # times the largest value it is still finite

Bytes = npt.NDArray[np.uint8]


class Data(Protocol):
    """Where tensors' bytes come from."""

    def take(self, begin: int, end: int) -> Bytes:
        """The unpacked data from `begin` to `end`, verified, beginning at a multiple of 64 bytes where `begin` does."""


def unpack_block(head: Head, i: int, raw: Bytes, target: Bytes, where: str) -> None:
    """Block i as it lies in the file -> its data in `target`, verified. Raises FormatError."""
    if head.is_lz4[i]:
        if not simd.lz4_decode(raw.data, target.data):
            fail(where, f"damaged: block {i} is no LZ4 of {len(target)} bytes; load it again from where it came")
    elif target.ctypes.data != raw.ctypes.data:
        target[:] = raw
    check_block(head, i, target, where)


def check_block(head: Head, i: int, data: Bytes, where: str) -> None:
    if zlib.crc32(data.data) != head.crcs[i]:
        fail(where, f"damaged: the checksum of block {i} does not fit; load it again from where it came")


class FileData:
    """A file's data: mapped where it is stored as it is, unpacked into memory block by block where it is LZ4.

    Each block is verified when its first byte is asked for. `verify=False` leaves the checksums out, for a file that was just written or
    verified: a damaged one then gives wrong numbers.
    """

    def __init__(self, head: Head, raw: Bytes, where: str, verify: bool = True) -> None:
        self._head = head
        self._raw = raw
        self._where = where
        self._verify = verify
        sizes = head.sizes
        self._data = (
            simd.aligned_empty((sizes.data_length,), np.uint8)
            if sizes.is_packed
            else raw[sizes.data_begin : sizes.file_length]
        )
        self._done = np.full(sizes.n_block, not verify and not sizes.is_packed)
        self._lock = threading.Lock()

    def take(self, begin: int, end: int) -> Bytes:
        first, last = begin // BLOCK, -(-end // BLOCK)
        with self._lock:
            for i in first + np.flatnonzero(~self._done[first:last]):
                self._load(int(i))
        data = self._data[begin:end]
        data.flags.writeable = False
        return data

    def _load(self, i: int) -> None:
        head = self._head
        target = self._data[i * BLOCK :][: block_size(head.sizes, i)]
        if head.sizes.is_packed:
            offset = int(head.offsets[i])
            unpack_block(head, i, self._raw[offset : offset + int(head.lengths[i])], target, self._where)
        elif self._verify:
            check_block(head, i, target, self._where)
        self._done[i] = True


class Tensors(Mapping[str, Weight]):
    """The file's tensors by the names that it gives them: matrices packed, everything else as arrays. Read-only views of the data."""

    def __init__(self, head: Head, data: Data, where: str) -> None:
        self._head = head
        self._data = data
        self._where = where

    def __getitem__(self, name: str) -> Weight:
        entry = self._head.entries[name]
        arrays = read_arrays(entry, self._data)
        if entry.layout != "panels":
            check_finite(arrays["values"], name, self._where)
            return arrays["values"]
        n_out, n_in = entry.shape
        scales = arrays.get("scales")
        if scales is not None and not (np.abs(scales, dtype=np.float32) <= MAX_SCALE).all():
            fail(self._where, f"tensor {name!r} has a scale that is not finite")
        try:
            matrix = PackedMatrix.from_arrays(entry.dtype, (n_out, n_in), arrays)
        except ValueError as error:
            raise FormatError(f"{self._where}: tensor {name!r}: {error}") from error
        check_finite(matrix, name, self._where)
        return matrix

    def __contains__(self, name: object) -> bool:  # Mapping's own would fetch the tensor
        return name in self._head.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._head.entries)

    def __len__(self) -> int:
        return len(self._head.entries)


def read_arrays(entry: Entry, data: Data) -> dict[str, npt.NDArray[Any]]:
    return {
        name: data.take(array.offset, array.end).view(np.dtype(array.dtype).newbyteorder("<")).reshape(array.shape)
        for name, array in entry.arrays.items()
    }
