"""The headers of AIFF, CAF and AU recordings with plain samples, translated to the "fmt " chunk of a WAVE file."""

import math
import struct

PCM, FLOAT = 0x0001, 0x0003  # WAVE format tags

SampleFormat = tuple[bytes, str]  # the content of a "fmt " chunk, and the samples' byte order as struct writes it

# AIFF-C's compression types without compression: the byte order, and whether the samples are floats
_AIFC_TYPES = {
    b"NONE": (">", False),
    b"twos": (">", False),
    b"sowt": ("<", False),
    b"in24": (">", False),
    b"42ni": ("<", False),
    b"42n1": ("<", False),  # as libsndfile spells it
    b"in32": (">", False),
    b"23ni": ("<", False),
    b"fl32": (">", True),
    b"FL32": (">", True),
    b"fl64": (">", True),
    b"FL64": (">", True),
}
_AU_ENCODINGS = {2: (8, False), 3: (16, False), 4: (24, False), 5: (32, False), 6: (32, True), 7: (64, True)}
_CAF_FLOAT, _CAF_LITTLE_ENDIAN = 1, 2  # flags


def _pack(order: str, is_float: bool, channels: int, rate: float, bits: int, align: int) -> SampleFormat | None:
    """Return a "fmt " chunk, or None for values that it cannot hold."""
    if not 1 <= rate < 1 << 32 or not 0 < channels < 1 << 16 or not 0 < bits <= 64 or not 0 < align < 1 << 16:
        return None
    tag = FLOAT if is_float else PCM
    return struct.pack(order + "HHIIHH", tag, channels, round(rate), 0, align, bits), order


def _extended(data: bytes) -> float:
    """Return an 80-bit floating-point number, big-endian; infinity if it is out of range."""
    exponent, mantissa = struct.unpack(">HQ", data)
    try:
        return math.ldexp(mantissa, exponent - 16383 - 63)  # a negative number has too large an exponent
    except OverflowError:
        return math.inf


def from_aiff(comm: bytes, is_aifc: bool) -> SampleFormat | None:
    """Translate the content of an AIFF file's COMM chunk; None if the samples are compressed or it is too short."""
    if len(comm) < 18 + 4 * is_aifc:
        return None
    order, is_float = _AIFC_TYPES.get(comm[18:22], ("", False)) if is_aifc else (">", False)
    channels, _, bits = struct.unpack_from(">HIH", comm)
    return _pack(order, is_float, channels, _extended(comm[8:18]), bits, channels * -(-bits // 8)) if order else None


def from_caf(desc: bytes) -> SampleFormat | None:
    """Translate the content of a CAF file's desc chunk; None if the samples are compressed or it is too short."""
    if len(desc) < 32 or desc[8:12] != b"lpcm":
        return None
    (rate,) = struct.unpack_from(">d", desc)
    flags, align, frames, channels, bits = struct.unpack_from(">IIIII", desc, 12)
    order = "<" if flags & _CAF_LITTLE_ENDIAN else ">"
    return _pack(order, bool(flags & _CAF_FLOAT), channels, rate, bits, align) if frames == 1 else None


def from_au(head: bytes) -> SampleFormat | None:
    """Translate an AU file's first 24 bytes; None if the samples are compressed."""
    order = ">" if head[:1] == b"." else "<"
    encoding, rate, channels = struct.unpack_from(order + "III", head, 12)
    bits, is_float = _AU_ENCODINGS.get(encoding, (0, False))
    return _pack(order, is_float, channels, rate, bits, channels * bits // 8) if bits else None
