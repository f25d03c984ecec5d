"""Blocks of decoded samples, the unit in which every decoder yields audio, and their limits."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AudioError

Block = tuple[int, npt.NDArray[Any]]  # sampling rate in Hz, samples (n, channels)

BLOCK_SECONDS = 10
MAX_BLOCK = 1 << 21  # values in a block, all channels counted
MAX_CHANNELS = 64
MAX_RATE = 1_000_000  # Hz

# Limits on the silence that replaces missing audio in one recording: a fixed allowance, plus one second for each
# BYTES_PER_SECOND of the file. That is at most ten bytes of 16 kHz float32 output for each byte of input.
GAP_SECONDS = 600
BYTES_PER_SECOND = 6400


def check_format(name: str, rate: float, channels: int) -> None:
    """Check the sampling rate and the channel count that a file's header states.

    Args:
        name: The recording's name, for the message.
        rate: Sampling rate in Hz.
        channels: Number of channels.

    Raises:
        AudioError: The rate or the channel count is outside what can be read.
    """
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{name}: {channels} channels; 1 to {MAX_CHANNELS} can be read")
    if not 100 <= rate <= MAX_RATE or rate != int(rate):
        raise AudioError(f"{name}: a sampling rate of {rate} Hz; whole numbers from 100 to {MAX_RATE} can be read")


def block_frames(rate: int, channels: int) -> int:
    """Return the number of samples per channel in a block."""
    return max(1, min(BLOCK_SECONDS * rate, MAX_BLOCK // channels))


class GapFiller:
    """Silence in place of missing audio, so that later audio keeps its time.

    The total is limited in proportion to the file's size: a damaged header may claim a gap of any length.
    """

    def __init__(self, size: int) -> None:
        """Set the limit for a recording of `size` bytes."""
        self._seconds = GAP_SECONDS + size / BYTES_PER_SECOND

    def silence(self, n: int, rate: int, channels: int) -> Iterator[Block]:
        """Yield `n` samples of silence at `rate` Hz, or nothing if that exceeds the limit."""
        if n / rate > self._seconds:
            return
        self._seconds -= n / rate
        step = block_frames(rate, channels)
        for i in range(0, n, step):
            yield rate, np.zeros((min(step, n - i), channels), np.float32)
