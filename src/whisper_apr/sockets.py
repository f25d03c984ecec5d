"""Reading from a connection with a limit on the whole, not only on each wait for a byte."""

import io
import socket
import time
from typing import Any


class DeadlineReader(io.RawIOBase):
    """What a connection brings, up to a deadline that may be moved: a byte now and then does not keep it open.

    deadline: by `time.monotonic()`. A read that lasts until then raises TimeoutError. The connection stays open as long as this is, as with
    `socket.makefile`.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._file: Any = connection.makefile("rb", buffering=0)  # holds the connection open
        self.deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left)
        count: int | None = self._file.readinto(buffer)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
