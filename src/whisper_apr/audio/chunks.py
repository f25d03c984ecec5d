"""Recordings made of chunks (WAV and its kin, AIFF, CAF) and AU: where their samples are, and how many there are.

A writer that cannot go back to the head leaves a length of 0, or one of the largest that fit, there; other heads promise
more than came, or less. How much there is, the file itself says.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .blocks import Block, block_frames, check_head
from .diagnostics import DamageReport
from .sources import ByteRange, DecodeError, RandomAccessBytes, SplicedFile

MAX_CHUNKS = 10_000  # of one file: each is visited
ZEROS = 1 << 20  # bytes of zeros behind the samples that are no sound


@dataclass(frozen=True)
class _Layout:
    """How a family of formats lays out its chunks."""

    start: int  # of the first chunk
    length: str  # of a chunk, as struct writes it
    n_id: int = 4  # bytes of a chunk's name
    align: int = 2  # what a chunk's length is rounded up to
    own_head: bool = False  # the length counts the chunk's own head
    data: bytes = b"data"  # the chunk that has the samples
    before: int = 0  # bytes of it that come before the samples
    file_length: tuple[int, int] | None = None  # where the file's length is, and what it leaves out

    @property
    def n_head(self) -> int:
        return self.n_id + struct.calcsize(self.length)


_RIFF = _Layout(12, "<I", file_length=(4, 8))
_RIFX = _Layout(12, ">I", file_length=(4, 8))
_AIFF = _Layout(12, ">I", data=b"SSND", before=8, file_length=(4, 8))
_CAF = _Layout(8, ">Q", align=1, before=4)
_W64 = _Layout(40, "<Q", n_id=16, align=8, own_head=True, file_length=(16, 0))


def _layout(head: bytes) -> _Layout | None:
    """Return the layout of a file that begins with these bytes."""
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
    """Tell whether a file that begins with these 40 bytes is one for `sounds`."""
    return head[:4] in (b".snd", b"dns.") or _layout(head) is not None


@dataclass
class Sound:
    """Samples in a file, and what the file should have said of their length."""

    file: ByteRange  # the whole file, with its head; several may be joined in one recording
    samples: ByteRange
    patches: list[tuple[int, bytes]]  # offsets and what is right there
    format: bytes = b""  # the chunk "fmt " of WAV and its kin
    order: str = "<"  # of its bytes

    @property
    def kind(self) -> int:
        """The number of the samples' coding, of WAV and its kin; 1 is integers, 3 floats. Otherwise 0."""
        if len(self.format) < 16:
            return 0
        kind = self._number("H", 0)
        return self._number("H", 24) if kind == 0xFFFE and len(self.format) >= 26 else kind

    def _number(self, code: str, at: int) -> int:
        return int(struct.unpack_from(self.order + code, self.format, at)[0])

    def pieces(self, content: RandomAccessBytes) -> SplicedFile:
        """The file as its writer should have left it."""
        pieces: list[bytes | ByteRange] = []
        at, end = self.file
        for offset, right in sorted(self.patches):
            pieces += [(at, offset), right]
            at = offset + len(right)
        return SplicedFile(content, [*pieces, (at, max(at, end))])

    def blocks(self, content: RandomAccessBytes, name: str) -> Iterator[Block]:
        """Yield samples of kind 1 and 3. Raises DecodeError where they have an unknown width."""
        channels, rate, align = self._number("H", 2), self._number("I", 4), self._number("H", 12)
        check_head(name, rate, channels)
        width = -(-self._number("H", 14) // 8)
        if align % channels == 0 and align > width * channels:  # 20 bits, say, in four bytes
            width = align // channels
        types = {1: {1: "u1", 2: "i2", 3: "i4", 4: "i4"}, 3: {2: "f2", 4: "f4", 8: "f8"}}[self.kind]
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


def sounds(content: RandomAccessBytes, faults: DamageReport) -> Iterator[Sound]:
    """Yield where samples are: in most recordings once, more often where files have been joined.

    Lengths that are open are no fault: a program that writes into a pipe cannot know better.
    Raises DecodeError where the first file has no samples in it, or is none of these kinds.
    """
    start = 0
    while start < content.size:
        head = content.read(start, 40)
        layout = _layout(head)
        found = _au(content, start, faults) if head[:4] in (b".snd", b"dns.") else None
        if layout:
            found = _walk(content, start, layout, faults)
        if not found and start == 0:
            raise DecodeError("its head tells of no samples")
        if not found:
            return
        yield found
        start = found.file[1]


def _walk(content: RandomAccessBytes, start: int, layout: _Layout, faults: DamageReport) -> Sound | None:
    """Find the samples of the file that begins at an offset."""
    fmt, long = b"", 0  # of RF64: where the samples' length is
    for kind, position, length in _chunks(content, start, start + layout.start, layout):
        payload = position + layout.n_head
        if kind == layout.data:
            break
        if kind == b"fmt ":
            fmt = content.read(payload, min(length, 40))
        elif kind == b"ds64":
            long = payload + 8
    else:
        return None
    begin = min(payload + layout.before, content.size)
    promised, wide = max(0, length - layout.before), layout.length[1] == "Q"
    if long and length == 0xFFFFFFFF:
        promised, wide = int.from_bytes(content.read(long, 8), "little"), True
    end, next_file = _end(content, begin, promised, wide, start, layout, faults)
    counted = end - begin + layout.before + (layout.n_head if layout.own_head else 0)
    patches = [(position + layout.n_id, _packed(layout.length, counted))]
    if long:
        patches = [(long, struct.pack("<Q", end - begin))]
    if layout.file_length:
        at, less = layout.file_length
        patches.append((start + at, _packed(layout.length, next_file - start - less)))
    return Sound((start, next_file), (begin, end), patches, fmt, layout.length[0])


def _chunks(content: RandomAccessBytes, start: int, at: int, layout: _Layout) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, offset and length of the chunks from an offset on, of the file that begins at `start`."""
    for _ in range(MAX_CHUNKS):
        head = content.read(at, layout.n_head)
        if len(head) < layout.n_head:
            return
        (length,) = struct.unpack_from(layout.length, head, layout.n_id)
        length = max(0, length - layout.n_head) if layout.own_head else length
        yield head[:4], at, length
        at = _aligned(at + layout.n_head + length, start, layout)


def _aligned(at: int, start: int, layout: _Layout) -> int:
    return at + (start - at) % layout.align


def _packed(code: str, length: int) -> bytes:
    return struct.pack(code, min(length, (1 << 8 * struct.calcsize(code)) - 1))


def _au(content: RandomAccessBytes, start: int, faults: DamageReport) -> Sound | None:
    head = content.read(start, 24)
    order = ">" if head[:1] == b"." else "<"
    if len(head) < 24:
        return None
    offset, promised = struct.unpack_from(order + "II", head, 4)
    begin = start + offset
    if offset < 24 or begin > content.size:
        return None
    end, next_file = _end(content, begin, promised, False, start, None, faults)
    return Sound((start, next_file), (begin, end), [(start + 8, _packed(order + "I", end - begin))])


# ---- how long samples are -------------------------------------------------------------------------------------------


def _end(
    content: RandomAccessBytes,
    begin: int,
    promised: int,
    wide: bool,
    start: int,
    layout: _Layout | None,
    faults: DamageReport,
) -> ByteRange:
    """Return where the samples end that begin at an offset, and where their file does."""
    available = content.size - begin
    if promised > available:
        if not _is_open(promised, wide):
            faults.add(f"cut off: its head promises {promised} bytes of samples, {available} are there")
        return content.size, content.size
    following, next_file = _following(content, begin + promised, start, layout)
    if following in ("chunks", "file") or (promised and not following):
        return begin + promised, next_file
    if promised:
        faults.add(f"its head promises {promised} bytes of samples, {available} are there, all of which are read")
    return content.size, content.size


def _is_open(promised: int, wide: bool) -> bool:
    """Tell whether a length is one that programs write where they cannot know it.

    Of 32 bits those about 2^31 (SoX, eSpeak, MPlayer, arecord: 0x7f000000 to 0x80000000 and a head) and the largest
    (FFmpeg, GStreamer; less a head, too), of 64 bits the largest with and without a sign.
    """
    if wide:
        return promised >= 1 << 62
    return 0x7F000000 <= promised <= 0x80001000 or promised >= 0xFFFF0000


def _following(content: RandomAccessBytes, end: int, start: int, layout: _Layout | None) -> tuple[str, int]:
    """Return what follows samples that should end at an offset, and where their file ends.

    That is "" (nothing), "chunks", another "file", or "more" samples: a recording of more than 4 GiB has a length that is
    too small by a multiple of that; one whose writer was killed has the length from when the head was last written.
    """
    at = _aligned(end, start, layout) if layout else end
    for position in (end, at):
        if is_chunked(content.read(position, 40)):
            return "file", position
    head = content.read(at, 8)
    if len(head) < 8:
        return "", content.size
    if head[:3] in (b"ID3", b"TAG") or all(32 <= byte < 127 for byte in head[:4]):
        return "chunks", _next_file(content, at, start, layout) if layout else content.size
    if content.size - at <= ZEROS and not any(content.read(at, ZEROS)):
        return "", content.size
    return "more", content.size


def _next_file(content: RandomAccessBytes, at: int, start: int, layout: _Layout) -> int:
    """Return where the next file begins, after chunks from an offset on, or the recording's end."""
    for _, position, _ in _chunks(content, start, at, layout):
        if is_chunked(content.read(position, 40)):
            return position
    return content.size
