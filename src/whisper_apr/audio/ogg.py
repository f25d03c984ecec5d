"""Ogg, also damaged, cut off, or joined: libsndfile reads the first stream's pages only, and passes over bad ones in silence."""

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

WINDOW = 1 << 16  # bytes in which a page is looked for at a time; the longest page is a little shorter
OPUS_RATE = 48_000  # of Opus' positions, whatever the sound's rate

# the first bytes of a stream, and how many packets come before its sound
_CODECS = {b"\x01vorbis": ("vorbis", 3), b"OpusHead": ("opus", 2), b"\x7fFLAC": ("flac", 0), b"Speex   ": ("speex", 2)}

_REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


def page_checksum(page: bytes) -> int:
    """The CRC of a page whose checksum is set to 0 (RFC 3533, section 6): zlib's, with the bits of all bytes in reverse."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED), "big")


@dataclass(frozen=True)
class _Page:
    begin: int
    payload: int  # where it begins
    end: int
    serial: int
    flags: int  # 1: goes on with a packet, 2: first of its stream, 4: last
    position: int  # of the sound at its end; -1 where no packet ends on it
    number: int
    n_packets: int  # that end on it
    repaired: bytes = b""  # its head, where that had to be changed

    @property
    def pieces(self) -> list[bytes | ByteRange]:
        if self.repaired:
            return [self.repaired, (self.payload, self.end)]
        return [(self.begin, self.end)]


def _pages(content: RandomAccessBytes, start: int, faults: DamageReport) -> Iterator[_Page]:
    """Yield the pages from an offset on. One whose checksum is wrong is repaired where its borders are right."""
    at, lost = start, False
    while len(head := content.read(at, 27)) == 27:
        page = _page(content, at, head) if head[:5] == b"OggS\0" else None
        if page:
            lost = False
            yield page
            at = page.end
            continue
        following = _next_page(content, at + 1)
        cut = head[:4] == b"OggS" and following == content.size  # the last page: what is missing is told as an end
        if not lost and not cut and content.read(at, min(following - at, WINDOW)).strip(b"\0"):
            faults.add(f"damaged at byte {at}")
        at, lost = following, True


def _page(content: RandomAccessBytes, at: int, head: bytes) -> _Page | None:
    """Read the page at an offset. None where it is not whole."""
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


def _next_page(content: RandomAccessBytes, at: int) -> int:
    """Return where the next page may begin, or the recording's end."""
    while window := content.read(at, WINDOW):
        found = window.find(b"OggS")
        if found >= 0:
            return at + found
        at += max(1, len(window) - 3)
        if len(window) < WINDOW:
            break
    return content.size


@dataclass
class _Stream:
    """A stream's pages, in parts that have no gap in them."""

    codec: str
    n_head: int  # packets before the sound
    head: list[_Page] = field(default_factory=list)
    parts: list[list[_Page]] = field(default_factory=list)
    ended: bool = False
    _number: int = -1

    def add(self, page: _Page) -> None:
        if self.n_head > 0 or not self.head:
            self.head.append(page)
            self.n_head -= page.n_packets
        else:
            # decoders drop damaged packets, and are late from there on: what follows begins anew, at its own time
            if not self.parts or page.number != self._number + 1 or self.parts[-1][-1].repaired:
                self.parts.append([])
            self.parts[-1].append(page)
        self._number, self.ended = page.number, bool(page.flags & 4)


def _links(content: RandomAccessBytes, start: int, faults: DamageReport) -> Iterator[list[_Stream]]:
    """Yield the audio streams that run side by side, again and again where recordings have been joined."""
    streams: dict[int, _Stream] = {}
    heads = True
    for page in _pages(content, start, faults):
        if page.flags & 2:
            if not heads:
                yield list(streams.values())
                streams = {}
            heads = True
            begin = content.read(page.payload, 8)
            for magic, (codec, n_head) in _CODECS.items():
                if begin.startswith(magic):
                    streams[page.serial] = _Stream(codec, n_head)
        else:
            heads = False
        if page.serial in streams:
            streams[page.serial].add(page)
    yield list(streams.values())


def ogg_blocks(
    content: RandomAccessBytes, start: int, track: int | None, name: str, faults: DamageReport, gaps: GapFiller
) -> Iterator[Block]:
    """Yield the sound of the Ogg that begins at an offset, and of those that follow it.

    `track` counts the audio streams that run side by side. Raises DecodeError, before the first block, where libsndfile cannot
    decode what is in there, AudioError where there are fewer streams.
    """
    n_out = 0
    for streams in _links(content, start, faults):
        if not streams:
            problem = "an Ogg without Vorbis, Opus or FLAC in it"
        elif track is not None and not 0 <= track < len(streams):
            raise AudioError(f"{name}: no audio track {track}; there are {len(streams)}, counted from 0")
        else:
            problem = ""
            try:
                for block in _stream_blocks(content, streams[track or 0], name, faults, gaps):
                    n_out += 1
                    yield block
            except DecodeError as error:
                problem = str(error)
        if problem and not n_out:
            raise DecodeError(problem)
        if problem:
            faults.add(f"a part that cannot be read ({problem})")


def _stream_blocks(
    content: RandomAccessBytes, stream: _Stream, name: str, faults: DamageReport, gaps: GapFiller
) -> Iterator[Block]:
    n_out, rate = 0, 1
    for rate, block in (_flac if stream.codec == "flac" else _parts)(content, stream, name, faults, gaps):
        n_out += len(block)
        yield rate, block
    if not stream.ended and not (stream.codec == "flac" and faults.summary()):  # whose head tells the length
        faults.add(f"cut off: its stream has no end; {n_out / rate:.2f} s are there")


def _flac(
    content: RandomAccessBytes, stream: _Stream, name: str, faults: DamageReport, gaps: GapFiller
) -> Iterator[Block]:
    """Yield the sound of a FLAC, which the pages' payloads are, joined, after a magic number, a version and a count."""
    pages = [page for part in [stream.head, *stream.parts] for page in part]
    if len(stream.parts) > 1:
        faults.add("damaged: some of its pages are missing")
    unpacked = RandomAccessBytes(SplicedFile(content, [(page.payload, page.end) for page in pages]), name)
    yield from flac_blocks(unpacked, 9, name, faults, gaps)


def _parts(
    content: RandomAccessBytes, stream: _Stream, name: str, faults: DamageReport, gaps: GapFiller
) -> Iterator[Block]:
    """Yield the sound of a Vorbis or Opus stream: of each part, after the head that all share."""
    if not stream.parts:
        raise DecodeError("no sound in its Ogg stream")
    head = [piece for page in stream.head for piece in page.pieces]
    position = 0  # samples that have been read
    first = None  # the first sample's position, as pages count
    for part in stream.parts:
        try:
            decoder = SndfileDecoder(
                SplicedFile(content, [*head, *(piece for page in part for piece in page.pieces)]), name
            )
        except DecodeError:
            if len(stream.parts) == 1:
                raise
            continue  # too little between two gaps
        rate, channels = decoder.rate, decoder.channels
        unit = OPUS_RATE if stream.codec == "opus" else rate
        try:
            n_left = decoder.frames if decoder.frames < 1 << 48 else 0  # a number that is not known is the largest
            begin = max(page.position for page in part) * rate // unit - n_left
            first = begin if first is None else first
            yield from _missing(begin - first - position, position, rate, channels, faults, gaps)
            position = max(position, begin - first)
            for page in part:
                if page.repaired:
                    at = max(0, page.position * rate // unit - first)
                    faults.add(f"damaged before {at / rate:.2f} s" if page.position >= 0 else "damaged")
            while len(block := decoder.read()):
                position += len(block)
                n_left -= len(block)
                yield rate, block
            yield from _missing(n_left, position, rate, channels, faults, gaps)
            position += max(0, n_left)
        finally:
            decoder.close()


def _missing(n: int, position: int, rate: int, channels: int, faults: DamageReport, gaps: GapFiller) -> Iterator[Block]:
    if n > 0:
        faults.add(f"damaged at {position / rate:.2f} s, {n / rate:.2f} s are missing")
        yield from gaps.silence(n, rate, channels)
