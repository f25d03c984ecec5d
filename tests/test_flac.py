"""FLAC files: intact, truncated, damaged, concatenated, and with wrong headers."""

import io
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
from whisper_apr.audio.containers import AudioFile
from whisper_apr.audio.flac import _parse_frame_header, _parse_stream_info, _sync_candidates
from whisper_apr.audio.sources import RandomAccessBytes
from whisper_apr.errors import AudioError, AudioWarning

FRAME = 4096  # samples in a frame of libFLAC


@cache
def a_flac(seconds: float = 30.0, rate: int = SAMPLE_RATE, channels: int = 1, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    x = np.resize(speech("en_long"), round(seconds * rate))
    soundfile.write(file, np.tile(x[:, None], channels), rate, format="FLAC", subtype=subtype)
    return file.getvalue()


@cache
def decoded(content: bytes) -> Any:
    return soundfile.read(io.BytesIO(content), dtype="float32")[0]


def frames(content: bytes) -> list[int]:
    """Return the offsets of the frames."""
    opened = RandomAccessBytes(io.BytesIO(content), "it")
    stream = _parse_stream_info(opened, 0)
    assert stream
    return [at for at, header in _sync_candidates(opened, stream.frames) if _parse_frame_header(header, stream)]


def with_total(content: bytes, total: int) -> bytes:
    """Return the file with another number of samples in its header."""
    packed = int.from_bytes(content[18:26], "big") >> 36 << 36 | total
    return content[:18] + packed.to_bytes(8, "big") + content[26:]


def test_intact_file() -> None:
    np.testing.assert_array_equal(load_audio(a_flac()), decoded(a_flac()))


def test_frame_count_matches_the_length() -> None:
    assert len(frames(a_flac())) == -(-30 * SAMPLE_RATE // FRAME)


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("part", [0.2, 0.6, 0.999])
def test_truncated_file(part: float) -> None:
    """No sample is read twice, which would happen if another decoder started again."""
    cut = a_flac()[: int(len(a_flac()) * part)]
    with pytest.warns(
        AudioWarning, match=r"^the recording: cut off: its header states 30.00 s, but .* s are there$"
    ) as caught:
        samples = load_audio(cut)
    assert len(caught) == 1
    n_whole = sum(at < len(cut) for at in frames(a_flac())) - 1
    assert len(samples) == n_whole * FRAME
    np.testing.assert_array_equal(samples, decoded(a_flac())[: len(samples)])
    with pytest.raises(AudioError, match="cut off"):
        load_audio(cut, strict=True)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("rate", "subtype"), [(16_000, "PCM_16"), (44_100, "PCM_24"), (8000, "PCM_S8")])
def test_damage_loses_only_damaged_frames(rate: int, subtype: str, channels: int) -> None:
    """Later audio keeps its time."""
    content = bytearray(a_flac(20.0, rate, channels, subtype))
    expected = decoded(bytes(content)).reshape(-1, channels)
    begins = frames(bytes(content))
    number = len(begins) // 2
    content[begins[number] + 50] ^= 4
    with pytest.warns(AudioWarning, match=r"damaged at .* s are missing$") as caught:
        samples = np.concatenate([block for _, block in AudioFile(bytes(content)).blocks()])
    assert len(caught) == 1
    assert samples.shape == expected.shape
    good = np.ones(len(expected), bool)
    good[number * FRAME : (number + 1) * FRAME] = False
    np.testing.assert_array_equal(samples[good], expected[good])
    assert not samples[~good].any()
    with pytest.raises(AudioError, match="damaged at"):
        load_audio(bytes(content), strict=True)


@pytest.mark.parametrize("change", ["removed", "zeros", "noise"])
@pytest.mark.parametrize("n", [700, 40_000])
def test_missing_or_overwritten_bytes(change: str, n: int) -> None:
    content = bytearray(a_flac())
    begin = len(content) // 2
    other = {"removed": b"", "zeros": bytes(n), "noise": np.random.default_rng(0).bytes(n)}[change]
    content[begin : begin + n] = other
    with pytest.warns(AudioWarning, match=r"damaged at 1\d\.\d\d s, .* s are missing"):
        samples = load_audio(bytes(content))
    expected = decoded(a_flac())
    assert len(samples) == len(expected)
    wrong = np.flatnonzero(samples != expected)
    assert wrong[-1] - wrong[0] < n * FRAME / 2000 + 2 * FRAME
    assert not samples[wrong].any()


def test_damage_in_many_places() -> None:
    content = bytearray(a_flac())
    for at in np.random.default_rng(1).integers(8000, len(content), 20):
        content[at] ^= 0x10
    with pytest.warns(AudioWarning, match=r"damaged at .*; damaged at .*; and \d+ more$"):
        samples = load_audio(bytes(content))
    expected = decoded(a_flac())
    assert len(samples) == len(expected)
    n_lost = np.count_nonzero(samples != expected) / FRAME
    assert n_lost <= 21


def test_concatenated_files() -> None:
    one, other = a_flac(), a_flac(3.0, 8000, 2)
    for parts in ((one, one), (other, one), (one, other, one), (with_total(one, 0), one)):
        expected = np.concatenate([load_audio(part) for part in parts])
        np.testing.assert_array_equal(load_audio(b"".join(parts)), expected)


@pytest.mark.parametrize("before", [b"", b"ID3\3\0\0\0\0\0\x0a0123456789"])
@pytest.mark.parametrize("after", [b"", b"TAG" + bytes(125), bytes(3000), b"APETAGEX" + bytes(24)])
def test_tags_are_not_damage(before: bytes, after: bytes) -> None:
    for content in (a_flac(), with_total(a_flac(), 0)):
        np.testing.assert_array_equal(load_audio(before + content + after), decoded(a_flac()))


def test_header_without_length() -> None:
    np.testing.assert_array_equal(load_audio(with_total(a_flac(), 0)), decoded(a_flac()))


@pytest.mark.parametrize("total", [1, 300_000, 2**36 - 1])
def test_header_with_wrong_length(total: int) -> None:
    with pytest.warns(AudioWarning, match=r"its header states .* s, but 30.00 s are there"):
        np.testing.assert_array_equal(load_audio(with_total(a_flac(), total)), decoded(a_flac()))


@settings(max_examples=60)
@given(st.data())
def test_random_damage(data: st.DataObject) -> None:
    content = flip_bits(data, a_flac(5.0))
    cut = content[: data.draw(st.integers(1, len(content)))]
    samples = load_damaged(bytes(cut), channel=0)
    if samples is None:
        return
    if content[:42] == a_flac(5.0)[:42]:
        expected = decoded(a_flac(5.0))
        assert len(samples) <= len(expected)
        right = samples == expected[: len(samples)]
        assert not samples[~right].any()
