"""A bounds-checked reader of little-endian binary data, for model files that may be truncated or hostile."""

import struct
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from ..errors import FormatError

Bytes = npt.NDArray[np.uint8]


class ByteReader:
    """Reads a byte array sequentially and raises FormatError instead of reading past its end.

    Args:
        data: The bytes, uint8; typically memory-mapped.
        where: Names the file in error messages.
        position: Offset of the first byte to read.

    Attributes:
        position: Offset of the next byte.
    """

    def __init__(self, data: Bytes, where: str, position: int = 0) -> None:
        self.data = data
        self.where = where
        self.position = position

    @property
    def remaining(self) -> int:
        """Number of bytes left."""
        return len(self.data) - self.position

    def fail(self, problem: str) -> NoReturn:
        """Raise FormatError naming the file."""
        raise FormatError(f"{self.where}: {problem}")

    def read(self, size: int, what: str) -> Bytes:
        """Return the next `size` bytes, as a view.

        Args:
            size: Number of bytes; one computed from a hostile file may be negative or huge.
            what: Names the field in the error message.

        Raises:
            FormatError: Fewer bytes are left.
        """
        end = self.position + size
        if not self.position <= end <= len(self.data):
            self.fail(
                f"cut off or damaged: {what} takes {size} bytes at offset {self.position}, "
                f"but {self.remaining} are left; load the file again from its source"
            )
        view = self.data[self.position : end]
        self.position = end
        return view

    def unpack(self, layout: str, what: str) -> tuple[int, ...]:
        """Return the next integers; `layout` is a `struct` format without the byte order."""
        layout = f"<{layout}"
        return struct.unpack(layout, self.read(struct.calcsize(layout), what).tobytes())

    def uint8(self, what: str) -> int:
        """Return the next unsigned 8-bit integer."""
        return self.unpack("B", what)[0]

    def uint16(self, what: str) -> int:
        """Return the next unsigned 16-bit integer."""
        return self.unpack("H", what)[0]

    def uint32(self, what: str) -> int:
        """Return the next unsigned 32-bit integer."""
        return self.unpack("I", what)[0]

    def strings(self, count: int, length_size: int, what: str) -> list[bytes]:
        """Return the next byte strings, each preceded by its length.

        Args:
            count: Number of strings.
            length_size: Size of a length in bytes.
            what: Names a string in the error message.

        Raises:
            FormatError: A string reaches beyond the end.
        """
        data, position = self.data.data, self.position  # not `read`, which is slow for 100,000 strings
        strings = []
        for _ in range(count):
            begin = position + length_size
            position = begin + int.from_bytes(data[position:begin], "little")
            if position > len(data):
                self.fail(f"cut off or damaged: {what} reaches beyond the end; load the file again from its source")
            strings.append(bytes(data[begin:position]))
        self.position = position
        return strings
