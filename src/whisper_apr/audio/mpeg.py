"""MP3 and MPEG audio of layers I and II: of any length, joined, damaged, cut off.

libmpg123, which decodes for libsndfile, estimates the length where no Xing header gives it, and ends at the estimate; it stops
where a second file has been joined; and it takes what is no frame for one. So frames are found here, and it is given runs of
frames that follow each other, and nothing else.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from .blocks import Block, GapFiller, block_frames
from .diagnostics import DamageReport
from .sndfile import SndfileDecoder
from .sources import DecodeError, RandomAccessBytes, SplicedFile

WINDOW = 1 << 20  # bytes in which headers are read at a time
SURE = 3  # frames that must follow each other at the beginning of a run
LONGEST_FRAME = 2881  # bytes: layer II, 160 kbit/s at 8 kHz, as MPEG 2.5 allows
FAR = 1 << 17  # bytes before the first frame, beside tags
GAP_SECONDS = 10  # of silence in place of bytes that are no frames
NEAR = 16  # frames before a gap whose sizes are taken for those in it
DECODER_DELAY = 529  # samples that a decoder is late, as LAME's tag counts on

_KBIT = {  # by version (1, or 2 for 2 and 2.5) and layer; the index is 1 to 14
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)
_HALVED = {3: 1, 2: 2, 0: 4}  # by the version's two bits


def _parameters(second: int, third: int) -> tuple[int, int, int] | None:
    """Return bytes, samples and sampling rate of a frame, by the second and third byte of its header."""
    version, layer, kbit, rate = second >> 3 & 3, 4 - (second >> 1 & 3), third >> 4, third >> 2 & 3
    if second < 0xE0 or version == 1 or layer == 4 or kbit in (0, 15) or rate == 3:
        return None
    hertz = _RATES[rate] // _HALVED[version]
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    bits = _KBIT[1 if version == 3 else 2, layer][kbit - 1] * 1000
    slot = 4 if layer == 1 else 1
    return (samples // 8 * bits // hertz // slot + (third >> 1 & 1)) * slot, samples, hertz


@cache
def _sizes() -> list[int]:
    """Bytes of a frame by the second and third byte of its header; 0 is no frame."""
    return [(_parameters(i >> 8, i & 255) or (0,))[0] for i in range(1 << 16)]


_CANDIDATE = re.compile(rb"\xff[\xe2-\xff][\x10-\xef]|ID3|TAG|APETAGEX|LYRICSBEGIN")
_MARK = re.compile(rb"Xing|Info|VBRI")


@dataclass
class _Run:
    """Frames of one kind that follow each other without a gap."""

    begin: int
    end: int
    header: bytes  # of the first
    n_frames: int
    window: int = 0  # where the last frames begin that were read at once
    info: bytes = b""  # the frame before it that tells about the file
    cut: bool = False  # a frame begins at its end, but the recording ends in it

    @property
    def samples(self) -> int:
        """Of a frame."""
        return (_parameters(self.header[1], self.header[2]) or (0, 0, 0))[1]

    @property
    def rate(self) -> int:
        """In Hz."""
        return (_parameters(self.header[1], self.header[2]) or (0, 0, 1))[2]

    @property
    def seconds(self) -> float:
        return self.n_frames * self.samples / self.rate

    @property
    def n_told(self) -> int:
        """Frames that the file has, as it says; 0 where it does not."""
        mark = _MARK.search(self.info, 13, 40)
        if not mark:
            return 0
        at = mark.end()
        if mark.group() == b"VBRI":
            return int.from_bytes(self.info[at + 10 : at + 14], "big")
        flags = self.info[at : at + 4]
        return int.from_bytes(self.info[at + 4 : at + 8], "big") if len(flags) == 4 and flags[3] & 1 else 0

    @property
    def padding(self) -> tuple[int, int]:
        """Samples that an encoder has put before and after the sound, as LAME's tag tells, with the decoder's delay."""
        mark = _MARK.search(self.info, 13, 40)
        if not mark or mark.group() == b"VBRI" or len(self.info) < mark.end() + 4:
            return 0, 0
        flags = self.info[mark.end() + 3]
        tag = mark.end() + 4 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
        packed = int.from_bytes(self.info[tag + 21 : tag + 24], "big")
        if len(self.info) < tag + 24 or not self.info[tag : tag + 4].isalnum():
            return 0, 0
        return (packed >> 12) + DECODER_DELAY, max(0, (packed & 0xFFF) - DECODER_DELAY)


def tags_end(content: RandomAccessBytes, at: int, end: int) -> tuple[int, int]:
    """Return where tags (ID3, APE, Lyrics3) and zeros end that begin at an offset, and how many bytes are zeros."""
    n_zeros = 0
    while at < end:
        head = content.read(at, 32)
        if head[:3] == b"ID3" and len(head) > 10 and max(head[6:10]) < 0x80:
            size = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + 10 * (head[5] >> 4 & 1)
        elif head[:3] == b"TAG":
            size = 227 if head[3:4] == b"+" else 128
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            size = 32 + (int.from_bytes(head[12:16], "little") if head[23] & 0x20 else 0)
        elif head[:11] == b"LYRICSBEGIN":
            lyrics = content.read(at, 1 << 16)
            size = max(lyrics.find(b"LYRICS200"), lyrics.find(b"LYRICSEND")) + 9
        elif head[:1] == b"\0":
            zeros = content.read(at, 1 << 16)
            size = min(end - at, len(zeros) - len(zeros.lstrip(b"\0")))
            n_zeros += size
        else:
            break
        at += size if 9 <= size <= end - at or head[:1] == b"\0" else 3  # one that is not whole is no tag
    return at, n_zeros


def starts_mpeg(content: RandomAccessBytes, start: int, *, after_tag: bool) -> bool:
    """Tell whether a recording without another kind's head is MPEG audio: at once, or after a part of a frame, or a tag and more."""
    if _is_chain(content, start, content.size):
        return True
    head = content.read(start, FAR if after_tag else LONGEST_FRAME)
    sure = SURE if after_tag else 8
    return any(_is_chain(content, start + found.start(), content.size, sure) for found in _CANDIDATE.finditer(head))


def _is_chain(content: RandomAccessBytes, at: int, end: int, n: int = SURE) -> bool:
    """Tell whether frames of one kind follow each other from an offset on: `n` of them, or all up to tags or the end."""
    first = b""
    for i in range(n):
        header = content.read(at, 4)
        if i >= 1 and (at == end or tags_end(content, at, end)[0] > at):
            return True
        if len(header) < 4 or at + 4 > end or (first and not _alike(first, header)):
            return False
        size = _sizes()[header[1] << 8 | header[2]] if header[0] == 0xFF else 0
        if not size:
            return False
        first, at = first or header, at + size
    return True


def _alike(first: bytes, header: bytes) -> bool:
    """Tell whether two headers are of one stream: version and layer, sampling rate, one channel or two."""
    return (
        header[0] == first[0]
        and (header[1] ^ first[1]) & 0xFE == 0
        and (header[2] ^ first[2]) & 0x0C == 0
        and (header[3] >> 6 == 3) == (first[3] >> 6 == 3)
    )


def _next_chain(content: RandomAccessBytes, at: int, end: int, far: int) -> tuple[int, int]:
    """Return where frames begin, from an offset on, and how many bytes before them are no tags; `end` where there are none."""
    lost = zeros = 0
    while at < end and lost <= far:
        after, n = tags_end(content, at, end)
        if after > at:
            at, zeros = after, zeros + n
        elif _is_chain(content, at, end):
            return at, lost + zeros
        else:
            found = _CANDIDATE.search(content.read(at + 1, min(WINDOW, end - at - 1)))
            step = 1 + (found.start() if found else max(0, min(WINDOW, end - at - 1) - 11))
            at, lost = at + step, lost + step
    return end, lost


def _is_info(frame: bytes, header: bytes) -> bool:
    """Tell whether a frame has no sound, but tells about the file: where its side information would end."""
    mono, version_1 = header[3] >> 6 == 3, header[1] & 8
    at = 4 + ((17 if mono else 32) if version_1 else (9 if mono else 17))
    return frame[at : at + 4] in (b"Xing", b"Info") or frame[36:40] == b"VBRI"


def _run(content: RandomAccessBytes, begin: int, end: int) -> _Run:
    """Follow the frames from an offset on."""
    header, sizes = content.read(begin, 4), _sizes()
    at = begin
    size = sizes[header[1] << 8 | header[2]]
    info = content.read(begin, min(size, end - begin))
    if _is_info(info, header):
        at += len(info)
    else:
        info = b""
    run = _Run(at, at, header, 0, info=info)
    version, rate, mono = header[1] & 0xFE, header[2] & 0x0C, header[3] >> 6 == 3
    more = True
    while more and len(window := content.read(at, min(WINDOW, end - at))) >= 4:
        run.window = at
        marks = {found.start() - n for found in _MARK.finditer(window) for n in (13, 21, 36)}
        i, last = 0, len(window) - 4
        while i <= last:
            second, third = window[i + 1], window[i + 2]
            size = sizes[second << 8 | third]
            more = (
                window[i] == 0xFF
                and second & 0xFE == version
                and third & 0x0C == rate
                and (window[i + 3] >> 6 == 3) == mono
                and size > 0
                and not (i in marks and run.n_frames and _is_info(content.read(at + i, 40), header))
            )
            if not more:
                break
            if at + i + size > end:
                run.cut, more = True, False
                break
            i += size
            run.n_frames += 1
        at += i
    run.end = at
    return run


class _Reader:
    """Reads the MPEG audio between two offsets; what is counted is of the file at hand, where several are joined."""

    def __init__(self, content: RandomAccessBytes, name: str, faults: DamageReport, gaps: GapFiller) -> None:
        self._content, self._name, self._faults, self._gaps = content, name, faults, gaps
        self._previous: _Run | None = None
        self._told = self._counted = 0  # frames
        self._skip = self._trim = 0  # samples that an encoder has put before and after the sound
        self._seconds = 0.0  # of sound, of all files
        self._channels = 1

    def blocks(self, start: int, end: int) -> Iterator[Block]:
        at = start
        while True:
            begin, lost = _next_chain(self._content, at, end, end if self._previous else FAR)
            if begin >= end:
                break
            run = _run(self._content, begin, end)
            at = max(run.end, begin + 1)
            yield from self._add(run, lost)
        if not self._previous:
            raise DecodeError("no MPEG audio in it")
        self._finish()

    def _add(self, run: _Run, lost: int) -> Iterator[Block]:
        previous, damaged = self._previous, False
        if run.info or (previous and not _alike(previous.header, run.header)):
            self._finish()
            self._told, self._counted, (self._skip, self._trim) = run.n_told, 0, run.padding
        elif previous and lost:
            damaged = True
            self._faults.add(f"damaged at {self._seconds:.2f} s, {lost} bytes")
            yield from self._lost(previous, lost)
        self._previous = run
        if not run.n_frames:
            return
        self._counted += run.n_frames
        try:
            yield from self._run_blocks(run, damaged)
        except DecodeError as error:
            if self._seconds == 0:
                raise
            self._faults.add(f"{run.seconds:.2f} s at {self._seconds:.2f} s cannot be decoded ({error})")

    def _lost(self, run: _Run, lost: int) -> Iterator[Block]:
        """Yield silence for bytes that are no frames, as much as so many bytes were of the last frames before."""
        sizes, at = [], run.window
        while at < run.end:
            header = self._content.read(at, 4)
            sizes.append(_sizes()[header[1] << 8 | header[2]])
            at += sizes[-1]
        n_frames = round(lost * len(sizes[-NEAR:]) / max(1, sum(sizes[-NEAR:])))
        if 0 < n_frames * run.samples <= GAP_SECONDS * run.rate:
            self._counted += n_frames
            yield from self._silence(n_frames * run.samples, run)

    def _silence(self, n: int, run: _Run) -> Iterator[Block]:
        self._seconds += n / run.rate
        yield from self._gaps.silence(n, run.rate, self._channels)

    def _run_blocks(self, run: _Run, after_damage: bool) -> Iterator[Block]:
        # a hole, behind which there are 128 bytes that are no tag, makes the estimated length large enough
        hole = 64 * (run.end - run.begin) + FAR
        file = SplicedFile(self._content, [(run.begin, run.end), hole, bytes(128)])
        decoder = SndfileDecoder(file, self._name, quiet=True)
        self._channels = decoder.channels
        skip, self._skip = self._skip, 0
        end = run.n_frames * run.samples - (self._trim if 0 < self._told <= self._counted else 0)
        mean = (run.end - run.begin) / run.n_frames
        position = 0
        try:
            while position < end:
                file.read_ahead(int((block_frames(run.rate, decoder.channels) / run.samples + 4) * mean * 1.25))
                block = decoder.read()
                if decoder.error_message and not (after_damage and position == 0):
                    until = self._seconds + len(block) / run.rate
                    self._faults.add(f"damaged between {self._seconds:.2f} s and {until:.2f} s")
                if not len(block):
                    break
                part = block[max(0, skip - position) : max(0, end - position)]
                position += len(block)
                self._seconds += len(part) / run.rate
                yield run.rate, part
        finally:
            decoder.close()
        if position < end:
            missing = end - max(position, skip)
            self._faults.add(f"damaged at {self._seconds:.2f} s, {missing / run.rate:.2f} s are missing")
            yield from self._silence(missing, run)

    def _finish(self) -> None:
        """Compare the frames of the file at hand with what it tells; some programs count the frame that tells it."""
        run = self._previous
        if not run:
            return
        told, there = (n * run.samples / run.rate for n in (self._told, self._counted))
        if self._told and abs(self._told - self._counted) > 1:
            kind = "cut off: its" if run.cut else "its"
            self._faults.add(f"{kind} head promises {told:.2f} s, {there:.2f} s are there")
        elif run.cut:
            self._faults.add(f"cut off at {self._seconds:.2f} s, within a frame")


def mpeg_blocks(
    content: RandomAccessBytes, start: int, end: int, name: str, faults: DamageReport, gaps: GapFiller
) -> Iterator[Block]:
    """Yield the sound of the MPEG audio between two offsets, of all files that are joined there.

    Raises DecodeError, before the first block, where there is none.
    """
    yield from _Reader(content, name, faults, gaps).blocks(start, end)
