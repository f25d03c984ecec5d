"""Read recordings in blocks, any number of times, without holding them in memory.

A file is opened again for each pass. A stream that can be read only once is first copied to a temporary file.
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
# Each call reads the recording from the beginning, as mono blocks (n,) at 16 kHz.
Blocks = Callable[[], Iterator[FloatArray]]

SPOOL_SAMPLES = 10 * SAMPLE_RATE  # of one block that is read from the temporary file


def open_channels(source: AudioLike, options: ReadingOptions, *, allow_empty: bool = False) -> list[Blocks]:
    """Return a function for each channel to transcribe, which reads it from the beginning.

    There is one channel, unless `options.channel` is "each". Several channels may be read at the same time.

    Args:
        source: The recording.
        options: Which channel and track to read.
        allow_empty: Yield nothing for a recording without samples, instead of raising AudioError.

    Raises:
        AudioError: The recording cannot be read.
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
    """Make a temporary file, which is closed if it cannot be filled."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with its _Spool
    try:
        yield file
    except BaseException:
        file.close()
        raise


class _Spool:
    """The samples of a stream, in a temporary file that is closed with the last reference to the spool."""

    def __init__(self, reader: AudioReader, allow_empty: bool) -> None:
        self.n_channels = 1
        with _temporary() as self._file:
            for block in reader.blocks(allow_empty=allow_empty):
                self.n_channels = 1 if block.ndim == 1 else block.shape[1]
                self._file.write(block.tobytes())
        weakref.finalize(self, self._file.close)

    def blocks(self, channel: int) -> Iterator[FloatArray]:
        """Yield a channel's samples."""
        position, size = 0, 4 * self.n_channels * (SPOOL_SAMPLES // self.n_channels)
        while True:
            self._file.seek(position)  # another channel may have been read in the meantime
            data = self._file.read(size)
            if not data:
                return
            position += len(data)
            yield np.frombuffer(data, np.float32)[channel :: self.n_channels]
