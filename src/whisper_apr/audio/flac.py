"""FLAC, also damaged, cut off, or joined: libsndfile stops at the first damaged frame, and is set on again behind it."""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from .blocks import Block, GapFiller
from .diagnostics import DamageReport
from .sndfile import SndfileDecoder
from .sources import DecodeError, RandomAccessBytes, SplicedFile

SURE = 8  # undamaged frames in succession, after which the rest is decoded at once again
MAX_HEAD = 64 << 20  # bytes of metadata; a picture is at most 16 MiB
WINDOW = 1 << 20  # bytes in which frames are looked for at a time
LONGEST_HEADER = 16  # bytes of a frame's header

_MARKS = re.compile(rb"\xff[\xf8\xf9]|fLaC")


def _crc8_table() -> bytes:
    table = bytearray(256)
    for i in range(256):
        crc = i
        for _ in range(8):
            crc = (crc << 1) ^ (0x107 if crc & 0x80 else 0)
        table[i] = crc & 0xFF
    return bytes(table)


_CRC8 = _crc8_table()  # x^8 + x^2 + x + 1, as RFC 9639, section 9.1.8, has it


@dataclass(frozen=True)
class _Stream:
    """What a FLAC's head says."""

    info: bytes  # the content of STREAMINFO
    frames: int  # where the first frame begins
    block: int  # samples in each frame, where all have the same
    rate: int
    channels: int
    total: int  # samples; 0 is unknown

    def head(self, total: int = 0) -> bytes:
        """A head for some of its frames: of unknown length, or of `total` samples."""
        info = bytearray(self.info)
        info[13:18] = (int.from_bytes(info[13:18], "big") >> 36 << 36 | total).to_bytes(5, "big")
        info[18:34] = bytes(16)  # the checksum of the whole
        return b"fLaC\x80\0\0\x22" + bytes(info)


def _stream(content: RandomAccessBytes, start: int) -> _Stream | None:
    """Read the head of a FLAC that begins at an offset."""
    head = content.read(start, 42)
    if len(head) < 42 or head[:4] != b"fLaC" or head[4] & 0x7F or head[5:8] != b"\0\0\x22":
        return None
    info, at, last = head[8:], start + 4, False
    while not last and at - start < MAX_HEAD:
        block = content.read(at, 4)
        if len(block) < 4:
            return None
        last = block[0] >= 0x80
        at += 4 + int.from_bytes(block[1:], "big")
    packed = int.from_bytes(info[10:18], "big")  # rate 20 bits, channels 3, bits per sample 5, samples 36
    block_size = int.from_bytes(info[:2], "big")
    rate = packed >> 44
    if block_size < 16 or not rate:
        return None
    return _Stream(info, at, block_size, rate, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1)


def _frame(header: bytes, stream: _Stream) -> tuple[int, int] | None:
    """Read a frame's header: the number of its first sample, and how many it has. None where it is no header of this stream."""
    if len(header) < 6 or header[3] & 1:
        return None
    size_code, rate_code = header[2] >> 4, header[2] & 15
    if size_code == 0 or rate_code == 15 or (header[3] >> 4 < 8 and header[3] >> 4 != stream.channels - 1):
        return None
    n_ones = 8 - (header[4] ^ 0xFF).bit_length()  # the number is written as UTF-8 would, in up to 7 bytes
    n_number = n_ones or 1
    if n_ones in (1, 8) or len(header) < 4 + n_number + 1:
        return None
    number = header[4] & (0x7F >> n_ones)
    for byte in header[5 : 4 + n_number]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    at = 4 + n_number
    n_size = {6: 1, 7: 2}.get(size_code, 0)
    n_rate = {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    end = at + n_size + n_rate
    if len(header) <= end:
        return None
    if n_size:
        size = int.from_bytes(header[at : at + n_size], "big") + 1
    else:
        size = 192 if size_code == 1 else 576 << size_code - 2 if size_code < 6 else 256 << size_code - 8
    crc = 0
    for byte in header[:end]:
        crc = _CRC8[crc ^ byte]
    if crc != header[end]:
        return None
    return (number if header[1] & 1 else number * stream.block), size


def _marks(content: RandomAccessBytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield where a frame or another FLAC may begin, with the bytes there."""
    while window := content.read(at, WINDOW + LONGEST_HEADER):
        for found in _MARKS.finditer(window, 0, min(len(window), WINDOW + 3)):
            if found.start() < WINDOW:
                yield at + found.start(), window[found.start() : found.start() + LONGEST_HEADER]
        at += WINDOW


def _decoded(content: RandomAccessBytes, stream: _Stream, at: int, size: int, name: str) -> Block | None:
    """Decode the frame at an offset. None where it is damaged."""
    longest = size * stream.channels * 5 + 64  # 33 bits a sample at most
    pieces = SplicedFile(content, [stream.head(size), (at, min(at + longest, content.size))])
    try:
        decoder = SndfileDecoder(pieces, name)
    except DecodeError:
        return None
    try:
        block = decoder.read(size)
        return None if decoder.error_message or len(block) < size else (decoder.rate, block)
    finally:
        decoder.close()


class _Reader:
    """Reads one recording; `_position` counts the samples of the stream at hand."""

    def __init__(
        self, content: RandomAccessBytes, stream: _Stream, name: str, faults: DamageReport, gaps: GapFiller
    ) -> None:
        self._content, self._name, self._faults, self._gaps = content, name, faults, gaps
        self._begin(stream)

    def _begin(self, stream: _Stream) -> None:
        self._stream, self._at, self._position = stream, stream.frames, 0

    def blocks(self) -> Iterator[Block]:
        more = True
        while more:
            whole = yield from self._all_at_once()
            more = False if whole else (yield from self._frame_by_frame())
        self._end()

    def _all_at_once(self) -> Generator[Block, None, bool]:
        """Decode from the frame at `_at` on; return whether that went to the end. Of a block with a fault nothing is used."""
        decoder = SndfileDecoder(
            SplicedFile(self._content, [self._stream.head(), (self._at, self._content.size)]), self._name
        )
        try:
            while True:
                block = decoder.read()
                if decoder.error_message:
                    return False
                if not len(block):
                    return True
                self._position += len(block)
                yield decoder.rate, block
        finally:
            decoder.close()

    def _frame_by_frame(self) -> Generator[Block, None, bool]:
        """Decode what can be decoded, until the damage is passed or another FLAC begins; return whether there is more."""
        damaged, n_good = False, 0
        for at, header in _marks(self._content, self._at):
            if header[:4] == b"fLaC":
                stream = _stream(self._content, at)
                if not stream:
                    continue
                self._end()
                self._begin(stream)
                return True
            frame = _frame(header, self._stream)
            if not frame or frame[0] + frame[1] <= self._position:
                continue
            number, size = frame
            if n_good >= SURE and number == self._position:
                self._at = at
                return True
            decoded = _decoded(self._content, self._stream, at, size, self._name)
            if not decoded:
                damaged = True
                continue
            rate, block = decoded
            if number > self._position:
                damaged = True
                self._faults.add(
                    f"damaged at {self._position / rate:.2f} s, {(number - self._position) / rate:.2f} s are missing"
                )
                yield from self._gaps.silence(number - self._position, rate, block.shape[1])
            block = block[max(0, self._position - number) :]
            self._position = number + size
            n_good += damaged
            yield rate, block
        return False

    def _end(self) -> None:
        """Compare what was read with what the stream's head says."""
        total, rate = self._stream.total, self._stream.rate
        if total and self._position != total:
            kind = "cut off: its" if self._position < total else "its"
            self._faults.add(f"{kind} head promises {total / rate:.2f} s, {self._position / rate:.2f} s are there")


def flac_blocks(
    content: RandomAccessBytes, start: int, name: str, faults: DamageReport, gaps: GapFiller
) -> Iterator[Block]:
    """Yield the sound of the FLAC that begins at an offset, and of those that follow it.

    Frames that are damaged become silence. Raises DecodeError, before the first block, where there is no FLAC.
    """
    stream = _stream(content, start)
    if not stream:
        raise DecodeError("a damaged FLAC head")
    yield from _Reader(content, stream, name, faults, gaps).blocks()
