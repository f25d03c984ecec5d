"""Load an `.apr` version 2 file while it arrives: a tensor is available as soon as its last block is verified.

`AprStream` takes the file's bytes from the beginning, in pieces of any size. Its checkpoint's tensors block until their
data has arrived. The bytes come from the caller (`feed`, `finish`) or from a feeder (`read_from`), which runs in a
background thread or, without threads, whenever a missing tensor is accessed.
"""

import sys
import threading
from collections.abc import Callable
from typing import BinaryIO, Protocol

import numpy as np

from ... import simd
from ...checkpoint import Checkpoint
from ...errors import FormatError
from ..byte_reader import Bytes
from .blocks import unpack_block
from .header import BLOCK_SIZE, FIXED_SIZE, MAGIC, FixedHeader, Header, block_size, read_fixed_header, read_header
from .reader import build_checkpoint, is_version_2

Progress = Callable[[int, int], object]  # bytes received, bytes in total

HAS_THREADS = sys.platform != "emscripten"
PIECE = 64 << 10  # bytes read from a feeder's source at a time


class ChangedError(FormatError):
    """The file on the server changed after tensors of the old version were used."""


class Feeder(Protocol):
    """A source of a stream's bytes."""

    def pull(self, stream: "AprStream") -> bool:
        """Feed the stream one piece, or finish it.

        Returns:
            Whether more may follow.

        Raises:
            Exception: Whatever ended the transfer.
        """

    def close(self) -> None:
        """Release the source's resources."""


class AprStream:
    """A model that is loaded while it arrives. One thread may feed it while others wait for tensors.

    It holds the unpacked data, the header, and one compressed block in memory.

    Args:
        where: Names the source in error messages.
        length: Length of the file in bytes, if it is known.
        on_progress: Called with the bytes received and the bytes in total, in the thread that feeds.
    """

    def __init__(self, where: str = "stream", length: int | None = None, on_progress: Progress | None = None) -> None:
        self.where = where
        self.length = length
        self._on_progress = on_progress
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._feeder: Feeder | None = None  # pulled by a thread that waits; None if bytes arrive otherwise
        self._pulling = threading.Lock()
        self._is_used = False  # a checkpoint was returned, so the file must not change any more
        self._reset()

    def _reset(self) -> None:
        self._position = 0  # offset in the file of the next byte
        self._high_water_mark = 0  # of `_position` before a restart: bytes below it are compared or skipped
        self._prefix = bytearray()  # the bytes before the data
        self._fixed: FixedHeader | None = None
        self._header: Header | None = None
        self._data: Bytes = np.zeros(0, np.uint8)
        self._compressed = np.zeros(0, np.uint8)  # a compressed block that is not complete yet
        self._block = 0  # index of the block that is being received
        self._verified_length = 0  # bytes of the data that may be used

    # ---- feeding ----

    @property
    def position(self) -> int:
        """Offset in the file of the next byte to feed. After an error in a block it is the start of that block."""
        return self._position

    @property
    def is_complete(self) -> bool:
        """Whether all of the file has arrived."""
        return self._header is not None and self._block == self._header.fixed.n_block

    def feed(self, piece: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the file.

        Raises:
            FormatError: They are damaged; waiting threads get the error too.
        """
        try:
            self.accept(piece)
        except FormatError as error:
            self.fail(error)
            raise

    def accept(self, piece: bytes | bytearray | memoryview) -> None:
        """Like `feed`, for a source that can retry: after an error it may resume from `position`; waiting goes on."""
        view = memoryview(piece).cast("B")
        try:
            while len(view):
                view = view[self._consume(view) :]
        finally:
            with self._changed:
                self._changed.notify_all()
        if self._on_progress and self._header:
            self._on_progress(max(self._position, self._high_water_mark), self._header.fixed.file_length)

    def finish(self) -> None:
        """Mark the end of the file.

        Raises:
            FormatError: The file is not complete; waiting threads get the error too.
        """
        if not self.is_complete:
            expected = self._fixed.file_length if self._fixed else self.length
            of = f" of {expected}" if expected else ""
            error = FormatError(f"{self.where}: ended after {self._position}{of} bytes; load it again from its source")
            self.fail(error)
            raise error

    def fail(self, error: Exception) -> None:
        """End the stream with an error, which every access to missing data then raises."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def restart(self) -> None:
        """Expect the file from its first byte again. If it is the same file, the data that has arrived is kept."""
        if self._header is None:
            self._reset()
        else:
            self._high_water_mark = max(self._high_water_mark, self._position)
            self._position = 0

    def _consume(self, view: memoryview) -> int:
        """Take some of the bytes; return how many."""
        if self._position < self._high_water_mark:
            return self._skip_known(view)
        if self._header is None:
            return self._read_header(view)
        return self._read_data(self._header, view)

    def _skip_known(self, view: memoryview) -> int:
        """Skip bytes that have arrived before; start over if they differ from the old ones."""
        known = self._prefix[self._position : self._position + len(view)]
        if not known:  # the header, and with it all checksums, was the same, so the data is too
            count = min(len(view), self._high_water_mark - self._position)
        else:
            count = min(len(view), len(known))
            if view[:count] != known[:count]:
                if self._is_used:
                    raise ChangedError(f"{self.where}: changed while it was being loaded; load it again")
                beginning = bytes(self._prefix[: self._position])
                self._reset()
                for i in range(0, len(beginning), PIECE):
                    self._read_header(memoryview(beginning)[i : i + PIECE])
                return 0
        self._position += count
        return count

    def _read_header(self, view: memoryview) -> int:
        wanted = self._fixed.data_begin if self._fixed else FIXED_SIZE
        count = min(len(view), wanted - self._position)
        self._prefix += view[:count]
        self._position += count
        if self._position == wanted:
            try:
                self._parse_header()
            except FormatError:
                self._reset()
                raise
        return count

    def _parse_header(self) -> None:
        raw, where = bytes(self._prefix), self.where
        if self._fixed is None:
            if raw[:4] == MAGIC and not is_version_2(raw):
                raise FormatError(
                    f"{where}: only .apr version 2 can be loaded while it arrives; save it to a file and open that"
                )
            self._fixed = read_fixed_header(raw, where)
            if self.length is not None and self.length != self._fixed.file_length:
                raise FormatError(
                    f"{where}: it has {self.length} bytes instead of {self._fixed.file_length}; "
                    "load it again from its source"
                )
        else:
            header = read_header(self._fixed, raw, where)
            try:
                self._data = simd.aligned_empty((self._fixed.data_length,), np.uint8)
            except MemoryError as error:
                raise FormatError(
                    f"{where}: its {self._fixed.data_length} bytes of data do not fit into memory"
                ) from error
            self._compressed = np.empty(BLOCK_SIZE if self._fixed.is_compressed else 0, np.uint8)
            self._header = header

    def _read_data(self, header: Header, view: memoryview) -> int:
        i = self._block
        if i == header.fixed.n_block:
            raise FormatError(
                f"{self.where}: bytes follow the end at {header.fixed.file_length}; load it again from its source"
            )
        begin, length = int(header.offsets[i]), int(header.lengths[i])
        target = self._data[i * BLOCK_SIZE :][: block_size(header.fixed, i)]
        raw = self._compressed[:length] if header.is_lz4[i] else target
        done = self._position - begin  # bytes of the block that have arrived before
        count = min(len(view), length - done)
        raw[done : done + count] = view[:count]
        self._position += count
        if done + count == length:
            try:
                unpack_block(header, i, raw, target, self.where)
            except FormatError:
                self._position = begin
                raise
            self._block += 1
            self._verified_length = i * BLOCK_SIZE + len(target)
        return count

    # ---- using ----

    @property
    def checkpoint(self) -> Checkpoint:
        """The model. Waits for the header and the vocabulary; each access to a tensor waits for its data.

        Raises:
            FormatError: The file is damaged or not a model.
            Exception: Whatever ended the transfer early.
        """
        self._wait(lambda: self._header is not None, "the header")
        assert self._header is not None
        self._is_used = True
        return build_checkpoint(self._header, self, self.where)

    def is_ready(self, name: str) -> bool:
        """Return whether a tensor has arrived; False before the header has.

        Raises:
            KeyError: The file has no tensor of this name.
        """
        return self._header is not None and self._header.entries[name].end <= self._verified_length

    def read(self, begin: int, end: int) -> Bytes:
        """Return a read-only view of the data, after waiting for it."""
        self._wait(lambda: self._verified_length >= end, f"the data up to byte {end}")
        data = self._data[begin:end]
        data.flags.writeable = False
        return data

    def _wait(self, has_arrived: Callable[[], bool], what: str) -> None:
        """Wait until data has arrived, by pulling the feeder or for another thread. Raises what ended the stream."""
        while not has_arrived():
            if self._error is not None:
                raise self._error
            if self._feeder is not None:
                with self._pulling:
                    if not has_arrived():
                        self._pull(self._feeder)
            elif HAS_THREADS:
                with self._changed:
                    self._changed.wait_for(lambda: has_arrived() or self._error is not None)
            else:
                raise FormatError(f"{self.where}: {what} has not arrived yet; feed more bytes first")

    def _pull(self, feeder: Feeder) -> bool:
        try:
            return feeder.pull(self)
        except Exception as error:
            self.fail(error)
            raise

    def close(self) -> None:
        """End the transfer: a background feeder stops after its next piece, and waiting threads get FormatError."""
        if not self.is_complete:
            self.fail(FormatError(f"{self.where}: closed before it was complete"))

    # ---- feeders ----

    def read_from(self, feeder: Feeder, background: bool = HAS_THREADS) -> None:
        """Read from a feeder: in a background thread, or whenever missing data is accessed."""
        if not background:
            self._feeder = feeder
            return

        def run() -> None:
            try:
                while self._error is None and feeder.pull(self):
                    pass
            except Exception as error:  # raised in the threads that wait
                self.fail(error)
            finally:
                feeder.close()

        threading.Thread(target=run, name="whisper_apr model", daemon=True).start()


class FileFeeder:
    """Feeds a stream from a binary file object, which remains the caller's to close."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def pull(self, stream: AprStream) -> bool:
        try:
            piece = self._file.read(PIECE)
        except Exception as error:  # a caller's file object may raise anything
            raise FormatError(f"{stream.where}: cannot be read ({type(error).__name__}: {error})") from error
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise FormatError(
                f"{stream.where}: its read() returned {type(piece).__name__} instead of bytes; open it in binary mode"
            )
        if piece:
            stream.feed(piece)
            return True
        stream.finish()
        return False

    def close(self) -> None:
        """Do nothing."""
