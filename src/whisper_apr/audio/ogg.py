"""Ogg (RFC 3533) with Vorbis, Opus (RFC 7845), FLAC or Speex, including damaged, truncated and chained files.

libsndfile reads only the first logical stream, and skips damaged pages without an error. Therefore this module reads
the pages, and passes libsndfile one gapless part of one logical stream at a time.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import AudioError
from .blocks import Block, GapFiller
from .diagnostics import DamageReport
from .flac import flac_blocks
from .sndfile import SndfileDecoder
from .sources import ByteRange, DecodeError, RandomAccessBytes, SplicedFile

WINDOW = 1 << 16  # bytes searched for a page at a time; the longest page is a little shorter
OPUS_RATE = 48_000  # Hz, of Opus' granule positions, whatever the input's rate (RFC 7845, section 4)

# by a stream's first bytes: the codec, and how many header packets precede its audio
_CODECS = {b"\x01vorbis": ("vorbis", 3), b"OpusHead": ("opus", 2), b"\x7fFLAC": ("flac", 0), b"Speex   ": ("speex", 2)}

_REVERSED_BITS = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


def page_checksum(page: bytes) -> int:
    """Return the CRC of a page whose checksum field is 0 (RFC 3533, section 6).

    It is zlib's polynomial with the bits of every byte in reverse order, and without the inversions.
    """
    crc = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED_BITS), "big")


@dataclass(frozen=True)
class _Page:
    """A page's header fields (RFC 3533, section 6) and its offsets in the recording."""

    begin: int
    payload: int  # offset of its content
    end: int
    serial: int  # of the logical stream
    flags: int  # 1: continues a packet, 2: first of its stream, 4: last
    position: int  # granule position at its end; -1 if no packet ends on it
    number: int
    n_packets: int  # that end on it
    repaired: bytes = b""  # a header with the correct checksum, if the stored one is wrong

    @property
    def pieces(self) -> list[bytes | ByteRange]:
        """The page's bytes, as `SplicedFile` takes them."""
        if self.repaired:
            return [self.repaired, (self.payload, self.end)]
        return [(self.begin, self.end)]


def _read_pages(content: RandomAccessBytes, start: int, damage: DamageReport) -> Iterator[_Page]:
    """Yield the pages from offset `start` on. If only the checksum of a page is wrong, its header is repaired."""
    at, lost = start, False
    while len(head := content.read(at, 27)) == 27:
        page = _parse_page(content, at, head) if head[:5] == b"OggS\0" else None
        if page:
            lost = False
            yield page
            at = page.end
            continue
        following = _find_page(content, at + 1)
        cut = head[:4] == b"OggS" and following == content.size  # truncation is reported when the stream ends
        if not lost and not cut and content.read(at, min(following - at, WINDOW)).strip(b"\0"):
            damage.add(f"damaged at byte {at}")
        at, lost = following, True


def _parse_page(content: RandomAccessBytes, at: int, head: bytes) -> _Page | None:
    """Parse the page at offset `at`, whose fixed header is `head`; None if it is incomplete."""
    flags, position, serial, number, checksum, n_segments = struct.unpack_from("<xBqIIIB", head, 4)
    segments = content.read(at + 27, n_segments)
    payload = at + 27 + n_segments
    end = payload + sum(segments)
    if len(segments) < n_segments or end > content.size:
        return None
    blank = head[:22] + bytes(4) + head[26:] + segments
    right = page_checksum(blank + content.read(payload, end - payload))
    repaired = b""
    if right != checksum:
        if end < content.size and content.read(end, 4) != b"OggS":
            return None
        repaired = blank[:22] + struct.pack("<I", right) + blank[26:]
    n_packets = sum(length < 255 for length in segments)
    return _Page(at, payload, end, serial, flags, position, number, n_packets, repaired)


def _find_page(content: RandomAccessBytes, at: int) -> int:
    """Return where the next page may begin from offset `at` on, or the end of the recording."""
    while window := content.read(at, WINDOW):
        found = window.find(b"OggS")
        if found >= 0:
            return at + found
        at += max(1, len(window) - 3)
        if len(window) < WINDOW:
            break
    return content.size


@dataclass
class _LogicalStream:
    """The pages of one logical stream (RFC 3533, section 4), in parts without gaps."""

    codec: str
    n_header_packets: int  # that are still to come
    header_pages: list[_Page] = field(default_factory=list)
    parts: list[list[_Page]] = field(default_factory=list)
    ended: bool = False
    _number: int = -1

    def add(self, page: _Page) -> None:
        if self.n_header_packets > 0 or not self.header_pages:
            self.header_pages.append(page)
            self.n_header_packets -= page.n_packets
        else:
            # Decoders drop damaged packets without keeping time, so a new part begins after each damaged page.
            if not self.parts or page.number != self._number + 1 or self.parts[-1][-1].repaired:
                self.parts.append([])
            self.parts[-1].append(page)
        self._number, self.ended = page.number, bool(page.flags & 4)


def _chained_streams(content: RandomAccessBytes, start: int, damage: DamageReport) -> Iterator[list[_LogicalStream]]:
    """Yield the audio streams of each group of multiplexed streams; a chained file has several groups."""
    streams: dict[int, _LogicalStream] = {}
    heads = True
    for page in _read_pages(content, start, damage):
        if page.flags & 2:
            if not heads:
                yield list(streams.values())
                streams = {}
            heads = True
            begin = content.read(page.payload, 8)
            for magic, (codec, n_header_packets) in _CODECS.items():
                if begin.startswith(magic):
                    streams[page.serial] = _LogicalStream(codec, n_header_packets)
        else:
            heads = False
        if page.serial in streams:
            streams[page.serial].add(page)
    yield list(streams.values())


def ogg_blocks(
    content: RandomAccessBytes, start: int, track: int | None, name: str, damage: DamageReport, gap_filler: GapFiller
) -> Iterator[Block]:
    """Decode the Ogg file at offset `start`, and those chained to it.

    Args:
        content: The recording.
        start: Offset of the first page.
        track: The number of the audio stream among multiplexed ones, from 0; None for the first.
        name: Name of the recording in error messages.
        damage: Where damage is recorded.
        gap_filler: Limits the silence in place of missing audio.

    Raises:
        AudioError: There is no such track.
        DecodeError: libsndfile cannot decode the first stream; before the first block.
    """
    n_out = 0
    for streams in _chained_streams(content, start, damage):
        if not streams:
            problem = "an Ogg file without Vorbis, Opus, FLAC or Speex"
        elif track is not None and not 0 <= track < len(streams):
            raise AudioError(f"{name}: no audio track {track}; there are {len(streams)}, counted from 0")
        else:
            problem = ""
            try:
                for block in _stream_blocks(content, streams[track or 0], name, damage, gap_filler):
                    n_out += 1
                    yield block
            except DecodeError as error:
                problem = str(error)
        if problem and not n_out:
            raise DecodeError(problem)
        if problem:
            damage.add(f"a part cannot be read ({problem})")


def _stream_blocks(
    content: RandomAccessBytes, stream: _LogicalStream, name: str, damage: DamageReport, gap_filler: GapFiller
) -> Iterator[Block]:
    n_out, rate = 0, 1
    for rate, block in (_flac_stream_blocks if stream.codec == "flac" else _packet_stream_blocks)(
        content, stream, name, damage, gap_filler
    ):
        n_out += len(block)
        yield rate, block
    if not stream.ended and not (stream.codec == "flac" and damage.summary()):  # FLAC's header states the length
        damage.add(f"cut off: its stream has no end; {n_out / rate:.2f} s are there")


def _flac_stream_blocks(
    content: RandomAccessBytes, stream: _LogicalStream, name: str, damage: DamageReport, gap_filler: GapFiller
) -> Iterator[Block]:
    """Decode FLAC: the pages' contents, joined, are a FLAC stream after 9 bytes of Ogg mapping header."""
    pages = [page for part in [stream.header_pages, *stream.parts] for page in part]
    if len(stream.parts) > 1:
        damage.add("damaged: some of its pages are missing")
    unpacked = RandomAccessBytes(SplicedFile(content, [(page.payload, page.end) for page in pages]), name)
    yield from flac_blocks(unpacked, 9, name, damage, gap_filler)


def _packet_stream_blocks(
    content: RandomAccessBytes, stream: _LogicalStream, name: str, damage: DamageReport, gap_filler: GapFiller
) -> Iterator[Block]:
    """Decode Vorbis, Opus or Speex: each part, preceded by the header pages that all parts share."""
    if not stream.parts:
        raise DecodeError("no audio in its Ogg stream")
    head = [piece for page in stream.header_pages for piece in page.pieces]
    position = 0  # samples output so far
    first = None  # granule position of the first sample, in samples
    for part in stream.parts:
        try:
            decoder = SndfileDecoder(
                SplicedFile(content, [*head, *(piece for page in part for piece in page.pieces)]), name
            )
        except DecodeError:
            if len(stream.parts) == 1:
                raise
            continue  # too short a part between two gaps
        rate, channels = decoder.rate, decoder.channels
        unit = OPUS_RATE if stream.codec == "opus" else rate
        try:
            n_left = decoder.frames if decoder.frames < 1 << 48 else 0  # an unknown length is given as the maximum
            begin = max(page.position for page in part) * rate // unit - n_left
            first = begin if first is None else first
            yield from _fill_missing(begin - first - position, position, rate, channels, damage, gap_filler)
            position = max(position, begin - first)
            for page in part:
                if page.repaired:
                    at = max(0, page.position * rate // unit - first)
                    damage.add(f"damaged before {at / rate:.2f} s" if page.position >= 0 else "damaged")
            while len(block := decoder.read()):
                position += len(block)
                n_left -= len(block)
                yield rate, block
            yield from _fill_missing(n_left, position, rate, channels, damage, gap_filler)
            position += max(0, n_left)
        finally:
            decoder.close()


def _fill_missing(
    n: int, position: int, rate: int, channels: int, damage: DamageReport, gap_filler: GapFiller
) -> Iterator[Block]:
    if n > 0:
        damage.add(f"damaged at {position / rate:.2f} s, where {n / rate:.2f} s are missing")
        yield from gap_filler.silence(n, rate, channels)
