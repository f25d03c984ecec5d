"""MPEG audio of constant and variable bit rate: with and without a Xing header, damaged, concatenated, tagged."""

import io
import shutil
import subprocess
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
from whisper_apr.audio.mpeg import _frame_parameters, _frame_sizes
from whisper_apr.errors import AudioError, AudioWarning

SECONDS = 20.0
ID3V2 = b"ID3\3\0\0\0\0\2\0" + b"TIT2\0\0\0\x06\0\0\0title" + bytes(300 - 22) + b"\xff\xfb\x90\x64" * 5
ID3V2 = ID3V2[:8] + bytes([(len(ID3V2) - 10) >> 7, (len(ID3V2) - 10) & 0x7F]) + ID3V2[10:]
ID3V1 = b"TAG" + b"title".ljust(125, b"\0")
APE = (
    b"APETAGEX"
    + (2000).to_bytes(4, "little")
    + (32).to_bytes(4, "little")
    + bytes(4)
    + (1 << 31).to_bytes(4, "little")
    + bytes(8)
)
LYRICS = b"LYRICSBEGIN" + b"la " * 50 + b"LYRICS200"

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is not on PATH")


@cache
def an_mp3(mode: str = "CONSTANT", rate: int = SAMPLE_RATE, channels: int = 1, seconds: float = SECONDS) -> bytes:
    """Return an MP3 made by LAME, whose first frame states the number of frames."""
    x = np.resize(speech("en_long"), round(seconds * rate))
    x = x * np.resize(
        np.repeat([1.0, 0.01], 3 * rate), len(x)
    )  # loud and quiet parts, for which VBR uses more and fewer bits
    file = io.BytesIO()
    soundfile.write(file, np.tile(x[:, None], channels), rate, format="MP3", bitrate_mode=mode, compression_level=0.5)
    return file.getvalue()


def frames(content: bytes) -> list[int]:
    """Return the offsets of the frames of a file without tags."""
    at, found = 0, []
    while at + 4 <= len(content):
        size = _frame_sizes()[content[at + 1] << 8 | content[at + 2]]
        assert content[at] == 0xFF
        assert size
        found.append(at)
        at += size
    return found


def bare(content: bytes) -> bytes:
    """Return the file without its first frame, which states the length."""
    return content[frames(content)[1] :]


@cache
def all_of(content: bytes) -> Any:
    return load_audio(content, channel="each")


# ---- headers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "third", "expected"),
    [
        (0xFB, 0x90, (417, 1152, 44_100)),  # MPEG 1, layer III, 128 kbit/s
        (0xFB, 0x92, (418, 1152, 44_100)),  # with padding
        (0xFB, 0xE4, (960, 1152, 48_000)),
        (0xF3, 0x44, (96, 576, 24_000)),  # MPEG 2
        (0xE3, 0x48, (288, 576, 8000)),  # MPEG 2.5
        (0xFD, 0x80, (417, 1152, 44_100)),  # layer II
        (0xFF, 0x10, (32, 384, 44_100)),  # layer I: in slots of four bytes
        (0xEB, 0x90, None),  # a version that does not exist
        (0xF9, 0x90, None),  # the beginning of AAC
        (0xFB, 0x00, None),  # a free-format bit rate
        (0xFB, 0xF0, None),
        (0xFB, 0x9C, None),  # no sampling rate
        (0x7B, 0x90, None),
    ],
)
def test_frame_parameters(second: int, third: int, expected: Any) -> None:
    assert _frame_parameters(second, third) == expected


# ---- lengths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8000, 1), (24_000, 2), (48_000, 1)])
def test_intact_files_equal_libsndfile(mode: str, rate: int, channels: int) -> None:
    content = an_mp3(mode, rate, channels, 5.0)
    x, _ = soundfile.read(io.BytesIO(content), always_2d=True, dtype="float32")
    samples = load_audio(content, channel="each")
    assert len(samples) == -(-len(x) * SAMPLE_RATE // rate) == 5 * SAMPLE_RATE
    if rate == SAMPLE_RATE:
        np.testing.assert_allclose(samples, x, rtol=0, atol=2e-7)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_without_a_xing_header(mode: str) -> None:
    """libmpg123 estimates the length, and libsndfile stops there."""
    content = bare(an_mp3(mode))
    n = len(frames(content)) * 576
    samples = load_audio(content)
    assert len(samples) == n > SECONDS * SAMPLE_RATE
    whole = load_audio(an_mp3(mode))
    late = n - len(whole)  # encoder delay and padding, which the first frame states
    best = max(range(late + 1), key=lambda i: float(samples[i : i + 50_000] @ whole[:50_000]))
    np.testing.assert_allclose(samples[best:][: len(whole)], whole, rtol=0, atol=1e-5)


def test_length_estimate_from_atypical_first_frames() -> None:
    """If the first frames are the smallest or the largest, an estimate from them is far too long or too short."""
    loud, quiet = speech("en_long")[: 5 * SAMPLE_RATE], np.zeros(5 * SAMPLE_RATE, np.float32)
    for x in (np.concatenate([loud, quiet]), np.concatenate([quiet, loud])):
        file = io.BytesIO()
        soundfile.write(file, x, SAMPLE_RATE, format="MP3", bitrate_mode="VARIABLE", compression_level=0.1)
        content = bare(file.getvalue())
        assert len(load_audio(content)) == len(frames(content)) * 576 >= 10 * SAMPLE_RATE


@pytest.mark.parametrize("part", [0.2, 0.6, 0.999])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.usefixtures("no_ffmpeg")
def test_truncated_file(mode: str, part: float) -> None:
    for content, match in ((an_mp3(mode), "its header states"), (bare(an_mp3(mode)), "within a frame")):
        whole = load_audio(content)
        cut = content[: int(len(content) * part)]
        with pytest.warns(
            AudioWarning, match="cut off.*" if part == 0.999 else f"^the recording: cut off.*{match}"
        ) as caught:
            samples = load_audio(cut)
        assert len(caught) == 1
        n = sum(begin < len(cut) for begin in frames(content)) - 1
        assert n * 576 - 1800 <= len(samples) <= n * 576
        np.testing.assert_array_equal(samples, whole[: len(samples)])
        with pytest.raises(AudioError, match="cut off"):
            load_audio(cut, strict=True)


def test_stated_length_too_small() -> None:
    content = bytearray(an_mp3())
    at = content.index(b"Info") + 8 if b"Info" in content[:200] else content.index(b"Xing") + 8
    content[at : at + 4] = (100).to_bytes(4, "big")
    with pytest.warns(AudioWarning, match=r"its header states 3.60 s, but 20.\d\d s are there"):
        samples = load_audio(bytes(content))
    assert len(samples) >= 20 * SAMPLE_RATE


# ---- concatenation and tags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "between", [b"", ID3V1, ID3V2, ID3V1 + ID3V2, APE + bytes(2000 - 32), LYRICS + ID3V1, bytes(5000)]
)
def test_concatenated_files(between: bytes) -> None:
    for one in (an_mp3(), an_mp3("VARIABLE")):
        expected = np.concatenate([all_of(one), all_of(one)])
        np.testing.assert_array_equal(load_audio(one + between + one, channel="each"), expected)


def test_concatenated_files_with_other_rates_and_channels() -> None:
    one, other = an_mp3(seconds=3.0), an_mp3("VARIABLE", 44_100, 2, 3.0)
    for a, b in ((one, other), (bare(one), bare(other)), (other, bare(one))):
        assert len(load_audio(a + b)) == len(load_audio(a)) + len(load_audio(b))


def test_concatenated_files_without_a_xing_header() -> None:
    content = bare(an_mp3())
    assert len(load_audio(content + content)) == 2 * len(load_audio(content))


@pytest.mark.parametrize("before", [b"", ID3V2, ID3V2 + bytes(1000), ID3V2 + ID3V2, ID3V1, b"junk" * 200])
@pytest.mark.parametrize("after", [b"", ID3V1, APE, LYRICS + ID3V1, bytes(700)])
def test_tags_are_skipped(before: bytes, after: bytes) -> None:
    for content in (an_mp3(), bare(an_mp3())):
        np.testing.assert_array_equal(load_audio(before + content + after, channel="each"), all_of(content))


@pytest.mark.usefixtures("no_ffmpeg")
def test_file_that_begins_within_a_frame() -> None:
    """As a part of a stream does."""
    content = an_mp3()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)  # the first frame may need bytes of the previous one
        samples = load_audio(content[frames(content)[7] + 50 :])
    assert len(samples) == (len(frames(content)) - 8) * 576


# ---- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["noise", "zeros"])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_audio_after_damage_keeps_its_time(mode: str, change: str, capfd: pytest.CaptureFixture[str]) -> None:
    content, whole = bytearray(an_mp3(mode)), load_audio(an_mp3(mode))
    begins = frames(bytes(content))
    begin, end = begins[len(begins) // 2] + 10, begins[len(begins) // 2 + 8] + 10
    content[begin:end] = bytes(end - begin) if change == "zeros" else np.random.default_rng(3).bytes(end - begin)
    with pytest.warns(AudioWarning, match=r"damaged at \d+\.\d\d s") as caught:
        samples = load_audio(bytes(content))
    assert len(caught) == 1
    # at a variable bit rate, the number of lost frames is an estimate
    assert abs(len(samples) - len(whole)) <= (2 if mode == "CONSTANT" else 5) * 576
    np.testing.assert_array_equal(samples[: 8 * SAMPLE_RATE], whole[: 8 * SAMPLE_RATE])
    with pytest.raises(AudioError, match=r"damaged (at|between)"):
        load_audio(bytes(content), strict=True)
    assert capfd.readouterr() == ("", "")


def test_missing_bytes() -> None:
    content = bytearray(an_mp3())
    begins = frames(bytes(content))
    del content[begins[100] + 20 : begins[130] + 60]
    with pytest.warns(AudioWarning, match=r"damaged at .* s, \d+ bytes"):
        samples = load_audio(bytes(content))
    assert len(samples) == pytest.approx((len(begins) - 31) * 576, abs=4 * 576)


def test_damage_within_a_frame_warns_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """libmpg123 only prints it to standard error, which is captured."""
    content = bytearray(an_mp3("CONSTANT", 44_100, 2, 5.0))
    begins = frames(bytes(content))
    for i in range(40, 60):
        content[begins[i] + 60 : begins[i] + 200] = np.random.default_rng(i).bytes(140)
    with pytest.warns(AudioWarning, match=r"^the recording: damaged between 0.00 s and 5.0\d s$"):
        samples = load_audio(bytes(content))
    assert len(samples) == 5 * SAMPLE_RATE
    assert capfd.readouterr() == ("", "")


@settings(max_examples=30)
@given(st.data())
def test_random_damage(data: st.DataObject) -> None:
    content = flip_bits(data, an_mp3(data.draw(st.sampled_from(["CONSTANT", "VARIABLE"])), seconds=3.0))
    samples = load_damaged(bytes(content[: data.draw(st.integers(1, len(content)))]))
    if samples is None:
        return
    assert len(samples) < 4 * SAMPLE_RATE


# ---- layers I and II ------------------------------------------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.parametrize(("rate", "kbit"), [(44_100, 64), (16_000, 32), (48_000, 192)])
def test_layer_2(tmp_path: Any, rate: int, kbit: int) -> None:
    """No frame states the length, and frames of two sizes alternate."""
    path = tmp_path / "x.mp2"
    sound = (speech("en_long")[: 10 * SAMPLE_RATE] * 2**15).astype("<i2").tobytes()
    command = f"ffmpeg -nostdin -v error -f s16le -ar 16000 -ac 1 -i pipe:0 -ar {rate} -b:a {kbit}k"
    subprocess.run([*command.split(), str(path)], input=sound, check=True)
    content = path.read_bytes()
    n = len(frames(content)) * 1152
    assert len(load_audio(path)) == -(-n * SAMPLE_RATE // rate)
    assert len(load_audio(content + content)) == pytest.approx(2 * n * SAMPLE_RATE / rate, abs=2)
