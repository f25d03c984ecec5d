"""FLAC (RFC 9639), including damaged, truncated and concatenated files.

libsndfile decodes the frames but stops at the first damaged one. This module finds the next intact frame by its sync
code and header checksum, and restarts libsndfile there.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from .blocks import Block, GapFiller
from .diagnostics import DamageReport
from .sndfile import SndfileDecoder
from .sources import DecodeError, RandomAccessBytes, SplicedFile

MIN_GOOD_FRAMES = 8  # intact frames in succession after damage, before the rest is decoded as one stream again
MAX_METADATA = 64 << 20  # bytes; one metadata block is at most 16 MiB (RFC 9639, section 8.1)
WINDOW = 1 << 20  # bytes searched for frames at a time
MAX_HEADER = 16  # bytes of a frame header

_SYNC = re.compile(rb"\xff[\xf8\xf9]|fLaC")


def _crc8_table() -> bytes:
    table = bytearray(256)
    for i in range(256):
        crc = i
        for _ in range(8):
            crc = (crc << 1) ^ (0x107 if crc & 0x80 else 0)
        table[i] = crc & 0xFF
    return bytes(table)


_CRC8 = _crc8_table()  # polynomial x^8 + x^2 + x + 1 (RFC 9639, section 9.1.8)


@dataclass(frozen=True)
class _StreamInfo:
    """The STREAMINFO metadata block (RFC 9639, section 8.2)."""

    info: bytes  # its content
    frames: int  # offset of the first frame
    block: int  # samples per channel in a frame, for streams with a fixed block size
    rate: int  # Hz
    channels: int
    total: int  # samples per channel; 0 if unknown

    def header(self, total: int = 0) -> bytes:
        """Return a stream header for some of the frames: of `total` samples, or of unknown length."""
        info = bytearray(self.info)
        info[13:18] = (int.from_bytes(info[13:18], "big") >> 36 << 36 | total).to_bytes(5, "big")
        info[18:34] = bytes(16)  # the MD5 checksum of all samples; zeros mean unknown
        return b"fLaC\x80\0\0\x22" + bytes(info)


def _parse_stream_info(content: RandomAccessBytes, start: int) -> _StreamInfo | None:
    """Parse the stream header at offset `start`; None if there is no valid one."""
    header = content.read(start, 42)
    if len(header) < 42 or header[:4] != b"fLaC" or header[4] & 0x7F or header[5:8] != b"\0\0\x22":
        return None
    info, at, last = header[8:], start + 4, False
    while not last and at - start < MAX_METADATA:
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
    return _StreamInfo(info, at, block_size, rate, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1)


def _parse_frame_header(header: bytes, stream: _StreamInfo) -> tuple[int, int] | None:
    """Parse a frame header (RFC 9639, section 9.1).

    Returns:
        The number of the frame's first sample and its number of samples, or None if it is not a header of this stream.
    """
    if len(header) < 6 or header[3] & 1:
        return None
    size_code, rate_code = header[2] >> 4, header[2] & 15
    if size_code == 0 or rate_code == 15 or (header[3] >> 4 < 8 and header[3] >> 4 != stream.channels - 1):
        return None
    n_ones = 8 - (header[4] ^ 0xFF).bit_length()  # the number is coded like UTF-8, in up to 7 bytes
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


def _sync_candidates(content: RandomAccessBytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield the offsets of sync codes and stream markers from offset `at` on, with the bytes there."""
    while window := content.read(at, WINDOW + MAX_HEADER):
        for found in _SYNC.finditer(window, 0, min(len(window), WINDOW + 3)):
            if found.start() < WINDOW:
                yield at + found.start(), window[found.start() : found.start() + MAX_HEADER]
        at += WINDOW


def _decode_frame(content: RandomAccessBytes, stream: _StreamInfo, at: int, size: int, name: str) -> Block | None:
    """Decode the frame of `size` samples at offset `at`; None if it is damaged."""
    longest = size * stream.channels * 5 + 64  # a sample takes at most 33 bits
    file = SplicedFile(content, [stream.header(size), (at, min(at + longest, content.size))])
    try:
        decoder = SndfileDecoder(file, name)
    except DecodeError:
        return None
    try:
        block = decoder.read(size)
        return None if decoder.error_message or len(block) < size else (decoder.rate, block)
    finally:
        decoder.close()


class _FlacDecoder:
    """Decodes one recording. `_position` is the number of samples output of the current stream."""

    def __init__(
        self, content: RandomAccessBytes, stream: _StreamInfo, name: str, damage: DamageReport, gap_filler: GapFiller
    ) -> None:
        self._content, self._name, self._damage, self._gap_filler = content, name, damage, gap_filler
        self._start_stream(stream)

    def _start_stream(self, stream: _StreamInfo) -> None:
        self._stream, self._at, self._position = stream, stream.frames, 0

    def blocks(self) -> Iterator[Block]:
        more = True
        while more:
            whole = yield from self._decode_stream()
            more = False if whole else (yield from self._decode_frames())
        self._check_length()

    def _decode_stream(self) -> Generator[Block, None, bool]:
        """Decode from the frame at `_at` on as one stream; return whether the end was reached.

        A block in which libsndfile reports an error is discarded.
        """
        decoder = SndfileDecoder(
            SplicedFile(self._content, [self._stream.header(), (self._at, self._content.size)]), self._name
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

    def _decode_frames(self) -> Generator[Block, None, bool]:
        """Decode intact frames one by one, until the damage is over or another stream begins.

        Returns whether there is more to decode.
        """
        damaged, n_good = False, 0
        for at, header in _sync_candidates(self._content, self._at):
            if header[:4] == b"fLaC":
                stream = _parse_stream_info(self._content, at)
                if not stream:
                    continue
                self._check_length()
                self._start_stream(stream)
                return True
            frame = _parse_frame_header(header, self._stream)
            if not frame or frame[0] + frame[1] <= self._position:
                continue
            number, size = frame
            if n_good >= MIN_GOOD_FRAMES and number == self._position:
                self._at = at
                return True
            decoded = _decode_frame(self._content, self._stream, at, size, self._name)
            if not decoded:
                damaged = True
                continue
            rate, block = decoded
            if number > self._position:
                damaged = True
                missing = (number - self._position) / rate
                self._damage.add(f"damaged at {self._position / rate:.2f} s, where {missing:.2f} s are missing")
                yield from self._gap_filler.silence(number - self._position, rate, block.shape[1])
            block = block[max(0, self._position - number) :]
            self._position = number + size
            n_good += damaged
            yield rate, block
        return False

    def _check_length(self) -> None:
        """Compare the number of samples output with the one in the stream header."""
        total, rate = self._stream.total, self._stream.rate
        if total and self._position != total:
            kind = "cut off: its" if self._position < total else "its"
            self._damage.add(f"{kind} header states {total / rate:.2f} s, but {self._position / rate:.2f} s are there")


def flac_blocks(
    content: RandomAccessBytes, start: int, name: str, damage: DamageReport, gap_filler: GapFiller
) -> Iterator[Block]:
    """Decode the FLAC stream at offset `start`, and those concatenated to it, with silence for damaged frames.

    Raises:
        DecodeError: There is no FLAC stream; before the first block.
    """
    stream = _parse_stream_info(content, start)
    if not stream:
        raise DecodeError("a damaged FLAC header")
    yield from _FlacDecoder(content, stream, name, damage, gap_filler).blocks()
