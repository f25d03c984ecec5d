"""MPEG audio, layers I to III (ISO/IEC 11172-3, 13818-3), including damaged, truncated and concatenated files.

libmpg123, with which libsndfile decodes, has three limits: without a Xing header it estimates the length and stops
there, it stops at the end of the first of several concatenated files, and it mistakes other data for frames. Therefore
this module finds the frames, and passes libmpg123 nothing but runs of consecutive frames.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from .blocks import Block, GapFiller, block_frames
from .diagnostics import DamageReport
from .sndfile import SndfileDecoder
from .sources import DecodeError, RandomAccessBytes, SplicedFile

WINDOW = 1 << 20  # bytes read at a time to follow frame headers
MIN_FRAMES = 3  # consecutive frames required at the beginning of a run
MAX_FRAME = 2881  # bytes: layer II, 160 kbit/s at 8 kHz, which MPEG 2.5 allows
MAX_LEAD_IN = 1 << 17  # bytes before the first frame, not counting tags
GAP_SECONDS = 10  # the longest silence in place of bytes that are not frames
MAX_RECENT = 16  # frames before a gap, whose mean size determines how many frames were lost in it
DECODER_DELAY = 529  # samples, which LAME's tag assumes of a decoder

_BITRATES = {  # kbit/s for indices 1 to 14, by version (1, or 2 for both 2 and 2.5) and layer
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)  # Hz, of version 1
_RATE_DIVISORS = {3: 1, 2: 2, 0: 4}  # by the two version bits: 1, 2 and 2.5


def _frame_parameters(second: int, third: int) -> tuple[int, int, int] | None:
    """Return a frame's size in bytes, samples per channel and rate in Hz, by bytes 1 and 2 of its header.

    None if they are not part of a valid header.
    """
    version, layer, kbit, rate = second >> 3 & 3, 4 - (second >> 1 & 3), third >> 4, third >> 2 & 3
    if second < 0xE0 or version == 1 or layer == 4 or kbit in (0, 15) or rate == 3:
        return None
    hertz = _RATES[rate] // _RATE_DIVISORS[version]
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    bits = _BITRATES[1 if version == 3 else 2, layer][kbit - 1] * 1000
    slot = 4 if layer == 1 else 1
    return (samples // 8 * bits // hertz // slot + (third >> 1 & 1)) * slot, samples, hertz


@cache
def _frame_sizes() -> list[int]:
    """Return a table of frame sizes in bytes, indexed by bytes 1 and 2 of the header; 0 for an invalid header."""
    return [(_frame_parameters(i >> 8, i & 255) or (0,))[0] for i in range(1 << 16)]


_CANDIDATE = re.compile(rb"\xff[\xe2-\xff][\x10-\xef]|ID3|TAG|APETAGEX|LYRICSBEGIN")
_INFO_TAG = re.compile(rb"Xing|Info|VBRI")


@dataclass
class _FrameRun:
    """Consecutive frames of the same version, layer, rate and channels."""

    begin: int
    end: int
    header: bytes  # of the first frame
    n_frames: int
    window: int = 0  # offset of the frames that were read last
    info_frame: bytes = b""  # a frame before the run with a Xing, Info or VBRI header instead of audio
    cut: bool = False  # whether the recording ends within a frame after the run

    @property
    def samples(self) -> int:
        """Samples per channel in a frame."""
        return (_frame_parameters(self.header[1], self.header[2]) or (0, 0, 0))[1]

    @property
    def rate(self) -> int:
        """Sampling rate in Hz."""
        return (_frame_parameters(self.header[1], self.header[2]) or (0, 0, 1))[2]

    @property
    def seconds(self) -> float:
        """Duration of the run."""
        return self.n_frames * self.samples / self.rate

    @property
    def n_stated(self) -> int:
        """The file's number of frames according to its Xing, Info or VBRI header; 0 if it does not say."""
        mark = _INFO_TAG.search(self.info_frame, 13, 40)
        if not mark:
            return 0
        at = mark.end()
        if mark.group() == b"VBRI":
            return int.from_bytes(self.info_frame[at + 10 : at + 14], "big")
        flags = self.info_frame[at : at + 4]
        return int.from_bytes(self.info_frame[at + 4 : at + 8], "big") if len(flags) == 4 and flags[3] & 1 else 0

    @property
    def padding(self) -> tuple[int, int]:
        """Samples to drop before and after the audio: LAME's encoder delay and padding, adjusted for the decoder's."""
        mark = _INFO_TAG.search(self.info_frame, 13, 40)
        if not mark or mark.group() == b"VBRI" or len(self.info_frame) < mark.end() + 4:
            return 0, 0
        flags = self.info_frame[mark.end() + 3]
        tag = mark.end() + 4 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
        packed = int.from_bytes(self.info_frame[tag + 21 : tag + 24], "big")
        if len(self.info_frame) < tag + 24 or not self.info_frame[tag : tag + 4].isalnum():
            return 0, 0
        return (packed >> 12) + DECODER_DELAY, max(0, (packed & 0xFFF) - DECODER_DELAY)


def skip_tags(content: RandomAccessBytes, at: int, end: int) -> tuple[int, int]:
    """Skip tags (ID3v1, ID3v2, APE, Lyrics3) and zeros that begin at offset `at`.

    Returns:
        Where they end, and how many of the bytes are zeros.
    """
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
        at += size if 9 <= size <= end - at or head[:1] == b"\0" else 3  # skip the identifier of an incomplete tag
    return at, n_zeros


def is_mpeg(content: RandomAccessBytes, start: int, *, after_tag: bool) -> bool:
    """Return whether a recording is MPEG audio, if its header is of no other format.

    Frames may begin at once, after part of a frame, or `after_tag` within MAX_LEAD_IN bytes.
    """
    if _is_frame_sequence(content, start, content.size):
        return True
    head = content.read(start, MAX_LEAD_IN if after_tag else MAX_FRAME)
    sure = MIN_FRAMES if after_tag else 8
    return any(
        _is_frame_sequence(content, start + found.start(), content.size, sure) for found in _CANDIDATE.finditer(head)
    )


def _is_frame_sequence(content: RandomAccessBytes, at: int, end: int, n: int = MIN_FRAMES) -> bool:
    """Return whether `n` frames of one format, or all up to a tag or the end, follow each other from offset `at` on."""
    first = b""
    for i in range(n):
        header = content.read(at, 4)
        if i >= 1 and (at == end or skip_tags(content, at, end)[0] > at):
            return True
        if len(header) < 4 or at + 4 > end or (first and not _same_format(first, header)):
            return False
        size = _frame_sizes()[header[1] << 8 | header[2]] if header[0] == 0xFF else 0
        if not size:
            return False
        first, at = first or header, at + size
    return True


def _same_format(first: bytes, header: bytes) -> bool:
    """Return whether two headers agree in version, layer, sampling rate, and one or two channels."""
    return (
        header[0] == first[0]
        and (header[1] ^ first[1]) & 0xFE == 0
        and (header[2] ^ first[2]) & 0x0C == 0
        and (header[3] >> 6 == 3) == (first[3] >> 6 == 3)
    )


def _find_frames(content: RandomAccessBytes, at: int, end: int, far: int) -> tuple[int, int]:
    """Return where the next frames begin from offset `at` on, and how many bytes before them are not tags.

    Returns `end` as the offset if there are no frames within `far` bytes.
    """
    lost = zeros = 0
    while at < end and lost <= far:
        after, n = skip_tags(content, at, end)
        if after > at:
            at, zeros = after, zeros + n
        elif _is_frame_sequence(content, at, end):
            return at, lost + zeros
        else:
            found = _CANDIDATE.search(content.read(at + 1, min(WINDOW, end - at - 1)))
            step = 1 + (found.start() if found else max(0, min(WINDOW, end - at - 1) - 11))
            at, lost = at + step, lost + step
    return end, lost


def _is_info_frame(frame: bytes, header: bytes) -> bool:
    """Return whether a frame carries a Xing, Info or VBRI header, which follows the side information, and no audio."""
    mono, version_1 = header[3] >> 6 == 3, header[1] & 8
    at = 4 + ((17 if mono else 32) if version_1 else (9 if mono else 17))
    return frame[at : at + 4] in (b"Xing", b"Info") or frame[36:40] == b"VBRI"


def _follow_frames(content: RandomAccessBytes, begin: int, end: int) -> _FrameRun:
    """Return the run of frames that begins at offset `begin`."""
    header, sizes = content.read(begin, 4), _frame_sizes()
    at = begin
    size = sizes[header[1] << 8 | header[2]]
    info_frame = content.read(begin, min(size, end - begin))
    if _is_info_frame(info_frame, header):
        at += len(info_frame)
    else:
        info_frame = b""
    run = _FrameRun(at, at, header, 0, info_frame=info_frame)
    version, rate, mono = header[1] & 0xFE, header[2] & 0x0C, header[3] >> 6 == 3
    more = True
    while more and len(window := content.read(at, min(WINDOW, end - at))) >= 4:
        run.window = at
        marks = {found.start() - n for found in _INFO_TAG.finditer(window) for n in (13, 21, 36)}
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
                and not (i in marks and run.n_frames and _is_info_frame(content.read(at + i, 40), header))
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


class _MpegDecoder:
    """Decodes MPEG audio between two offsets. Frame counts are of the current file, if several are concatenated."""

    def __init__(self, content: RandomAccessBytes, name: str, damage: DamageReport, gap_filler: GapFiller) -> None:
        self._content, self._name, self._damage, self._gap_filler = content, name, damage, gap_filler
        self._previous: _FrameRun | None = None
        self._n_stated = self._n_counted = 0  # frames
        self._skip = self._trim = 0  # samples to drop before and after the audio
        self._seconds = 0.0  # of output, over all files
        self._channels = 1

    def blocks(self, start: int, end: int) -> Iterator[Block]:
        at = start
        while True:
            begin, lost = _find_frames(self._content, at, end, end if self._previous else MAX_LEAD_IN)
            if begin >= end:
                break
            run = _follow_frames(self._content, begin, end)
            at = max(run.end, begin + 1)
            yield from self._decode_run(run, lost)
        if not self._previous:
            raise DecodeError("no MPEG audio frames")
        self._check_length()

    def _decode_run(self, run: _FrameRun, lost: int) -> Iterator[Block]:
        previous, damaged = self._previous, False
        if run.info_frame or (previous and not _same_format(previous.header, run.header)):
            self._check_length()
            self._n_stated, self._n_counted, (self._skip, self._trim) = run.n_stated, 0, run.padding
        elif previous and lost:
            damaged = True
            self._damage.add(f"damaged at {self._seconds:.2f} s, {lost} bytes")
            yield from self._fill_lost(previous, lost)
        self._previous = run
        if not run.n_frames:
            return
        self._n_counted += run.n_frames
        try:
            yield from self._run_samples(run, damaged)
        except DecodeError as error:
            if self._seconds == 0:
                raise
            self._damage.add(f"{run.seconds:.2f} s at {self._seconds:.2f} s cannot be decoded ({error})")

    def _fill_lost(self, run: _FrameRun, lost: int) -> Iterator[Block]:
        """Yield silence for `lost` bytes that are not frames, estimating their duration from the frames before."""
        sizes, at = [], run.window
        while at < run.end:
            header = self._content.read(at, 4)
            sizes.append(_frame_sizes()[header[1] << 8 | header[2]])
            at += sizes[-1]
        n_frames = round(lost * len(sizes[-MAX_RECENT:]) / max(1, sum(sizes[-MAX_RECENT:])))
        if 0 < n_frames * run.samples <= GAP_SECONDS * run.rate:
            self._n_counted += n_frames
            yield from self._silence(n_frames * run.samples, run)

    def _silence(self, n: int, run: _FrameRun) -> Iterator[Block]:
        self._seconds += n / run.rate
        yield from self._gap_filler.silence(n, run.rate, self._channels)

    def _run_samples(self, run: _FrameRun, after_damage: bool) -> Iterator[Block]:
        # libmpg123 estimates the length from the file size: a hole, and 128 bytes that are not an ID3v1 tag, enlarge it
        hole = 64 * (run.end - run.begin) + MAX_LEAD_IN
        file = SplicedFile(self._content, [(run.begin, run.end), hole, bytes(128)])
        decoder = SndfileDecoder(file, self._name, quiet=True)
        self._channels = decoder.channels
        skip, self._skip = self._skip, 0
        end = run.n_frames * run.samples - (self._trim if 0 < self._n_stated <= self._n_counted else 0)
        mean = (run.end - run.begin) / run.n_frames
        position = 0
        try:
            while position < end:
                file.read_ahead(int((block_frames(run.rate, decoder.channels) / run.samples + 4) * mean * 1.25))
                block = decoder.read()
                if decoder.error_message and not (after_damage and position == 0):
                    until = self._seconds + len(block) / run.rate
                    self._damage.add(f"damaged between {self._seconds:.2f} s and {until:.2f} s")
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
            self._damage.add(f"damaged at {self._seconds:.2f} s, where {missing / run.rate:.2f} s are missing")
            yield from self._silence(missing, run)

    def _check_length(self) -> None:
        """Compare the number of frames with the one stated; some encoders count the header frame as well."""
        run = self._previous
        if not run:
            return
        stated, counted = (n * run.samples / run.rate for n in (self._n_stated, self._n_counted))
        if self._n_stated and abs(self._n_stated - self._n_counted) > 1:
            kind = "cut off: its" if run.cut else "its"
            self._damage.add(f"{kind} header states {stated:.2f} s, but {counted:.2f} s are there")
        elif run.cut:
            self._damage.add(f"cut off at {self._seconds:.2f} s, within a frame")


def mpeg_blocks(
    content: RandomAccessBytes, start: int, end: int, name: str, damage: DamageReport, gap_filler: GapFiller
) -> Iterator[Block]:
    """Decode the MPEG audio between two offsets, which may be several concatenated files.

    Raises:
        DecodeError: There are no MPEG audio frames; before the first block.
    """
    yield from _MpegDecoder(content, name, damage, gap_filler).blocks(start, end)
