"""Recordings whose samples can be read repeatedly, in blocks; they are never held in memory as a whole.

A file is opened anew for each pass. A stream that cannot seek is first copied to a temporary file.
"""

import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO

import numpy as np

from .. import simd
from ..audio import (
    SAMPLE_RATE,
    AudioLike,
    AudioReader,
    ReadingOptions,
)
from ..audio.samples import EACH

FloatArray = simd.FloatArray
Blocks = Callable[[], Iterator[FloatArray]]  # each call reads from the beginning

SPOOL_SAMPLES = 10 * SAMPLE_RATE  # of one block that is read back from a temporary file


def open_channels(source: AudioLike, options: ReadingOptions, *, allow_empty: bool = False) -> list[Blocks]:
    """Return a function for each channel that is to be transcribed: it reads that channel from its beginning, as mono blocks at 16 kHz.

    There is one, unless the options ask for "each" of the channels. Their readings may go on side by side. A source that can be read
    only once is first copied to a temporary file.
    """
    reader = AudioReader(source, options)
    if reader.is_stream:
        spool = _Spool(reader, allow_empty)
        return [partial(spool.blocks, i) for i in range(spool.n_channels)]
    read = partial(reader.blocks, allow_empty=allow_empty)
    if options.channel != EACH:
        return [read]
    return [partial(read, channel=i) for i in range(reader.count_channels())]


@contextmanager
def _temporary() -> Iterator[IO[bytes]]:
    """Make a temporary file, which is closed where it cannot be filled."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as what reads it
    try:
        yield file
    except BaseException:
        file.close()
        raise


class _Spool:
    """The samples of a stream in a temporary file, which is closed when nobody can read them any more."""

    def __init__(self, reader: AudioReader, allow_empty: bool) -> None:
        self.n_channels = 1
        with _temporary() as self._file:
            for block in reader.blocks(allow_empty=allow_empty):
                self.n_channels = 1 if block.ndim == 1 else block.shape[1]
                self._file.write(block.tobytes())
        weakref.finalize(self, self._file.close)

    def blocks(self, channel: int) -> Iterator[FloatArray]:
        position, size = 0, 4 * self.n_channels * (SPOOL_SAMPLES // self.n_channels)
        while True:
            self._file.seek(position)  # another channel may have been read since
            data = self._file.read(size)
            if not data:
                return
            position += len(data)
            yield np.frombuffer(data, np.float32)[channel :: self.n_channels]
