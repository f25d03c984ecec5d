"""Chunked formats (RIFF/WAVE and its relatives, AIFF, CAF) and AU: where the samples are, and how many there are.

The length in a header may be wrong. A writer that cannot seek back leaves 0 or a value near the maximum, a truncated
file has fewer samples than its header states, and an appended one more. The file itself decides.

Specifications: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0" (RIFF/WAVE, RIFX); EBU
Tech 3306 (RF64) and ITU-R BS.2088 (BW64); Apple's "Audio Interchange File Format" (AIFF, AIFC) and "Core Audio Format
Specification" (CAF); Sony's Wave64 (W64); Sun's AU.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import pcm
from .blocks import Block, block_frames, check_format
from .diagnostics import DamageReport
from .sources import ByteRange, DecodeError, RandomAccessBytes, SplicedFile

MAX_CHUNKS = 10_000  # visited in one file
MAX_PADDING = 1 << 20  # bytes of zeros after the samples that do not count as samples

PCM, FLOAT = pcm.PCM, pcm.FLOAT
MPEG_LAYER_2, MPEG_LAYER_3, EXTENSIBLE = 0x0050, 0x0055, 0xFFFE  # more WAVE format tags


@dataclass(frozen=True)
class _ChunkFormat:
    """How a family of formats encodes its chunks."""

    start: int  # offset of the first chunk
    length: str  # struct format of a chunk's length
    id_size: int = 4  # bytes of a chunk's identifier
    align: int = 2  # chunks are padded to a multiple of this many bytes
    counts_header: bool = False  # whether a chunk's length includes its header
    data: bytes = b"data"  # identifier of the chunk with the samples
    data_offset: int = 0  # bytes in that chunk before the samples
    file_length: tuple[int, int] | None = None  # offset of the file's length, and the bytes it does not count

    @property
    def header_size(self) -> int:
        """Bytes of a chunk's identifier and length."""
        return self.id_size + struct.calcsize(self.length)


_RIFF = _ChunkFormat(12, "<I", file_length=(4, 8))
_RIFX = _ChunkFormat(12, ">I", file_length=(4, 8))
_AIFF = _ChunkFormat(12, ">I", data=b"SSND", data_offset=8, file_length=(4, 8))
_CAF = _ChunkFormat(8, ">Q", align=1, data_offset=4)
_W64 = _ChunkFormat(40, "<Q", id_size=16, align=8, counts_header=True, file_length=(16, 0))


def _chunk_format(head: bytes) -> _ChunkFormat | None:
    """Return the chunk format of a file by its first 40 bytes, or None if it is not a chunked format."""
    if head[8:12] == b"WAVE":
        return {b"RIFF": _RIFF, b"RF64": _RIFF, b"BW64": _RIFF, b"RIFX": _RIFX}.get(head[:4])
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _AIFF
    if head[:6] == b"caff\0\1":
        return _CAF
    if head[:16] == bytes.fromhex("726966662e91cf11a5d628db04c10000") and head[24:28] == b"wave":
        return _W64
    return None


def is_chunked(head: bytes) -> bool:
    """Return whether `find_audio_sections` can read a file, by its first 40 bytes."""
    return head[:4] in (b".snd", b"dns.") or _chunk_format(head) is not None


@dataclass
class AudioSection:
    """Where one file's samples are, and the header fields that must be corrected for their actual length."""

    file: ByteRange  # the whole file, header included; a recording may consist of several files
    samples: ByteRange
    patches: list[tuple[int, bytes]]  # offsets and the correct bytes there
    format: bytes = b""  # the content of a WAVE file's "fmt " chunk, or another header's translation to one
    order: str = "<"  # byte order of the format and the samples, as struct writes it
    has_signed_bytes: bool = False  # samples of 8 bits are signed, unlike those of WAVE files

    @property
    def format_tag(self) -> int:
        """The WAVE format tag (1 is integer PCM, 3 floats); 0 for compressed samples in other formats."""
        if len(self.format) < 16:
            return 0
        tag = self._number("H", 0)
        return self._number("H", 24) if tag == EXTENSIBLE and len(self.format) >= 26 else tag

    def _number(self, code: str, at: int) -> int:
        return int(struct.unpack_from(self.order + code, self.format, at)[0])

    def corrected_file(self, content: RandomAccessBytes) -> SplicedFile:
        """Return the file with a correct header."""
        pieces: list[bytes | ByteRange] = []
        at, end = self.file
        for offset, correct in sorted(self.patches):
            pieces += [(at, offset), correct]
            at = offset + len(correct)
        return SplicedFile(content, [*pieces, (at, max(at, end))])

    def blocks(self, content: RandomAccessBytes, name: str) -> Iterator[Block]:
        """Yield the samples of a section whose format is PCM or FLOAT.

        Raises:
            DecodeError: The samples have an unknown size.
        """
        channels, rate, align = self._number("H", 2), self._number("I", 4), self._number("H", 12)
        check_format(name, rate, channels)
        width = -(-self._number("H", 14) // 8)
        if align % channels == 0 and align > width * channels:  # a larger container, such as 20 bits in four bytes
            width = align // channels
        types = {
            PCM: {1: "i1" if self.has_signed_bytes else "u1", 2: "i2", 3: "i4", 4: "i4"},
            FLOAT: {2: "f2", 4: "f4", 8: "f8"},
        }[self.format_tag]
        if width not in types:
            raise DecodeError(f"WAV samples of {width} bytes")
        begin, end = self.samples
        step = block_frames(rate, channels) * width * channels
        for at in range(begin, end, step):
            data = content.read(at, min(step, end - at))
            data = data[: len(data) // (width * channels) * width * channels]
            if width == 3:
                padded = np.zeros((len(data) // 3, 4), np.uint8)
                first = 1 if self.order == "<" else 0
                padded[:, first : first + 3] = np.frombuffer(data, np.uint8).reshape(-1, 3)
                data = padded.tobytes()
            if data:
                yield rate, np.frombuffer(data, self.order + types[width]).reshape(-1, channels)


def find_audio_sections(content: RandomAccessBytes, damage: DamageReport) -> Iterator[AudioSection]:
    """Yield the sections of a recording: one for most, several if files have been concatenated.

    A length left open is not damage: a program that writes to a pipe cannot know it.

    Raises:
        DecodeError: The first file has no samples, or is not of a format in this module.
    """
    start = 0
    while start < content.size:
        head = content.read(start, 40)
        chunk_format = _chunk_format(head)
        found = _find_au_samples(content, start, damage) if head[:4] in (b".snd", b"dns.") else None
        if chunk_format:
            found = _find_samples(content, start, chunk_format, damage)
        if not found and start == 0:
            raise DecodeError("its header describes no samples")
        if not found:
            return
        yield found
        start = found.file[1]


def _find_samples(
    content: RandomAccessBytes, start: int, chunk_format: _ChunkFormat, damage: DamageReport
) -> AudioSection | None:
    """Find the samples of the file that begins at offset `start`; None if it has none."""
    fmt, order, long_length = b"", chunk_format.length[0], 0  # long_length: offset of RF64's 64-bit length
    has_signed_bytes = chunk_format in (_AIFF, _CAF)
    for identifier, position, length in _chunks(content, start, start + chunk_format.start, chunk_format):
        payload = position + chunk_format.header_size
        if identifier == chunk_format.data:
            break
        if identifier == b"fmt ":
            fmt = content.read(payload, min(length, 40))
        elif chunk_format is _AIFF and identifier == b"COMM":
            is_aifc = content.read(start + 8, 4) == b"AIFC"
            fmt, order = pcm.from_aiff(content.read(payload, min(length, 22)), is_aifc) or (b"", order)
        elif chunk_format is _CAF and identifier == b"desc":
            fmt, order = pcm.from_caf(content.read(payload, min(length, 32))) or (b"", order)
        elif identifier == b"ds64":
            long_length = payload + 8
    else:
        return None
    begin = min(payload + chunk_format.data_offset, content.size)
    stated, wide = max(0, length - chunk_format.data_offset), chunk_format.length[1] == "Q"
    if long_length and length == 0xFFFFFFFF:
        stated, wide = int.from_bytes(content.read(long_length, 8), "little"), True
    end, next_file = _find_end(content, begin, stated, wide, start, chunk_format, damage)
    counted = end - begin + chunk_format.data_offset + (chunk_format.header_size if chunk_format.counts_header else 0)
    patches = [(position + chunk_format.id_size, _pack_length(chunk_format.length, counted))]
    if long_length:
        patches = [(long_length, struct.pack("<Q", end - begin))]
    if chunk_format.file_length:
        at, uncounted = chunk_format.file_length
        patches.append((start + at, _pack_length(chunk_format.length, next_file - start - uncounted)))
    return AudioSection((start, next_file), (begin, end), patches, fmt, order, has_signed_bytes)


def _chunks(
    content: RandomAccessBytes, start: int, at: int, chunk_format: _ChunkFormat
) -> Iterator[tuple[bytes, int, int]]:
    """Yield `(identifier, offset, length)` of the chunks from offset `at` on, in the file that begins at `start`."""
    for _ in range(MAX_CHUNKS):
        head = content.read(at, chunk_format.header_size)
        if len(head) < chunk_format.header_size:
            return
        (length,) = struct.unpack_from(chunk_format.length, head, chunk_format.id_size)
        length = max(0, length - chunk_format.header_size) if chunk_format.counts_header else length
        yield head[:4], at, length
        at = _align(at + chunk_format.header_size + length, start, chunk_format)


def _align(at: int, start: int, chunk_format: _ChunkFormat) -> int:
    return at + (start - at) % chunk_format.align


def _pack_length(code: str, length: int) -> bytes:
    return struct.pack(code, min(length, (1 << 8 * struct.calcsize(code)) - 1))


def _find_au_samples(content: RandomAccessBytes, start: int, damage: DamageReport) -> AudioSection | None:
    head = content.read(start, 24)
    order = ">" if head[:1] == b"." else "<"
    if len(head) < 24:
        return None
    offset, stated = struct.unpack_from(order + "II", head, 4)
    begin = start + offset
    if offset < 24 or begin > content.size:
        return None
    end, next_file = _find_end(content, begin, stated, False, start, None, damage)
    patches = [(start + 8, _pack_length(order + "I", end - begin))]
    fmt, order = pcm.from_au(head) or (b"", order)
    return AudioSection((start, next_file), (begin, end), patches, fmt, order, has_signed_bytes=True)


# ---- the samples' length --------------------------------------------------------------------------------------------


def _find_end(
    content: RandomAccessBytes,
    begin: int,
    stated: int,
    wide: bool,
    start: int,
    chunk_format: _ChunkFormat | None,
    damage: DamageReport,
) -> ByteRange:
    """Return where samples that begin at offset `begin` end, and where their file ends.

    `stated` is their length in bytes according to the header, `wide` whether it is a 64-bit field.
    """
    available = content.size - begin
    if stated > available:
        if not _is_placeholder(stated, wide):
            damage.add(f"cut off: its header states {stated} bytes of samples, but {available} are there")
        return content.size, content.size
    following, next_file = _what_follows(content, begin + stated, start, chunk_format)
    if following in ("chunks", "file") or (stated and not following):
        return begin + stated, next_file
    if stated:
        damage.add(f"its header states {stated} bytes of samples, but {available} are there, all of which are read")
    return content.size, content.size


def _is_placeholder(stated: int, wide: bool) -> bool:
    """Return whether a length is one that programs write when they do not know it.

    For 32 bits: values near 2^31 (SoX, eSpeak, MPlayer and arecord write 0x7f000000 to 0x80000000, some plus a header)
    and near the maximum (FFmpeg and GStreamer, the maximum or a header less). For 64 bits: the signed and the unsigned
    maximum.
    """
    if wide:
        return stated >= 1 << 62
    return 0x7F000000 <= stated <= 0x80001000 or stated >= 0xFFFF0000


def _what_follows(
    content: RandomAccessBytes, end: int, start: int, chunk_format: _ChunkFormat | None
) -> tuple[str, int]:
    """Return what follows the samples, which should end at offset `end`, and where their file ends.

    What follows is "" (nothing), "chunks", another "file", or "more" samples: the length of a recording over 4 GiB has
    wrapped around, and the header of a writer that was killed has not been updated.
    """
    at = _align(end, start, chunk_format) if chunk_format else end
    for position in (end, at):
        if is_chunked(content.read(position, 40)):
            return "file", position
    head = content.read(at, 8)
    if len(head) < 8:
        return "", content.size
    if head[:3] in (b"ID3", b"TAG") or all(32 <= byte < 127 for byte in head[:4]):
        return "chunks", _next_file(content, at, start, chunk_format) if chunk_format else content.size
    if content.size - at <= MAX_PADDING and not any(content.read(at, MAX_PADDING)):
        return "", content.size
    return "more", content.size


def _next_file(content: RandomAccessBytes, at: int, start: int, chunk_format: _ChunkFormat) -> int:
    """Return where the next file begins after the chunks from offset `at` on, or the end of the recording."""
    for _, position, _ in _chunks(content, start, at, chunk_format):
        if is_chunked(content.read(position, 40)):
            return position
    return content.size
