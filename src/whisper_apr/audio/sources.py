"""Random access to the bytes of a recording from any source, and virtual files spliced from ranges of them."""

import io
import os
import stat
import tempfile
import weakref
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import IO, Any

from ..errors import AudioError

EncodedAudio = str | PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
ByteRange = tuple[int, int]  # offsets in a recording: begin, end

COPY_BYTES = 1 << 20  # bytes copied at a time


class DecodeError(Exception):
    """Raised by a decoder that cannot decode a recording; another decoder may be able to."""


def source_name(source: object) -> str:
    """Return the name of a source for messages: its path, "standard input", or "the recording"."""
    if isinstance(source, str | PathLike):
        return os.fsdecode(source)
    name = getattr(source, "name", None)
    if name == "<stdin>" or (isinstance(name, int) and name == 0):
        return "standard input"
    return name if isinstance(name, str) and name else "the recording"


# ---- sources that can be opened repeatedly --------------------------------------------------------------------------


class ByteSource:
    """The bytes of a file, which can be read repeatedly. A source that cannot seek is copied to a temporary file."""

    def __init__(self, source: EncodedAudio, name: str) -> None:
        """Set the source.

        Args:
            source: A path, the bytes of a file, or a binary file object, which is read from its current position.
            name: Name of the recording in error messages.

        Raises:
            AudioError: `source` is not one of these, is closed, or is opened as text.
        """
        self.name = name
        self._path: str | None = None
        self._file: IO[bytes] | None = None
        self._begin = 0
        self._copy: IO[bytes] | None = None
        self._bytes: bytes | None = None
        if isinstance(source, bytes):
            self._bytes = source
        elif isinstance(source, bytearray | memoryview):
            if isinstance(source, memoryview) and source.itemsize != 1:
                raise AudioError("a memoryview of numbers is not a file; pass samples as a NumPy array")
            self._bytes = bytes(source)
        elif isinstance(source, str | PathLike):
            self._path = os.fsdecode(source)
        elif callable(getattr(source, "read", None)):
            self._file = self._check_file(source)
        else:
            raise AudioError(f"a recording is a path, bytes, a binary file or an array, not {type(source).__name__}")

    def _check_file(self, file: IO[bytes]) -> IO[bytes]:
        if getattr(file, "closed", False):
            raise AudioError(f"{self.name}: the file is closed")
        if isinstance(file, io.TextIOBase):
            raise AudioError(f"{self.name}: opened as text; open it in binary mode, 'rb'")
        try:
            self._begin = file.tell() if file.seekable() else -1
        except (AttributeError, OSError, ValueError):
            self._begin = -1
        return file

    @contextmanager
    def open(self) -> Iterator["RandomAccessBytes"]:
        """Open the source for random access.

        Raises:
            AudioError: The source cannot be opened or read.
        """
        if self._bytes is not None:
            content = RandomAccessBytes(io.BytesIO(self._bytes), self.name)
        elif self._copy:
            content = RandomAccessBytes(self._copy, self.name)
        elif self._file:
            content = RandomAccessBytes(
                self._file if self._begin >= 0 else self._copy_to_temporary(_chunks(self._file, self.name)),
                self.name,
                self._begin,
            )
        else:
            with self._open_path() as file:
                regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                seekable = file if regular else self._copy_to_temporary(_chunks(file, self.name))
                yield RandomAccessBytes(seekable, self.name)
            return
        yield content

    @contextmanager
    def descriptor(self) -> Iterator[IO[bytes]]:
        """Open an operating system file, positioned at the beginning, for another process to read.

        The file position is not shared with any other reader.
        """
        if self._path is not None and not self._copy:
            with self._open_path() as file:
                yield file
            return
        with self.open() as content:
            if not self._copy:
                self._copy_to_temporary(content.chunks())
            assert self._copy
            with self._reopen(self._copy, content) as file:
                yield file

    def _reopen(self, file: IO[bytes], content: "RandomAccessBytes") -> IO[bytes]:
        """Open an unnamed temporary file a second time, through /proc; copy it on systems without /proc."""
        try:
            return open(f"/proc/self/fd/{file.fileno()}", "rb")
        except OSError:
            return _make_temporary(content.chunks(), self.name)

    def _open_path(self) -> IO[bytes]:
        """Open the path; refuse devices, which may never end or may wait for a user's input."""
        assert self._path is not None
        if os.path.isdir(self._path):
            raise AudioError(f"{self.name}: a folder, not a recording; name the files in it")
        try:
            file = open(self._path, "rb")  # noqa: SIM115
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AudioError(f"{self.name}: {reason}") from error
        kind = os.fstat(file.fileno()).st_mode
        if stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
            file.close()
            raise AudioError(f"{self.name}: a device, not a recording")
        return file

    def _copy_to_temporary(self, chunks: Iterable[bytes]) -> IO[bytes]:
        """Copy a source that cannot seek, or has no file descriptor, to a temporary file that lives as long as self."""
        copy = _make_temporary(chunks, self.name)
        weakref.finalize(self, copy.close)
        self._copy, self._begin = copy, 0
        return copy


def _make_temporary(chunks: Iterable[bytes], name: str) -> IO[bytes]:
    """Write chunks to a temporary file and return it, positioned at the beginning."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        for chunk in chunks:
            file.write(chunk)
        file.seek(0)
    except BaseException as error:
        file.close()
        if isinstance(error, OSError):
            raise AudioError(f"{name}: cannot be copied to a temporary file: {error.strerror or error}") from error
        raise
    return file


def _read(file: "IO[bytes] | SplicedFile", n: int, name: str) -> bytes:
    """Read `n` bytes, fewer only at the end of the file; a raw file or a pipe may return fewer in each call."""
    parts: list[bytes] = []
    while n > 0:
        try:
            part = file.read(n)
        except io.UnsupportedOperation as error:
            raise AudioError(f"{name}: not opened for reading; open it with 'rb'") from error
        except (OSError, ValueError) as error:
            raise AudioError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
        if not isinstance(part, bytes | bytearray | memoryview):
            is_text = isinstance(part, str)
            problem = "opened as text; open it in binary mode, 'rb'" if is_text else "its read() returns no bytes"
            raise AudioError(f"{name}: {problem}")
        if not part:
            break
        parts.append(bytes(part))
        n -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _chunks(file: IO[bytes], name: str) -> Iterator[bytes]:
    while chunk := _read(file, COPY_BYTES, name):
        yield chunk


# ---- random access --------------------------------------------------------------------------------------------------


class RandomAccessBytes:
    """The bytes of a recording, read at any offset."""

    def __init__(self, file: "IO[bytes] | SplicedFile", name: str, begin: int = 0) -> None:
        """Wrap a seekable file, whose position `begin` becomes offset 0.

        Raises:
            AudioError: The file cannot seek.
        """
        self._file, self.name, self._begin = file, name, max(0, begin)
        try:
            self.size = max(0, file.seek(0, io.SEEK_END) - self._begin)
        except (OSError, ValueError) as error:
            raise AudioError(f"{name}: cannot be read: {error}") from error

    def read(self, offset: int, n: int) -> bytes:
        """Return `n` bytes from `offset`, fewer only at the end of the recording.

        Raises:
            AudioError: The file cannot be read, or has become shorter.
        """
        n = min(n, self.size - offset)
        if n <= 0:
            return b""
        try:
            self._file.seek(self._begin + offset)
        except (OSError, ValueError) as error:
            raise AudioError(f"{self.name}: cannot be read: {error}") from error
        data = _read(self._file, n, self.name)
        if isinstance(self._file, SplicedFile) and self._file.error:
            raise self._file.error
        if len(data) < n:
            raise AudioError(f"{self.name}: became shorter while it was read; do not write to it meanwhile")
        return data

    def chunks(self) -> Iterator[bytes]:
        """Yield all bytes in order."""
        for at in range(0, self.size, COPY_BYTES):
            yield self.read(at, COPY_BYTES)


class SplicedFile(io.RawIOBase):
    """A read-only virtual file, spliced from literal bytes, ranges of a recording, and holes.

    Reading inside a hole returns no bytes, as at the end of a file.

    C libraries read it through callbacks, which must not raise: an exception is stored in `error`, and the file appears
    to end there.
    """

    def __init__(self, content: RandomAccessBytes, pieces: Iterable[bytes | ByteRange | int]) -> None:
        """Join pieces in order.

        Args:
            content: The recording to which ranges refer.
            pieces: Bytes to insert, ranges `(begin, end)` of the recording, or integers, the sizes of holes in bytes.
        """
        self._content = content
        self._pieces: list[bytes | ByteRange | int] = []
        self._starts: list[int] = []
        self.size = 0
        for piece in pieces:
            last = self._pieces[-1] if self._pieces else None
            if isinstance(piece, tuple) and isinstance(last, tuple) and piece[0] == last[1]:
                self._pieces[-1] = (last[0], piece[1])
            else:
                self._pieces.append(piece)
                self._starts.append(self.size)
            self.size += _length(piece)
        self._position = self._ahead_from = self.n_read = 0
        self._ahead = b""
        self.error: BaseException | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the current position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position, which may lie beyond the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, only partly at the end of the file; return the number of bytes read."""
        i, n = 0, len(buffer)
        try:
            while i < n and self.error is None and (part := self._part(self._position, n - i)):
                buffer[i : i + len(part)] = part
                i += len(part)
                self._position += len(part)
        except BaseException as error:
            self.error = error
        self.n_read += i
        return i

    def read_ahead(self, n: int) -> None:
        """Buffer the next `n` bytes, so that reading them does not block or run a caller's code."""
        parts, end = [], self._position
        while n > 0 and (part := self._part(end, n)):
            parts.append(part)
            end += len(part)
            n -= len(part)
        self._ahead, self._ahead_from = b"".join(parts), self._position

    def _part(self, position: int, n: int) -> bytes:
        """Return up to `n` bytes from `position`, all from one piece."""
        if 0 <= position - self._ahead_from < len(self._ahead):
            return self._ahead[position - self._ahead_from :][:n]
        if position >= self.size:
            return b""
        i = bisect_right(self._starts, position) - 1
        piece, offset = self._pieces[i], position - self._starts[i]
        if isinstance(piece, int):
            return b""
        if isinstance(piece, bytes):
            return piece[offset : offset + n]
        return self._content.read(piece[0] + offset, min(n, piece[1] - piece[0] - offset))


def _length(piece: bytes | ByteRange | int) -> int:
    if isinstance(piece, int):
        return piece
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
