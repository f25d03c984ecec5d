"""Blocks of decoded sound, as the readers yield them: their bounds."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AudioError

Block = tuple[int, npt.NDArray[Any]]  # sampling rate in Hz, samples (n, channels)

BLOCK_SECONDS = 10
MAX_BLOCK = 1 << 21  # numbers in a block, however many channels there are
MAX_CHANNELS = 64
MAX_RATE = 1_000_000

GAP_SECONDS = 600  # of silence in place of what is missing, in any recording ...
BYTES_PER_SECOND = 6400  # ... and a second more for so many of its bytes: ten bytes of float32 at 16 kHz for each


def check_head(name: str, rate: float, channels: int) -> None:
    """Raise AudioError for a sampling rate or a number of channels that cannot be read."""
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{name}: {channels} channels; 1 to {MAX_CHANNELS} can be read")
    if not 100 <= rate <= MAX_RATE or rate != int(rate):
        raise AudioError(f"{name}: a sampling rate of {rate} Hz; whole numbers from 100 to {MAX_RATE} can be read")


def block_frames(rate: int, channels: int) -> int:
    """Return how many samples of each channel make a block."""
    return max(1, min(BLOCK_SECONDS * rate, MAX_BLOCK // channels))


class GapFiller:
    """Silence in place of sound that is missing, so that what follows keeps its time: bounded by the recording's bytes."""

    def __init__(self, size: int) -> None:
        """Take the bytes of the recording, whose numbers may claim any gap."""
        self._seconds = GAP_SECONDS + size / BYTES_PER_SECOND

    def silence(self, n: int, rate: int, channels: int) -> Iterator[Block]:
        """Yield `n` samples of silence, or nothing where that would be too much."""
        if n / rate > self._seconds:
            return
        self._seconds -= n / rate
        step = block_frames(rate, channels)
        for i in range(0, n, step):
            yield rate, np.zeros((min(step, n - i), channels), np.float32)
