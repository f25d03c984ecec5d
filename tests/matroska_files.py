"""Matroska files of float32 samples, as ffmpeg writes them to a pipe."""

import struct
from collections.abc import Iterable
from typing import Any


def element(kind: int, payload: bytes) -> bytes:
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + (1 << 56 | len(payload)).to_bytes(8, "big") + payload


def unknown(kind: int) -> bytes:
    """Return the header of an element of unknown size."""
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + b"\x01" + b"\xff" * 7


def block(relative: int, samples: Any) -> bytes:
    """Return a SimpleBlock; `relative` is its time in ms after its cluster."""
    return element(0xA3, b"\x81" + struct.pack(">hB", relative, 0x80) + samples.tobytes())


def cluster(time: int, blocks: Iterable[bytes]) -> bytes:
    return element(0x1F43B675, element(0xE7, time.to_bytes(8, "big")) + b"".join(blocks))


def matroska(blocks: Iterable[tuple[float, Any]], rate: int, channels: int) -> bytes:
    """Return a file of blocks `(seconds, samples (n, channels))`, each in its own cluster."""
    audio = element(0xB5, struct.pack(">d", rate)) + element(0x9F, bytes([channels]))
    tracks = element(0x1654AE6B, element(0xAE, element(0xD7, b"\1") + element(0xE1, audio)))
    head = element(0x1A45DFA3, element(0x4282, b"matroska")) + unknown(0x18538067)
    info = element(0x1549A966, element(0x2AD7B1, (1_000_000).to_bytes(4, "big")))
    return head + info + tracks + b"".join(cluster(round(seconds * 1000), [block(0, x)]) for seconds, x in blocks)
