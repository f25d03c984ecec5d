"""Loading recordings from files of many formats, bytes, file objects and arrays."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recordings import DATA, OTHER_CHUNKS, speech, wav
from whisper_apr.audio import SAMPLE_RATE, blocks, load_audio, pad_or_trim, stream_audio
from whisper_apr.errors import AudioError

RATES = (8000, 16_000, 22_050, 44_100, 48_000, 96_000)


def ramp(n: int = 1000) -> np.ndarray:
    """Return 24-bit samples in which every bit is used."""
    return (np.arange(n) * 8_388_607 // n - 4_194_304).astype(np.int32)


# ---- WAV encodings (samples need not begin at byte 44) --------------------------------------------------------------


@pytest.mark.parametrize("extensible", [False, True], ids=["plain", "extensible"])
@pytest.mark.parametrize("before", [b"", OTHER_CHUNKS], ids=["", "chunks before"])
@pytest.mark.parametrize("after", [b"", OTHER_CHUNKS], ids=["", "chunks after"])
@pytest.mark.parametrize(
    ("kind", "bits", "encode", "step"),
    [
        (1, 8, lambda x: ((x >> 16) + 128).astype(np.uint8).tobytes(), 2**-7),
        (1, 16, lambda x: (x >> 8).astype("<i2").tobytes(), 2**-15),
        (1, 24, lambda x: x.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes(), 2**-23),
        (1, 32, lambda x: (x << 8).astype("<i4").tobytes(), 2**-24),
        (3, 32, lambda x: (x / 2**23).astype("<f4").tobytes(), 2**-24),
        (3, 64, lambda x: (x / 2**23).astype("<f8").tobytes(), 2**-24),
    ],
    ids=["8 bits", "16 bits", "24 bits", "32 bits", "float", "double"],
)
def test_wav_encodings(
    extensible: bool, before: bytes, after: bytes, kind: int, bits: int, encode: Any, step: float
) -> None:
    x = ramp()
    content = wav(encode(x), kind=kind, bits=bits, before=before, after=after, extensible=extensible)
    samples = load_audio(content)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, x / 2**23, rtol=0, atol=step)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "W64"])
def test_other_formats(kind: str) -> None:
    x = speech("en")
    file = io.BytesIO()
    soundfile.write(file, x, SAMPLE_RATE, format=kind)
    samples = load_audio(file.getvalue())
    assert len(samples) == pytest.approx(len(x), abs=2400)  # MP3 pads its frames
    lossy = kind in ("OGG", "MP3")
    assert np.corrcoef(samples[: len(x)], x[: len(samples)])[0, 1] > (0.9 if lossy else 0.999999)


@pytest.mark.parametrize("path", sorted(DATA.glob("*.wav")) + sorted(DATA.glob("*.flac")), ids=lambda path: path.name)
def test_committed_recordings(path: Path) -> None:
    samples = load_audio(path)
    head = soundfile.info(path)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == -(-head.frames * SAMPLE_RATE // head.samplerate)
    assert np.abs(samples).max() <= 1.2


# ---- the same audio from every source -------------------------------------------------------------------------------


def test_path_bytes_file_and_array_agree(tmp_path: Path) -> None:
    path = DATA / "de.wav"
    expected = load_audio(path)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(load_audio(file), expected)
    with open(path, "rb", buffering=0) as file:
        np.testing.assert_array_equal(load_audio(file), expected)
    for source in (str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), soundfile.read(path, dtype="int16")[0]):
        np.testing.assert_array_equal(load_audio(source), expected)


def test_unseekable_file() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self.rest = io.BytesIO(content)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self.rest.readinto(buffer)

    path = DATA / "de.wav"
    np.testing.assert_array_equal(load_audio(io.BufferedReader(Pipe(path.read_bytes()))), load_audio(path))


def test_partly_read_file() -> None:
    content = (DATA / "de.wav").read_bytes()
    file = io.BytesIO(b"some other file's head" + content)
    file.seek(22)
    assert file.read(0) == b""
    with pytest.raises(AudioError):  # from its beginning, it is not a recording
        load_audio(io.BytesIO(b"some other file's head" + content))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_files_and_arrays_agree_at_any_rate(rate: int, channels: int) -> None:
    x = np.random.default_rng(rate).uniform(-0.5, 0.5, (rate // 2, channels)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, x, rate, format="WAV", subtype="FLOAT")
    samples = load_audio(file.getvalue())
    assert len(samples) == SAMPLE_RATE // 2
    np.testing.assert_allclose(load_audio(x, sampling_rate=rate), samples, rtol=0, atol=1e-6)
    mono = x.mean(axis=1)
    np.testing.assert_allclose(load_audio(mono, sampling_rate=rate), samples, rtol=0, atol=1e-6)


def test_five_channels_at_96_khz() -> None:
    t = np.arange(96_000) / 96_000
    x = np.stack([np.sin(2 * np.pi * 300 * t) * level for level in (0.1, 0.2, 0.3, 0.4, 0.5)], axis=1)
    file = io.BytesIO()
    soundfile.write(file, x, 96_000, format="WAV", subtype="PCM_24")
    samples = load_audio(file.getvalue())
    expected = 0.3 * np.sin(2 * np.pi * 300 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    assert len(samples) == SAMPLE_RATE
    np.testing.assert_allclose(samples[400:-400], expected[400:-400], atol=2e-3)  # the passband ripple


def test_sampling_rate_of_an_array() -> None:
    """An array is taken to be at 16 kHz by default; at 8 kHz it becomes twice as long."""
    x = np.sin(np.arange(4000) / 3).astype(np.float32)
    np.testing.assert_array_equal(load_audio(x), x)
    assert len(load_audio(x, sampling_rate=8000)) == 8000
    assert len(load_audio(x, sampling_rate=48_000)) == 1334


def test_sampling_rate_of_a_file_is_in_the_file() -> None:
    np.testing.assert_array_equal(load_audio(DATA / "en.wav", sampling_rate=8000), load_audio(DATA / "en.wav"))


@pytest.mark.parametrize(
    ("dtype", "full"),
    [(np.int8, 2**7), (np.int16, 2**15), (np.int32, 2**31), (np.int64, 2**63), (np.float16, 1), (np.float64, 1)],
)
def test_array_dtypes(dtype: Any, full: float) -> None:
    x = np.array([0, 0.5, -0.5, -1])
    samples = load_audio((x * full).astype(dtype))
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, x, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_unsigned_arrays_are_centered(dtype: Any) -> None:
    half = (int(np.iinfo(dtype).max) + 1) // 2
    np.testing.assert_allclose(load_audio(np.array([0, half, half + half // 2], dtype)), [-1, 0, 0.5], atol=1e-7)


def test_strided_arrays() -> None:
    x = np.arange(600, dtype=np.int16).reshape(2, 300).T[::-3]
    np.testing.assert_array_equal(load_audio(x), load_audio(np.ascontiguousarray(x)))
    np.testing.assert_array_equal(load_audio(x.astype(">i2")), load_audio(np.ascontiguousarray(x)))


def test_the_input_array_is_not_changed() -> None:
    x = np.arange(1000, dtype=np.float32) / 1000
    before = x.copy()
    load_audio(x, sampling_rate=8000)
    np.testing.assert_array_equal(x, before)


# ---- blocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["en_long.flac", "en_stereo_44k.flac", "en_8k_telephone.wav"])
def test_concatenated_blocks_equal_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_audio(DATA / name)
    monkeypatch.setattr(blocks, "BLOCK_SECONDS", 1)
    parts = list(stream_audio(DATA / name))
    assert len(parts) >= 7
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-7)


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    """4 minutes of stereo at 44.1 kHz are 85 MB as float32; a block and its buffers are far smaller."""
    import tracemalloc

    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 44_100, 2, "PCM_16") as file:
        second = np.random.default_rng(0).integers(-9999, 9999, (44_100, 2), np.int16)
        for _ in range(240):
            file.write(second)
    tracemalloc.start()
    n_samples = sum(len(block) for block in stream_audio(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_samples == 240 * SAMPLE_RATE
    assert peak < 20e6


# ---- pad_or_trim ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 4, 5, 6, 100])
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_pad_or_trim(length: int, axis: int) -> None:
    x = np.arange(1, 36, dtype=np.float32).reshape(5, 7)
    y = pad_or_trim(x, length, axis=axis)
    assert y.shape == tuple(length if i == axis % 2 else n for i, n in enumerate(x.shape))
    kept = tuple(slice(min(a, b)) for a, b in zip(x.shape, y.shape, strict=True))
    np.testing.assert_array_equal(y[kept], x[kept])
    assert y.sum() == x[kept].sum()


def test_pad_or_trim_makes_30_s() -> None:
    assert pad_or_trim(np.ones(5, np.float32)).shape == (480_000,)
    assert pad_or_trim(np.ones(500_000, np.float32)).shape == (480_000,)
