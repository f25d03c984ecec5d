"""The Matroska that ffmpeg writes into a pipe: blocks of float32 samples, each with its time."""

import struct
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

MAX_RATE = 1e7  # Hz; what is less is judged by who asked
MAX_ELEMENT = 64 << 20  # bytes

# elements that consist of others, which are read in their place
_MASTERS = {
    0x18538067,  # Segment
    0x1549A966,  # Info
    0x1654AE6B,  # Tracks
    0xAE,  # TrackEntry
    0xE1,  # Audio
    0x1F43B675,  # Cluster
    0xA0,  # BlockGroup
}
_TIMESTAMP_SCALE, _RATE, _CHANNELS, _TIMESTAMP, _SIMPLE_BLOCK, _BLOCK = 0x2AD7B1, 0xB5, 0x9F, 0xE7, 0xA3, 0xA1


def timed_blocks(file: IO[bytes]) -> Iterator[tuple[float, int, npt.NDArray[Any]]]:
    """Yield `(seconds, rate, samples)`: when a block begins, the sampling rate in Hz, float32 samples `(n, channels)`.

    The file ends where it is cut off.
    """
    scale, rate, channels, cluster = 1_000_000, 8000.0, 1, 0  # the defaults of the format; ns, Hz
    while (kind := _number(file, marker=True)) >= 0 and (size := _number(file)) != -1:
        if kind in _MASTERS:
            continue
        if not 0 <= size <= MAX_ELEMENT or len(payload := file.read(size)) < size:
            return
        if kind == _TIMESTAMP_SCALE:
            scale = int.from_bytes(payload, "big")
        elif kind == _RATE and size in (4, 8):
            (rate,) = struct.unpack(">f" if size == 4 else ">d", payload)
            if not 1 <= rate <= MAX_RATE:
                return
        elif kind == _CHANNELS:
            channels = int.from_bytes(payload, "big")
            if not channels:
                return
        elif kind == _TIMESTAMP:
            cluster = int.from_bytes(payload, "big")
        elif kind in (_SIMPLE_BLOCK, _BLOCK) and size > 4:
            (relative,) = struct.unpack_from(">h", payload, 1)  # after the track's number, which is below 128
            frames = (size - 4) // (4 * channels)
            samples = np.frombuffer(payload, "<f4", frames * channels, 4).reshape(frames, channels)
            yield (cluster + relative) * scale / 1e9, round(rate), samples


def _number(file: IO[bytes], *, marker: bool = False) -> int:
    """Read a number of variable length: -1 at the end of the file, -2 where all bits are set, which is an unknown size."""
    first = file.read(1)
    if not first or not first[0]:
        return -1
    n = 8 - first[0].bit_length()  # bytes that follow
    rest = file.read(n)
    if len(rest) < n:
        return -1
    value = int.from_bytes(first + rest, "big")
    if marker:
        return value
    ones = (1 << 7 * (n + 1)) - 1
    return -2 if value & ones == ones else value & ones
