"""Ogg with Vorbis, Opus and FLAC: intact, truncated, damaged, chained and multiplexed."""

import io
import struct
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import flip_bits, load_damaged
from recordings import speech
from whisper_apr.audio import SAMPLE_RATE, load_audio
from whisper_apr.audio.ogg import page_checksum
from whisper_apr.errors import AudioError, AudioWarning

CODECS = ["VORBIS", "OPUS", "FLAC"]


@cache
def an_ogg(codec: str, seconds: float = 20.0, rate: int = SAMPLE_RATE, channels: int = 1) -> bytes:
    x = np.tile(np.resize(speech("en_long"), round(seconds * rate))[:, None], channels)
    file = io.BytesIO()
    if codec == "FLAC":
        soundfile.write(file, x, rate, format="FLAC")
        return in_ogg(file.getvalue())
    soundfile.write(file, x, rate, format="OGG", subtype=codec)
    return file.getvalue()


def page(payload: bytes, segments: bytes, serial: int, number: int, position: int, flags: int) -> bytes:
    head = b"OggS\0" + struct.pack("<BqIIIB", flags, position, serial, number, 0, len(segments)) + segments
    whole = bytearray(head + payload)
    struct.pack_into("<I", whole, 22, page_checksum(bytes(whole)))
    return bytes(whole)


def in_ogg(flac: bytes, serial: int = 7) -> bytes:
    """Return FLAC data in packets of 4,000 bytes, each on its own page; the first has the mapping header."""
    first = b"\x7fFLAC\1\0\0\0" + flac[:42]
    packets = [flac[i : i + 4000] for i in range(42, len(flac), 4000)]
    pages = [page(first, bytes([len(first)]), serial, 0, 0, 2)]
    for number, packet in enumerate(packets, 1):
        segments = b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
        pages.append(page(packet, segments, serial, number, number * 1000, 4 if number == len(packets) else 0))
    return b"".join(pages)


def pages(content: bytes) -> list[int]:
    """Return the offsets of the pages."""
    at, found = 0, []
    while at < len(content):
        assert content[at : at + 4] == b"OggS"
        found.append(at)
        n = content[at + 26]
        at += 27 + n + sum(content[at + 27 : at + 27 + n])
    return found


def likeness(a: Any, b: Any, begin: float, end: float) -> float:
    i, j = round(begin * SAMPLE_RATE), round(end * SAMPLE_RATE)
    return float(np.corrcoef(a[i:j], b[i:j])[0, 1])


def test_checksum_equals_other_encoders() -> None:
    content = bytearray(an_ogg("VORBIS"))
    begin, end = pages(content)[1:3]
    (checksum,) = struct.unpack_from("<I", content, begin + 22)
    content[begin + 22 : begin + 26] = bytes(4)
    assert page_checksum(bytes(content[begin:end])) == checksum


@pytest.mark.parametrize("codec", CODECS)
def test_intact_file(codec: str) -> None:
    samples, x = load_audio(an_ogg(codec)), np.resize(speech("en_long"), 20 * SAMPLE_RATE)
    assert len(samples) == len(x)
    assert likeness(samples, x, 0, 20) > 0.9
    if codec != "FLAC":
        np.testing.assert_array_equal(samples, soundfile.read(io.BytesIO(an_ogg(codec)), dtype="float32")[0])


@pytest.mark.parametrize("codec", CODECS)
def test_chained_files(codec: str) -> None:
    """As `cat` makes them, or an internet radio station."""
    one, other = an_ogg(codec), an_ogg("VORBIS", 3.0, 8000, 2)
    for parts in ((one, one), (other, one), (one, other, one)):
        expected = np.concatenate([load_audio(part) for part in parts])
        np.testing.assert_array_equal(load_audio(b"".join(parts)), expected)


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("part", [0.3, 0.6, 0.99])
@pytest.mark.parametrize("codec", CODECS)
def test_truncated_file(codec: str, part: float) -> None:
    whole = load_audio(an_ogg(codec))
    cut = an_ogg(codec)[: int(len(an_ogg(codec)) * part)]
    with pytest.warns(
        AudioWarning, match=r"^the recording: cut off: its [^;]*(; \d+\.\d\d s|, but \d+\.\d\d s) are there$"
    ) as caught:
        samples = load_audio(cut)
    assert len(caught) == 1
    assert 0.05 * len(whole) < len(samples) < part * 1.1 * len(whole)
    np.testing.assert_array_equal(samples, whole[: len(samples)])
    with pytest.raises(AudioError, match="cut off"):
        load_audio(cut, strict=True)


@pytest.mark.parametrize("codec", CODECS)
def test_damaged_page_loses_only_damaged_packets(codec: str) -> None:
    """libogg drops a whole page with a wrong checksum, which may be seconds of audio."""
    content, whole = bytearray(an_ogg(codec)), load_audio(an_ogg(codec))
    begins = pages(content)
    at = begins[len(begins) // 2] + 600
    content[at : at + 100] = b"0123456789" * 10
    with pytest.warns(AudioWarning, match="damaged"):
        samples = load_audio(bytes(content))
    assert len(samples) == len(whole)
    wrong = np.flatnonzero(np.abs(samples - whole) > 1e-3)
    assert len(wrong)
    shift = 104 if codec == "OPUS" else 0
    assert wrong[0] > 7 * SAMPLE_RATE
    assert likeness(np.roll(samples, -shift), whole, wrong[0] / SAMPLE_RATE + 2.5, 20) > 0.9
    with pytest.raises(AudioError, match="damaged"):
        load_audio(bytes(content), strict=True)


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("change", ["removed", "half removed", "zeros"])
def test_audio_after_missing_pages_keeps_its_time(codec: str, change: str) -> None:
    content, whole = bytearray(an_ogg(codec)), load_audio(an_ogg(codec))
    begins = pages(content)
    i = len(begins) // 2
    begin, end = begins[i], begins[i + 1]
    if change == "half removed":
        begin = (begin + end) // 2
    content[begin:end] = bytes(end - begin) if change == "zeros" else b""
    with pytest.warns(AudioWarning, match=r"damaged at .* s are missing"):
        samples = load_audio(bytes(content))
    assert abs(len(samples) - len(whole)) < 0.03 * SAMPLE_RATE
    shift = 104 if codec == "OPUS" else 0  # the Opus decoder's delay, which libsndfile does not remove here
    assert likeness(np.roll(samples, -shift), whole, 17, 19) > 0.9
    assert likeness(samples, whole, 0, 3) > 0.9


def test_kv_cache_of_a_flac_that_are_missing() -> None:
    content, whole = bytearray(an_ogg("FLAC")), load_audio(an_ogg("FLAC"))
    begins = pages(content)
    content[begins[30] : begins[33]] = b""
    with pytest.warns(AudioWarning, match="damaged: some of its pages are missing"):
        samples = load_audio(bytes(content))
    assert len(samples) == len(whole)
    np.testing.assert_array_equal(samples[-SAMPLE_RATE:], whole[-SAMPLE_RATE:])


def interleaved(*files: bytes) -> bytes:
    """Return files as multiplexed streams, whose first pages come first."""
    streams = [
        [content[a:b] for a, b in zip(begins, [*begins[1:], len(content)], strict=True)]
        for content, begins in ((content, pages(content)) for content in files)
    ]
    heads, rests = [each[0] for each in streams], [each[1:] for each in streams]
    n = max(map(len, rests))
    return b"".join([*heads, *(each[i] for i in range(n) for each in rests if i < len(each))])


def test_tracks() -> None:
    one, other = an_ogg("VORBIS"), an_ogg("OPUS", 5.0)
    both = interleaved(one, other)
    np.testing.assert_array_equal(load_audio(both), load_audio(one))
    np.testing.assert_array_equal(load_audio(both, track=0), load_audio(one))
    np.testing.assert_array_equal(load_audio(both, track=1), load_audio(other))
    with pytest.raises(AudioError, match="no audio track 2; there are 2, counted from 0"):
        load_audio(both, track=2)


def test_stream_without_audio_is_skipped() -> None:
    picture = page(b"\x80theora...", bytes([10]), 99, 0, 0, 2) + page(b"x" * 100, bytes([100]), 99, 1, 5, 4)
    np.testing.assert_array_equal(load_audio(interleaved(picture, an_ogg("OPUS"))), load_audio(an_ogg("OPUS")))


@pytest.mark.usefixtures("no_ffmpeg")
def test_ogg_without_audio() -> None:
    picture = page(b"\x80theora...", bytes([10]), 99, 0, 0, 2) + page(b"x" * 100, bytes([100]), 99, 1, 5, 4)
    with pytest.raises(AudioError, match="an Ogg file without Vorbis, Opus, FLAC or Speex"):
        load_audio(picture)


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_silence_for_a_distant_position_is_limited(codec: str) -> None:
    """The last page states a distant granule position; at most ten minutes become silence."""
    content = bytearray(an_ogg(codec))
    begin = pages(content)[-1]
    struct.pack_into("<q", content, begin + 6, 1 << 50)
    struct.pack_into("<I", content, begin + 22, 0)
    struct.pack_into("<I", content, begin + 22, page_checksum(bytes(content[begin:])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        assert len(load_audio(bytes(content))) < (20 + 700) * SAMPLE_RATE


@settings(max_examples=30)
@given(st.data())
def test_random_damage(data: st.DataObject) -> None:
    content = flip_bits(data, an_ogg(data.draw(st.sampled_from(CODECS)), 2.0))
    samples = load_damaged(bytes(content[: data.draw(st.integers(1, len(content)))]), channel=0)
    if samples is None:
        return
    assert len(samples) < (2 + 700) * SAMPLE_RATE
