"""The kinds of recordings to fuzz: how to create small valid files of each, and how to mutate one.

To add a kind, append to KINDS. Checksums would reject nearly every mutation, so in half of the cases Ogg and FLAC files
are split into parts, and joined with valid checksums.
"""

import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fuzz import mutate
from fuzz.readers import Parts

SECONDS = 0.6  # length of a valid file


@dataclass(frozen=True)
class Kind:
    """A kind of recording to fuzz."""

    name: str
    seeds: Callable[[Path], Sequence[Path]]  # writes valid files into the given folder
    parts: Parts | None = None
    needs_ffmpeg: bool = False  # reading requires ffmpeg, and raises AudioError without it


def _speech(rate: int, channels: int) -> np.ndarray:
    """Return speech-like bursts of noise and a tone, `(n, channels)`, loud enough that every codec encodes them."""
    n = int(SECONDS * rate)
    t = np.arange(n) / rate
    rng = np.random.default_rng(rate + channels)
    burst = np.sin(2 * np.pi * 3 * t) ** 2
    columns = [
        0.4 * burst * np.sin(2 * np.pi * (200 + 90 * i) * t) + 0.1 * burst * rng.standard_normal(n)
        for i in range(channels)
    ]
    return np.clip(np.stack(columns, axis=1), -1, 1).astype(np.float32)


def _by_soundfile(
    format: str, *variants: tuple[str, int, int] | tuple[str, int, int, str]
) -> Callable[[Path], list[Path]]:
    """Return a function that writes files of (subtype, rate in Hz, channels[, byte order]) with libsndfile."""

    def seeds(folder: Path) -> list[Path]:
        import soundfile

        paths = []
        for subtype, rate, channels, *endian in variants:
            ending = format.lower()
            paths.append(folder / f"{len(paths)}.{ending}")
            samples = _speech(rate, channels)
            soundfile.write(paths[-1], samples, rate, subtype, endian[0] if endian else None, format)
        return paths

    return seeds


def _by_ffmpeg(*commands: str) -> Callable[[Path], list[Path]]:
    """Return a function that writes files with ffmpeg, given options and a suffix each; none if it is not on PATH."""

    def seeds(folder: Path) -> list[Path]:
        import soundfile

        program = shutil.which("ffmpeg")
        if program is None:
            return []
        source = folder / "source.wav"
        soundfile.write(source, _speech(16_000, 1), 16_000)
        paths = []
        for command in commands:
            *options, ending = command.split()
            paths.append(folder / f"{len(paths)}.{ending}")
            subprocess.run(
                [program, "-nostdin", "-v", "error", "-i", str(source), *options, str(paths[-1])], check=True
            )
        source.unlink()
        return paths

    return seeds


def _both(*makers: Callable[[Path], list[Path]]) -> Callable[[Path], list[Path]]:
    def seeds(folder: Path) -> list[Path]:
        paths = []
        for i, maker in enumerate(makers):
            (folder / str(i)).mkdir()
            paths += maker(folder / str(i))
        return paths

    return seeds


# ---- checksums ------------------------------------------------------------------------------------------------------


def _table(polynomial: int, bits: int) -> list[int]:
    """Return the table of a CRC with the most significant bit first: RFC 3533 (Ogg) and RFC 9639 (FLAC)."""
    top, table = 1 << (bits - 1), []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1) ^ (polynomial if value & top else 0)
        table.append(value & ((1 << bits) - 1))
    return table


_CRC32, _CRC16 = _table(0x04C11DB7, 32), _table(0x8005, 16)


def _crc32(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ _CRC32[value >> 24 ^ byte]
    return value


def _crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ _CRC16[value >> 8 ^ byte]
    return value


def _ogg_pages(raw: bytes) -> list[bytes]:
    pages, at = [], 0
    while at + 27 <= len(raw):
        n_segment = raw[at + 26]
        end = at + 27 + n_segment + sum(raw[at + 27 : at + 27 + n_segment])
        pages.append(raw[at:end])
        at = end
    return pages


def _ogg_join(pages: list[bytes]) -> bytes:
    whole = []
    for page in pages:
        if len(page) >= 27:
            blank = page[:22] + bytes(4) + page[26:]
            page = blank[:22] + struct.pack("<I", _crc32(blank)) + blank[26:]
        whole.append(page)
    return b"".join(whole)


def _flac_frames(raw: bytes) -> list[bytes]:
    """Split into the header with metadata, and the frames without their checksums."""
    at, is_last = 4, False
    while not is_last:
        is_last = bool(raw[at] & 0x80)
        at += 4 + int.from_bytes(raw[at + 1 : at + 4], "big")
    parts = [raw[:at]]
    begin, search = at, at + 2
    while begin < len(raw):
        end = raw.find(raw[begin : begin + 2], search)
        end = len(raw) if end < 0 else end
        if int.from_bytes(raw[end - 2 : end], "big") == _crc16(raw[begin : end - 2]):
            parts.append(raw[begin : end - 2])
            begin, search = end, end + 2
        elif end == len(raw):
            break
        else:
            search = end + 1
    return parts


def _flac_join(parts: list[bytes]) -> bytes:
    return parts[0] + b"".join(frame + struct.pack(">H", _crc16(frame)) for frame in parts[1:])


# ---- kinds ----------------------------------------------------------------------------------------------------------


KINDS = [
    Kind("wav", _by_soundfile(
        "WAV", ("PCM_16", 16_000, 1), ("PCM_16", 44_100, 2), ("PCM_U8", 8_000, 1), ("PCM_24", 16_000, 2),
        ("FLOAT", 16_000, 1), ("DOUBLE", 8_000, 1), ("ULAW", 8_000, 1), ("IMA_ADPCM", 8_000, 1),
        ("MS_ADPCM", 8_000, 2), ("GSM610", 8_000, 1), ("PCM_16", 8_000, 1, "BIG"),
    )),
    Kind("wavex", _both(
        _by_soundfile("WAVEX", ("PCM_16", 16_000, 2), ("FLOAT", 8_000, 6)),
        _by_soundfile("RF64", ("PCM_16", 16_000, 1)),
    )),
    Kind("flac", _by_soundfile("FLAC", ("PCM_16", 16_000, 1), ("PCM_24", 44_100, 2), ("PCM_S8", 8_000, 1)),
         Parts(_flac_frames, _flac_join)),
    Kind("mp3", _both(
        _by_soundfile("MP3", ("MPEG_LAYER_III", 16_000, 1), ("MPEG_LAYER_III", 44_100, 2)),
        _by_ffmpeg("-q:a 5 -metadata title=t mp3", "-b:a 32k -write_xing 0 mp3", "-ar 8000 -id3v2_version 0 mp3"),
    )),
    Kind("ogg", _by_soundfile("OGG", ("VORBIS", 16_000, 1), ("VORBIS", 44_100, 2), ("OPUS", 48_000, 1)),
         Parts(_ogg_pages, _ogg_join)),
    Kind("aiff", _by_soundfile(
        "AIFF", ("PCM_16", 16_000, 1), ("PCM_24", 44_100, 2), ("FLOAT", 8_000, 1), ("ULAW", 8_000, 1),
        ("IMA_ADPCM", 8_000, 1), ("PCM_16", 8_000, 1, "LITTLE"),
    )),
    Kind("au", _by_soundfile(
        "AU", ("PCM_16", 16_000, 1), ("ULAW", 8_000, 1), ("FLOAT", 16_000, 2), ("G721_32", 8_000, 1),
        ("PCM_16", 8_000, 1, "LITTLE"),
    )),
    Kind("w64", _by_soundfile("W64", ("PCM_16", 16_000, 1), ("FLOAT", 8_000, 2), ("MS_ADPCM", 8_000, 1))),
    Kind("caf", _by_soundfile("CAF", ("PCM_16", 16_000, 1), ("ALAC_16", 16_000, 2), ("ULAW", 8_000, 1))),
    Kind("m4a", _by_ffmpeg(
        "m4a", "-movflags +faststart m4a", "-c:a alac m4a", "-movflags frag_keyframe+empty_moov -f mp4 mp4",
        "-output_ts_offset 0.5 -ac 2 m4a",
    ), needs_ffmpeg=True),
    Kind("webm", _by_ffmpeg("-c:a libopus webm", "-c:a flac mkv"), needs_ffmpeg=True),
    Kind("others", _by_ffmpeg("-c:a wmav2 wma", "-c:a aac aac", "-c:a libmp3lame avi", "-c:a aac ts"),
         needs_ffmpeg=True),
]  # fmt: skip


# ---- mutations ------------------------------------------------------------------------------------------------------


def _join_files(data: bytearray, rng: random.Random, other: bytes) -> None:
    """Append, prepend or insert another file, of the same or of another kind."""
    at = rng.choice((len(data), len(data), 0, rng.randrange(len(data) + 1)))
    data[at:at] = other


def _repeat_much(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Repeat a chunk, up to hundreds of times."""
    if data:
        begin = rng.randrange(len(data))
        size = min(rng.choice((8, 24, 100, 400, 2000)), len(data) - begin)
        data[begin:begin] = data[begin : begin + size] * rng.choice((1, 3, 50, 50_000 // size))


def _swap_chunks(data: bytearray, rng: random.Random, _: bytes) -> None:
    size = rng.choice((4, 8, 64, 400))
    if len(data) > 2 * size:
        a, b = sorted(rng.randrange(len(data) - size) for _ in range(2))
        data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def _extreme_big(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Replace a number in the header, of either byte order, by an extreme count, rate or length."""
    width = rng.choice((1, 2, 2, 4, 4, 4, 8))
    value = rng.choice((0, 1, 2, 3, 7, 64, 65, 255, 256, 1000, 65_537, 319_993, 1_000_000, 2**31 - 1, 2**31, 2**32 - 1,
                        2**63 - 1, 0x7FFFF000, len(data), 10 * len(data), -1, -2))  # fmt: skip
    begin = rng.randrange(min(len(data), 120)) if data else 0
    raw = (value % 256**width).to_bytes(width, rng.choice(("little", "big")))
    if begin + width <= len(data):
        data[begin : begin + width] = raw


_MUTATIONS = (*mutate.KINDS, _join_files, _repeat_much, _swap_chunks, _extreme_big, _extreme_big, _extreme_big)


def _mutated(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(_MUTATIONS)(data, rng, rng.choice(others))
    return bytes(data)


def changed(kind: Kind, seeds: Sequence[bytes], strangers: Sequence[bytes], number: int) -> bytes:
    """Return mutated file `number` of a kind, the same for the same valid files.

    `strangers` are valid files of other kinds.
    """
    rng = random.Random(f"{kind.name} {number}")
    content = rng.choice(seeds)
    others = [rng.choice(seeds), rng.choice(strangers)]
    if kind.parts is not None and rng.random() < 0.5:
        pieces = kind.parts.split(content)
        i = rng.choice((0, rng.randrange(len(pieces))))
        pieces[i] = _mutated(pieces[i], rng, [rng.choice(pieces), *others])
        if rng.random() < 0.1:
            del pieces[rng.randrange(len(pieces))]
        if rng.random() < 0.1:
            pieces[rng.randrange(len(pieces) + 1) :] = rng.choices(pieces, k=3) if pieces else []
        return kind.parts.join(pieces) if pieces else b""
    return _mutated(content, rng, others)
