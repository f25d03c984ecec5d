"""Read from a socket with a deadline for the whole, not only a timeout for each wait."""

import io
import socket
import time
from typing import Any


class DeadlineReader(io.RawIOBase):
    """A binary stream from a socket. A read that is not finished by the deadline raises TimeoutError.

    A peer that sends a byte now and then therefore cannot keep the connection open. As with `socket.makefile`, the
    connection stays open until this is closed.

    Args:
        connection: The connected socket.
        deadline: On the clock of `time.monotonic()`, in seconds.

    Attributes:
        deadline: May be changed at any time.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._file: Any = connection.makefile("rb", buffering=0)  # keeps the connection open
        self.deadline = deadline

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read bytes into the buffer, and return how many. Raises TimeoutError after the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left)
        count: int | None = self._file.readinto(buffer)
        return count

    def close(self) -> None:
        """Close the stream."""
        self._file.close()
        super().close()
