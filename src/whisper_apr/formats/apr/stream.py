"""`.apr` version 2 as it arrives: blocks are verified one by one, tensors are there as soon as their last block is.

`AprStream` takes bytes from the file's beginning on, in pieces of any size, and is the data of a checkpoint whose tensors wait until they have
come. Who feeds it: the caller (`feed`, `finish`), or a source that `open_stream` gives it, read in a thread beside the caller or, where
there are no threads, whenever a tensor is asked for that is not there yet.
"""

import sys
import threading
from collections.abc import Callable
from typing import BinaryIO, Protocol

import numpy as np

from ... import simd
from ...checkpoint import Checkpoint
from ...errors import FormatError
from .blocks import Bytes, unpack_block
from .header import BLOCK, MAGIC, PREFIX, Head, Sizes, block_size, fail, read_head, read_sizes
from .reader import checkpoint_from, is_version_2

Progress = Callable[[int, int], None]  # bytes that have come, bytes in all

HAS_THREADS = sys.platform != "emscripten"
PIECE = 64 << 10  # bytes read from a source at a time


class ChangedError(FormatError):
    """The file became another one after tensors of the old one had been used."""


class Feeder(Protocol):
    """A source that a stream asks for more."""

    def pull(self, stream: "AprStream") -> bool:
        """Feed the stream one piece, or finish it; False where nothing more will come. Raises what ended it."""

    def close(self) -> None: ...


class AprStream:
    """A model that is on its way. Memory: the data itself, its head, and one block.

    where: names the source in errors. length: of the file, where it is known beforehand. on_progress: called with the bytes that have come
    and the bytes in all, in the thread that feeds. One thread may feed while others wait for tensors.
    """

    def __init__(self, where: str = "stream", length: int | None = None, on_progress: Progress | None = None) -> None:
        self.where = where
        self.length = length
        self._on_progress = on_progress
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._feeder: Feeder | None = None  # asked by whoever waits; None where someone else feeds
        self._pulling = threading.Lock()
        self._is_used = False  # tensors were handed out: the file may not become another one
        self._begin()

    def _begin(self) -> None:
        self._at = 0  # where in the file the next byte is expected
        self._again = 0  # up to here the file has come before: bytes are compared or passed over
        self._prefix = bytearray()  # all before the data
        self._sizes: Sizes | None = None
        self._head: Head | None = None
        self._data: Bytes = np.zeros(0, np.uint8)
        self._packed = np.zeros(0, np.uint8)  # an LZ4 block that is not whole yet
        self._block = 0  # the block that is being filled
        self._verified = 0  # bytes of the data that may be seen

    # ---- feeding ----

    @property
    def position(self) -> int:
        """Where in the file the next byte fed must come from. After an error in a block it is that block's beginning."""
        return self._at

    @property
    def is_complete(self) -> bool:
        return self._head is not None and self._block == self._head.sizes.n_block

    def feed(self, piece: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the file. Raises FormatError where they are damaged; whoever waits gets it too."""
        try:
            self.accept(piece)
        except FormatError as error:
            self.fail(error)
            raise

    def accept(self, piece: bytes | bytearray | memoryview) -> None:
        """As `feed`, for a source that can ask again: after an error it may go on from `position`, and nobody who waits hears of it."""
        view = memoryview(piece).cast("B")
        try:
            while len(view):
                view = view[self._step(view) :]
        finally:
            with self._changed:
                self._changed.notify_all()
        if self._on_progress and self._head:
            self._on_progress(max(self._at, self._again), self._head.sizes.file_length)

    def finish(self) -> None:
        """Say that the file has ended. Raises FormatError where it is not complete; whoever waits gets it too."""
        if not self.is_complete:
            expected = self._sizes.file_length if self._sizes else self.length
            of = f" of {expected}" if expected else ""
            error = FormatError(f"{self.where}: ended after {self._at}{of} bytes; load it again from where it came")
            self.fail(error)
            raise error

    def fail(self, error: Exception) -> None:
        """Say that nothing more will come: whoever waits for what is not there gets the error."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def restart(self) -> None:
        """The next byte fed is the file's first again. If it is the same file, what has come is kept and passed over."""
        if self._head is None:
            self._begin()
        else:
            self._again = max(self._again, self._at)
            self._at = 0

    def _step(self, view: memoryview) -> int:
        if self._at < self._again:
            return self._pass_over(view)
        if self._head is None:
            return self._read_head(view)
        return self._read_data(self._head, view)

    def _pass_over(self, view: memoryview) -> int:
        known = self._prefix[self._at : self._at + len(view)]
        if not known:  # behind the head, which was the same: so is the data, for its checksums are
            count = min(len(view), self._again - self._at)
        else:
            count = min(len(view), len(known))
            if view[:count] != known[:count]:
                if self._is_used:
                    raise ChangedError(f"{self.where}: changed while it was being loaded; load it again")
                same = bytes(self._prefix[: self._at])
                self._begin()
                for i in range(0, len(same), PIECE):
                    self._read_head(memoryview(same)[i : i + PIECE])
                return 0
        self._at += count
        return count

    def _read_head(self, view: memoryview) -> int:
        wanted = self._sizes.data_begin if self._sizes else PREFIX
        count = min(len(view), wanted - self._at)
        self._prefix += view[:count]
        self._at += count
        if self._at == wanted:
            try:
                self._understand()
            except FormatError:
                self._begin()
                raise
        return count

    def _understand(self) -> None:
        raw, where = bytes(self._prefix), self.where
        if self._sizes is None:
            if raw[:4] == MAGIC and not is_version_2(raw):
                fail(where, "only version 2 of .apr can be loaded as it arrives; save it to a file and open that")
            self._sizes = read_sizes(raw, where)
            if self.length is not None and self.length != self._sizes.file_length:
                fail(
                    where,
                    f"has {self.length} bytes instead of {self._sizes.file_length}; load it again from where it came",
                )
        else:
            head = read_head(self._sizes, raw, where)
            try:
                self._data = simd.aligned_empty((self._sizes.data_length,), np.uint8)
            except MemoryError as error:
                raise FormatError(f"{where}: its {self._sizes.data_length} bytes do not fit into memory") from error
            self._packed = np.empty(BLOCK if self._sizes.is_packed else 0, np.uint8)
            self._head = head

    def _read_data(self, head: Head, view: memoryview) -> int:
        i = self._block
        if i == head.sizes.n_block:
            fail(self.where, f"goes on after its {head.sizes.file_length} bytes; load it again from where it came")
        begin, length = int(head.offsets[i]), int(head.lengths[i])
        target = self._data[i * BLOCK :][: block_size(head.sizes, i)]
        raw = self._packed[:length] if head.is_lz4[i] else target
        done = self._at - begin
        count = min(len(view), length - done)
        raw[done : done + count] = view[:count]
        self._at += count
        if done + count == length:
            try:
                unpack_block(head, i, raw, target, self.where)
            except FormatError:
                self._at = begin
                raise
            self._block += 1
            self._verified = i * BLOCK + len(target)
        return count

    # ---- using ----

    @property
    def checkpoint(self) -> Checkpoint:
        """The model, as soon as its head and its vocabulary have come; each of its tensors waits until it has.

        Raises FormatError where the file is damaged or no model, and what the source raised where it ended early.
        """
        self._wait(lambda: self._head is not None, "its head")
        assert self._head is not None
        self._is_used = True
        return checkpoint_from(self._head, self, self.where)

    def is_ready(self, name: str) -> bool:
        """Whether a tensor has come. False before the head has; KeyError for a name that the file does not have."""
        return self._head is not None and self._head.entries[name].end <= self._verified

    def take(self, begin: int, end: int) -> Bytes:
        """The data from `begin` to `end`, verified; waits for it."""
        self._wait(lambda: self._verified >= end, f"data up to {end}")
        data = self._data[begin:end]
        data.flags.writeable = False
        return data

    def _wait(self, is_there: Callable[[], bool], what: str) -> None:
        while not is_there():
            if self._error is not None:
                raise self._error
            if self._feeder is not None:
                with self._pulling:
                    if not is_there():
                        self._pull(self._feeder)
            elif HAS_THREADS:
                with self._changed:
                    self._changed.wait_for(lambda: is_there() or self._error is not None)
            else:
                fail(self.where, f"{what} has not come yet; feed more first")

    def _pull(self, feeder: Feeder) -> bool:
        try:
            return feeder.pull(self)
        except Exception as error:
            self.fail(error)
            raise

    def close(self) -> None:
        """Give up: a source beside is left after its next piece, and whoever waits gets FormatError."""
        if not self.is_complete:
            self.fail(FormatError(f"{self.where}: closed before it was complete"))

    # ---- a source ----

    def read_from(self, feeder: Feeder, background: bool = HAS_THREADS) -> None:
        """Let a source feed: in a thread beside, or when something is asked for that has not come."""
        if not background:
            self._feeder = feeder
            return

        def run() -> None:
            try:
                while self._error is None and feeder.pull(self):
                    pass
            except Exception as error:  # whoever waits raises it
                self.fail(error)
            finally:
                feeder.close()

        threading.Thread(target=run, name="whisper_apr model", daemon=True).start()


class FileFeeder:
    """Anything with `read(n)`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def pull(self, stream: AprStream) -> bool:
        try:
            piece = self._file.read(PIECE)
        except Exception as error:  # of whatever kind a caller's file raises
            raise FormatError(f"{stream.where}: cannot be read ({type(error).__name__}: {error})") from error
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise FormatError(f"{stream.where}: gives {type(piece).__name__} instead of bytes; open it in binary mode")
        if piece:
            stream.feed(piece)
            return True
        stream.finish()
        return False

    def close(self) -> None:
        """The file is the caller's."""
