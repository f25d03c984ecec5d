"""Matroska (RFC 9559) as ffmpeg writes it to a pipe: one track of float32 samples in timestamped blocks."""

import struct
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

MAX_RATE = 1e7  # Hz, so that the rate can be rounded to an integer; the caller sets a tighter limit
MAX_ELEMENT = 64 << 20  # bytes

# master elements, which contain other elements
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
    """Read the blocks of a file, up to its end or to the first truncated or invalid element.

    Args:
        file: A binary file; it need not be seekable.

    Yields:
        `(time, rate, samples)`: when the block begins, in seconds; the rate in Hz; float32 samples `(n, channels)`.
    """
    # the format's defaults: TimestampScale in ns, SamplingFrequency in Hz, Channels
    scale, rate, channels, cluster = 1_000_000, 8000.0, 1, 0
    while (element := _read_vint(file, keep_marker=True)) >= 0 and (size := _read_vint(file)) != -1:
        if element in _MASTERS:
            continue
        if not 0 <= size <= MAX_ELEMENT or len(payload := file.read(size)) < size:
            return
        if element == _TIMESTAMP_SCALE:
            scale = int.from_bytes(payload, "big")
        elif element == _RATE and size in (4, 8):
            (rate,) = struct.unpack(">f" if size == 4 else ">d", payload)
            if not 1 <= rate <= MAX_RATE:
                return
        elif element == _CHANNELS:
            channels = int.from_bytes(payload, "big")
            if not channels:
                return
        elif element == _TIMESTAMP:
            cluster = int.from_bytes(payload, "big")
        elif element in (_SIMPLE_BLOCK, _BLOCK) and size > 4:
            (relative,) = struct.unpack_from(">h", payload, 1)  # after the track number, one byte if below 128
            frames = (size - 4) // (4 * channels)
            samples = np.frombuffer(payload, "<f4", frames * channels, 4).reshape(frames, channels)
            yield (cluster + relative) * scale / 1e9, round(rate), samples


def _read_vint(file: IO[bytes], *, keep_marker: bool = False) -> int:
    """Read a variable-length integer (RFC 8794, section 4).

    Returns:
        The value; with `keep_marker` including its length marker, as in element IDs. -1 at the end of the file, and -2
        if all bits are set, which means an unknown size.
    """
    first = file.read(1)
    if not first or not first[0]:
        return -1
    n = 8 - first[0].bit_length()  # bytes that follow
    rest = file.read(n)
    if len(rest) < n:
        return -1
    value = int.from_bytes(first + rest, "big")
    if keep_marker:
        return value
    ones = (1 << 7 * (n + 1)) - 1
    return -2 if value & ones == ones else value & ones
