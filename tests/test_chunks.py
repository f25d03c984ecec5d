"""WAV and its relatives, AIFF, CAF and AU, with correct, wrong and open lengths in their headers."""

import io
import struct
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from damage import load_damaged
from recordings import OTHER_CHUNKS, chunk, wav
from whisper_apr.audio import SAMPLE_RATE, load_audio
from whisper_apr.errors import AudioError, AudioWarning

N = 4000
SOUND = (np.sin(np.arange(N) / 5) * 20_000).astype("<i2")  # not zero at its ends
EXPECTED = SOUND.astype(np.float32) / 2**15
PIPE_LENGTHS = {
    "0": 0,
    "FFmpeg": 0xFFFFFFFF,
    "the largest, less a head": 0xFFFFFFFF - 36,
    "SoX and eSpeak": 0x7FFFF000,
    "SoX, AIFF": 0x7F000008,
    "the largest signed": 0x7FFFFFFF,
    "arecord": 0x80000000,
}


def a_file(
    kind: str, subtype: str = "PCM_16", samples: Any = SOUND, rate: int = SAMPLE_RATE, endian: str = "FILE"
) -> bytearray:
    file = io.BytesIO()
    if subtype in ("FLOAT", "DOUBLE") and samples is SOUND:  # soundfile does not scale integers to floats
        samples = EXPECTED
    soundfile.write(file, samples, rate, format=kind, subtype=subtype, endian=endian)
    return bytearray(file.getvalue())


def where(content: bytes, name: bytes) -> int:
    """Return the offset after a chunk's identifier."""
    return content.index(name) + len(name)


# How to write the length of the samples, and what it counts besides them.
LENGTHS = {
    "WAV": (b"data", "<I", 0),
    "RIFX": (b"data", ">I", 0),
    "AIFF": (b"SSND", ">I", 8),
    "CAF": (b"data", ">Q", 4),
    "W64": (b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a"), "<Q", 24),
    "AU": (b".snd\0\0\0\x18", ">I", 0),
    "RF64": (b"ds64", "<Q", 0),
}


def with_length(kind: str, length: int, samples: Any = SOUND) -> bytearray:
    """Return a file whose header states this length of the samples, in bytes."""
    content = a_file("WAV", samples=samples, endian="BIG") if kind == "RIFX" else a_file(kind, samples=samples)
    name, code, more = LENGTHS[kind]
    at = where(content, b"ds64") + 12 if kind == "RF64" else where(content, name)
    struct.pack_into(code, content, at, min(length + more, 2 ** (8 * struct.calcsize(code)) - 1))
    return content


def read(content: bytes) -> Any:
    """Load without a warning, which would be an error in the tests."""
    return load_audio(bytes(content))


# ---- lengths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LENGTHS)
def test_correct_length(kind: str) -> None:
    np.testing.assert_allclose(read(with_length(kind, 2 * N)), EXPECTED, rtol=0, atol=1e-7)


@pytest.mark.parametrize("length", PIPE_LENGTHS.values(), ids=PIPE_LENGTHS)
@pytest.mark.parametrize("kind", ["WAV", "RIFX", "AIFF", "AU"])
def test_open_length(kind: str, length: int) -> None:
    """Everything is read, without a warning."""
    np.testing.assert_allclose(read(with_length(kind, length)), EXPECTED, rtol=0, atol=1e-7)


@pytest.mark.parametrize("length", [0, 2**64 - 1, 2**63 - 1])
@pytest.mark.parametrize("kind", ["CAF", "W64", "RF64"])
def test_open_64_bit_length(kind: str, length: int) -> None:
    content = with_length(kind, length)
    if kind == "W64":
        struct.pack_into("<Q", content, 16, length)  # the file's length, too
    np.testing.assert_allclose(read(content), EXPECTED, rtol=0, atol=1e-7)


@pytest.mark.parametrize("subtype", ["PCM_16", "ULAW", "FLOAT"])
@pytest.mark.parametrize("kind", LENGTHS)
def test_truncated_file(kind: str, subtype: str) -> None:
    """The samples that exist are read, with one warning; an intact file gives none."""
    whole = a_file("WAV", subtype, endian="BIG") if kind == "RIFX" else a_file(kind, subtype)
    expected = read(whole)
    head = len(whole) - N * {"PCM_16": 2, "ULAW": 1, "FLOAT": 4}[subtype]
    content = bytes(whole[: head + (len(whole) - head) * 6 // 10])
    with pytest.warns(
        AudioWarning, match="^the recording: cut off: its header states .* bytes of samples, but .* are there$"
    ) as caught:
        samples = load_audio(content)
    assert len(caught) == 1
    assert 0.5 * N < len(samples) < 0.65 * N
    np.testing.assert_array_equal(samples, expected[: len(samples)])
    with pytest.raises(AudioError, match=r"^the recording: cut off"):
        load_audio(content, strict=True)


@pytest.mark.parametrize("factor", [3, 98])
@pytest.mark.parametrize("kind", LENGTHS)
def test_stated_length_too_large(kind: str, factor: int) -> None:
    with pytest.warns(AudioWarning, match="cut off"):
        np.testing.assert_allclose(load_audio(bytes(with_length(kind, 2 * N * factor))), EXPECTED, rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", LENGTHS)
def test_stated_length_too_small(kind: str) -> None:
    """The writer was killed, or the length of more than 4 GiB has wrapped around."""
    with pytest.warns(
        AudioWarning, match="its header states 400 bytes of samples, but .* are there, all of which are read"
    ):
        samples = load_audio(bytes(with_length(kind, 400)))
    np.testing.assert_allclose(samples[:N], EXPECTED, rtol=0, atol=1e-7)
    assert len(samples) <= N + 8


@pytest.mark.parametrize(
    "after", [b"", b"\0", bytes(5000), OTHER_CHUNKS, b"ID3\3\0\0\0\0\0\x0a0123456789", b"TAG" + bytes(125)]
)
def test_data_after_the_samples(after: bytes) -> None:
    np.testing.assert_array_equal(read(wav(SOUND.tobytes(), after=after)), EXPECTED)


def test_chunks_after_empty_samples() -> None:
    for after in (OTHER_CHUNKS, chunk(b"LIST", b"INFO"), b""):
        with pytest.raises(AudioError, match="no samples in it"):
            read(wav(b"", after=after))


def test_silence_of_open_length() -> None:
    content = bytearray(wav(bytes(2 * N)))
    struct.pack_into("<I", content, 40, 0)
    np.testing.assert_array_equal(read(content), np.zeros(N))


def test_incomplete_last_sample() -> None:
    """The last bytes are not a complete sample, or not one of every channel."""
    content = wav(SOUND.tobytes() + b"x", channels=3)
    np.testing.assert_allclose(read(content), EXPECTED[: N // 3 * 3].reshape(-1, 3).mean(axis=1), rtol=0, atol=1e-7)


@given(st.integers(0, 2**32 - 1), st.integers(0, 200), st.sampled_from([b"", OTHER_CHUNKS, b"\1\2\3" * 40]))
def test_any_stated_length(length: int, n: int, after: bytes) -> None:
    """No sample is invented or read twice, and no error is raised but ours."""
    content = bytearray(wav(SOUND[:n].tobytes(), after=after))
    struct.pack_into("<I", content, 40, length)
    samples = load_damaged(bytes(content))
    if samples is None:
        assert n == 0 or length == 0 or length == 1
        return
    assert len(samples) <= (len(content) - 44) // 2
    both = min(len(samples), n)
    np.testing.assert_array_equal(samples[:both], EXPECTED[:both])


# ---- concatenated files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*LENGTHS, "WAV, ULAW", "WAV, IMA_ADPCM", "AIFF, ALAW"])
def test_concatenated_files(kind: str) -> None:
    name, _, subtype = kind.partition(", ")
    one = a_file("WAV", endian="BIG") if name == "RIFX" else a_file(name, subtype or "PCM_16")
    expected = read(one)
    np.testing.assert_array_equal(read(one + one), np.concatenate([expected, expected]))
    other = wav(SOUND[:500].tobytes(), after=OTHER_CHUNKS)
    joined = read(bytes(one) + other + bytes(one))
    np.testing.assert_array_equal(joined, np.concatenate([expected, EXPECTED[:500], expected]))


def test_concatenated_files_with_different_rates() -> None:
    content = wav(SOUND.tobytes(), rate=8000) + wav(SOUND.tobytes(), channels=2)
    assert len(read(content)) == 2 * N + N // 2


# ---- sample encodings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "subtype", "atol"),
    [
        ("WAV", "PCM_24", 2**-22),
        ("WAV", "PCM_32", 2**-22),
        ("WAV", "PCM_U8", 2**-6),
        ("WAV", "FLOAT", 1e-7),
        ("WAV", "DOUBLE", 1e-7),
        ("WAVEX", "PCM_16", 1e-7),
        ("WAVEX", "PCM_24", 2**-22),
        ("WAVEX", "FLOAT", 1e-7),
        ("WAV", "ULAW", 0.03),
        ("WAV", "ALAW", 0.03),
        ("WAVEX", "ULAW", 0.03),
        ("WAV", "IMA_ADPCM", 0.1),
        ("WAV", "MS_ADPCM", 0.1),
        ("WAV", "GSM610", 0.5),
        ("WAV", "G721_32", 0.1),
        ("AIFF", "PCM_24", 2**-22),
        ("AIFF", "PCM_S8", 2**-6),
        ("AIFF", "FLOAT", 1e-7),
        ("AIFF", "ALAW", 0.03),
        ("AIFF", "IMA_ADPCM", 0.1),
        ("CAF", "PCM_24", 2**-22),
        ("CAF", "DOUBLE", 1e-7),
        ("CAF", "ULAW", 0.03),
        ("AU", "PCM_24", 2**-22),
        ("AU", "FLOAT", 1e-7),
        ("AU", "ULAW", 0.03),
        ("W64", "PCM_24", 2**-22),
        ("W64", "FLOAT", 1e-7),
        ("W64", "ULAW", 0.03),
        ("RF64", "PCM_24", 2**-22),
        ("RF64", "FLOAT", 1e-7),
        ("RF64", "ULAW", 0.03),
    ],
)
def test_every_encoding(kind: str, subtype: str, atol: float) -> None:
    samples = read(a_file(kind, subtype))
    assert N <= len(samples) <= N + 1100  # block codecs pad the last block
    np.testing.assert_allclose(
        samples[20:N], EXPECTED[20:], rtol=0, atol=atol
    )  # adaptive codecs need some samples to adapt


@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2, 7])
def test_wav_samples_equal_libsndfile(order: str, subtype: str, channels: int) -> None:
    noise = np.random.default_rng(channels).uniform(-1, 1, (300, channels))
    content = bytes(a_file("WAV", subtype, noise, endian=order))
    expected = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0]
    np.testing.assert_array_equal(load_audio(content, channel="each"), expected)


def test_fewer_bits_than_bytes() -> None:
    """20-bit samples are in the upper bits of three or four bytes."""
    x = SOUND.astype("<i4")
    three = (x << 8).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    content = bytearray(wav(three, bits=24))
    struct.pack_into("<H", content, 34, 20)
    np.testing.assert_array_equal(read(content), EXPECTED)
    content = bytearray(wav((x << 16).tobytes(), bits=32))
    struct.pack_into("<H", content, 34, 20)
    np.testing.assert_array_equal(read(content), EXPECTED)


def test_half_floats() -> None:
    np.testing.assert_allclose(read(wav(EXPECTED.astype("<f2").tobytes(), kind=3, bits=16)), EXPECTED, atol=1e-3)


@pytest.mark.parametrize("kind", [0x50, 0x55])
def test_mp3_in_a_wav(kind: int) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.tile(SOUND, 10), SAMPLE_RATE, format="MP3")
    expected = read(file.getvalue())
    np.testing.assert_array_equal(read(wav(file.getvalue(), kind=kind, after=OTHER_CHUNKS)), expected)


@pytest.mark.parametrize("align", [0, 1, 7, 0xFFFF])
def test_invalid_sample_size(align: int) -> None:
    content = bytearray(wav(SOUND.tobytes(), channels=2))
    struct.pack_into("<H", content, 32, align)
    np.testing.assert_allclose(read(content), EXPECTED.reshape(-1, 2).mean(axis=1), rtol=0, atol=1e-7)


# ---- NaN and implausible samples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, 1e30, -2.2e9])
def test_nan_samples_become_silence(bits: int, bad: float) -> None:
    x = EXPECTED.astype(f"<f{bits // 8}")
    with np.errstate(over="ignore"):
        x[1000:1010] = bad
    content = wav(x.tobytes(), kind=3, bits=bits)
    with pytest.warns(AudioWarning, match="10 samples from 0.00 s on are not numbers"):
        samples = load_audio(content)
    expected = EXPECTED.copy()
    expected[1000:1010] = 0
    np.testing.assert_array_equal(samples, expected)
    with pytest.raises(AudioError, match="10 samples"):
        load_audio(content, strict=True)


@pytest.mark.parametrize("largest", [2.0**31, -(2.0**31), 32768.0])
def test_floats_at_the_scale_of_integers_are_kept(largest: float) -> None:
    """They warn of a doubtful scale, but not of damage."""
    x = (EXPECTED / np.abs(EXPECTED).max() * largest).astype("<f4")
    with pytest.warns(AudioWarning, match="where full scale is 1"):
        np.testing.assert_array_equal(load_audio(wav(x.tobytes(), kind=3, bits=32)), x)


# ---- hostile headers ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_ffmpeg")
def test_a_million_chunks() -> None:
    """Their cost is limited."""
    with pytest.raises(AudioError):
        read(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 1_000_000)


@pytest.mark.parametrize("channels", [0, 65, 65535])
@pytest.mark.parametrize("rate", [0, 99, 1_000_001, 2**32 - 1])
def test_header_values_out_of_range(channels: int, rate: int) -> None:
    content = bytearray(wav(bytes(100), bits=8))
    struct.pack_into("<HI", content, 22, channels, rate)
    with pytest.raises(AudioError):
        read(content)
