"""Recordings in: files of many kinds, bytes, file objects, arrays; and what cannot be read."""

import io
import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recordings import DATA, speech
from whisper_apr.audio import SAMPLE_RATE, load, load_audio, pad_or_trim, stream_audio
from whisper_apr.errors import AudioError

RATES = (8000, 16_000, 22_050, 44_100, 48_000, 96_000)


def wav(
    samples: bytes,
    *,
    kind: int = 1,
    channels: int = 1,
    rate: int = SAMPLE_RATE,
    bits: int = 16,
    before: bytes = b"",
    after: bytes = b"",
    extensible: bool = False,
) -> bytes:
    """A WAV file by hand: `before` and `after` are chunks about the samples."""
    block = channels * bits // 8
    layout = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, channels, rate, rate * block, block, bits)
    if extensible:  # the kind is a GUID's first bytes
        guid = struct.pack("<H", kind) + bytes.fromhex("000000001000800000aa00389b71")
        layout += struct.pack("<HHI", 22, bits, (1 << channels) - 1) + guid
    body = chunk(b"fmt ", layout) + before + chunk(b"data", samples) + after
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def ramp(n: int = 1000) -> np.ndarray:
    """Every bit of 24 is used."""
    return (np.arange(n) * 8_388_607 // n - 4_194_304).astype(np.int32)


# ---- what a WAV may look like (its samples need not begin at byte 44) ----------------------------------------------

LIST = chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf60.16.100\0") + chunk(b"bext", bytes(601)) + chunk(b"fact", bytes(4))


@pytest.mark.parametrize("extensible", [False, True], ids=["plain", "extensible"])
@pytest.mark.parametrize("before", [b"", LIST], ids=["", "chunks before"])
@pytest.mark.parametrize("after", [b"", LIST], ids=["", "chunks after"])
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
def test_every_wav(
    extensible: bool, before: bytes, after: bytes, kind: int, bits: int, encode: Any, step: float
) -> None:
    x = ramp()
    content = wav(encode(x), kind=kind, bits=bits, before=before, after=after, extensible=extensible)
    samples = load_audio(content)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, x / 2**23, rtol=0, atol=step)


def test_a_length_that_the_writer_left_open() -> None:
    x = ramp(500) >> 8
    for length in (0xFFFFFFFF, 0):
        content = bytearray(wav(x.astype("<i2").tobytes()))
        content[40:44] = struct.pack("<I", length)
        samples = load_audio(bytes(content)) if length else None
        if samples is not None:
            np.testing.assert_array_equal(samples, x.astype(np.float32) / 2**15)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "W64"])
def test_other_kinds(kind: str) -> None:
    x = speech("en")
    file = io.BytesIO()
    soundfile.write(file, x, SAMPLE_RATE, format=kind)
    samples = load_audio(file.getvalue())
    assert len(samples) == pytest.approx(len(x), abs=2400)  # MP3 pads its blocks
    lossy = kind in ("OGG", "MP3")
    assert np.corrcoef(samples[: len(x)], x[: len(samples)])[0, 1] > (0.9 if lossy else 0.999999)


@pytest.mark.parametrize("path", sorted(DATA.glob("*.wav")) + sorted(DATA.glob("*.flac")), ids=lambda path: path.name)
def test_the_committed_recordings(path: Path) -> None:
    samples = load_audio(path)
    head = soundfile.info(path)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == -(-head.frames * SAMPLE_RATE // head.samplerate)
    assert np.abs(samples).max() <= 1.2


# ---- the same sound by every way ------------------------------------------------------------------------------------


def test_path_bytes_file_and_array_agree(tmp_path: Path) -> None:
    path = DATA / "de.wav"
    expected = load_audio(path)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(load_audio(file), expected)
    with open(path, "rb", buffering=0) as file:
        np.testing.assert_array_equal(load_audio(file), expected)
    for source in (str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), soundfile.read(path, dtype="int16")[0]):
        np.testing.assert_array_equal(load_audio(source), expected)


def test_a_file_that_cannot_be_sought_in() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self.rest = io.BytesIO(content)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self.rest.readinto(buffer)

    path = DATA / "de.wav"
    np.testing.assert_array_equal(load_audio(io.BufferedReader(Pipe(path.read_bytes()))), load_audio(path))


def test_a_file_that_was_read_from() -> None:
    content = (DATA / "de.wav").read_bytes()
    file = io.BytesIO(b"a head of another kind" + content)
    file.seek(22)
    assert file.read(0) == b""
    with pytest.raises(AudioError):  # from its beginning, it is no recording
        load_audio(io.BytesIO(b"a head of another kind" + content))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_files_and_arrays_of_any_rate_agree(rate: int, channels: int) -> None:
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
    np.testing.assert_allclose(samples[400:-400], expected[400:-400], atol=2e-3)  # the pass band's ripple


def test_the_rate_of_an_array_matters() -> None:
    """An array is at 16 kHz unless told otherwise; the same tone at 8 kHz becomes twice as long."""
    x = np.sin(np.arange(4000) / 3).astype(np.float32)
    np.testing.assert_array_equal(load_audio(x), x)
    assert len(load_audio(x, sampling_rate=8000)) == 8000
    assert len(load_audio(x, sampling_rate=48_000)) == 1334


def test_the_rate_of_a_file_is_its_own() -> None:
    np.testing.assert_array_equal(load_audio(DATA / "en.wav", sampling_rate=8000), load_audio(DATA / "en.wav"))


@pytest.mark.parametrize(
    ("dtype", "full"),
    [(np.int8, 2**7), (np.int16, 2**15), (np.int32, 2**31), (np.int64, 2**63), (np.float16, 1), (np.float64, 1)],
)
def test_types_of_arrays(dtype: Any, full: float) -> None:
    x = np.array([0, 0.5, -0.5, -1])
    samples = load_audio((x * full).astype(dtype))
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, x, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_unsigned_arrays_have_their_silence_in_the_middle(dtype: Any) -> None:
    half = (int(np.iinfo(dtype).max) + 1) // 2
    np.testing.assert_allclose(load_audio(np.array([0, half, half + half // 2], dtype)), [-1, 0, 0.5], atol=1e-7)


def test_views_of_any_strides() -> None:
    x = np.arange(600, dtype=np.int16).reshape(2, 300).T[::-3]
    np.testing.assert_array_equal(load_audio(x), load_audio(np.ascontiguousarray(x)))
    np.testing.assert_array_equal(load_audio(x.astype(">i2")), load_audio(np.ascontiguousarray(x)))


def test_a_recording_keeps_what_it_was() -> None:
    x = np.arange(1000, dtype=np.float32) / 1000
    before = x.copy()
    load_audio(x, sampling_rate=8000)
    np.testing.assert_array_equal(x, before)


# ---- in blocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["en_long.flac", "en_stereo_44k.flac", "en_8k_telephone.wav"])
def test_blocks_are_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_audio(DATA / name)
    monkeypatch.setattr(load, "BLOCK_SECONDS", 1)
    blocks = list(stream_audio(DATA / name))
    assert len(blocks) >= 7
    np.testing.assert_allclose(np.concatenate(blocks), whole, rtol=0, atol=1e-7)


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    """4 minutes of stereo at 44.1 kHz are 85 MB as float32; a block and what is around it is far less."""
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


# ---- without soundfile: the standard library's WAV reader -----------------------------------------------------------


@pytest.fixture
def no_soundfile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)


@pytest.mark.parametrize("name", ["en.wav", "fr.wav"])
def test_wav_without_soundfile(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_audio(DATA / name)
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    np.testing.assert_allclose(load_audio(DATA / name), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("bits", "channels"), [(8, 1), (16, 2), (24, 3), (32, 1)])
def test_widths_without_soundfile(bits: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, bits // 8, 16_000, 0, "NONE", ""))
        out.writeframes(np.random.default_rng(bits).integers(0, 256, 600 * channels * bits // 8, np.uint8).tobytes())
    expected = load_audio(file.getvalue())
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    np.testing.assert_allclose(load_audio(file.getvalue()), expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("no_soundfile")
@pytest.mark.parametrize("name", ["silence.flac", "words.json", "en_8k_telephone.wav"])
def test_other_files_without_soundfile(name: str) -> None:
    with pytest.raises(AudioError, match="without the package soundfile only PCM WAV files can be read"):
        load_audio(DATA / name)


# ---- what cannot be read: one sentence, and no other exception ------------------------------------------------------


NAN = np.array([0, np.nan, 0], "<f4").tobytes()
INFINITE = np.array([0, 0, -np.inf], "<f4").tobytes()


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "empty, not one byte", id="empty"),
        pytest.param(b"This is a text, not a recording.\n" * 40, "not a WAV, FLAC, OGG or MP3 recording", id="a text"),
        pytest.param(b"RIFF", "not a WAV", id="4 bytes"),
        pytest.param(b"RIFF\x24\0\0\0WAVEfmt ", "not a WAV", id="cut within its head"),
        pytest.param(b"RIFF\x24\0\0\0WAVE" + chunk(b"data", b""), "not a WAV", id="without a head"),
        pytest.param(wav(bytes(2000))[:-1001], "cut off; its head promises 2000 bytes of samples, 999 are", id="cut"),
        pytest.param(wav(bytes(2000))[:44], "cut off", id="cut before its samples"),
        pytest.param(wav(bytes(2000), extensible=True)[:-2], "cut off", id="extensible and cut"),
        pytest.param(wav(bytes(2000), before=LIST)[:-2], "cut off", id="with other chunks and cut"),
        pytest.param(wav(b""), "no samples", id="no samples"),
        pytest.param(wav(bytes(2000), rate=0), "recording.wav: ", id="0 Hz"),
        pytest.param(wav(bytes(2000), rate=50), "sampling rate of 50 Hz", id="50 Hz"),
        pytest.param(wav(bytes(2000), rate=2_000_000_000), "recording.wav: ", id="2 GHz"),
        pytest.param(wav(bytes(2000), channels=1000), "recording.wav: ", id="1000 channels"),
        pytest.param(wav(bytes(2000), channels=0), "recording.wav: ", id="0 channels"),
        pytest.param(wav(NAN, kind=3, bits=32), "sample 1 is not a finite number", id="NaN"),
        pytest.param(wav(INFINITE, kind=3, bits=32), "sample 2 is not a finite number", id="infinite"),
        pytest.param(wav(bytes(2000), kind=0x7777), "recording.wav: ", id="an unknown coding"),
        pytest.param(b"fLaC" + bytes(100), "not a WAV", id="a broken FLAC"),
        pytest.param(b"OggS" + bytes(100), "not a WAV", id="a broken OGG"),
        pytest.param(b"\x1aE\xdf\xa3" + bytes(100), "other kinds need the program ffmpeg", id="Matroska"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "recording.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=message) as caught:
        load_audio(path)
    assert "recording.wav" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(AudioError, match=message.replace("recording.wav: ", "the recording: ")):
        load_audio(content)


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("name", ["en_three.flac", "en.wav"])
def test_every_truncation_of_a_file_is_an_error_or_shorter(name: str) -> None:
    whole = (DATA / name).read_bytes()
    n_whole = len(load_audio(whole))
    for length in range(0, len(whole), 1 + len(whole) // 40):
        try:
            assert len(load_audio(whole[:length])) < n_whole
        except AudioError as error:
            assert "the recording" in str(error)  # noqa: PT017  # either is right


@pytest.mark.usefixtures("no_ffmpeg")
def test_damaged_bytes_raise_nothing_else() -> None:
    whole = np.frombuffer((DATA / "en_three.flac").read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = whole.copy()
        damaged[random.integers(0, 4000, 3)] = random.integers(0, 256, 3)
        try:
            assert np.isfinite(load_audio(damaged.tobytes())).all()
        except AudioError as error:
            assert "the recording" in str(error)  # noqa: PT017  # either is right


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="a folder, not a recording"):
        load_audio(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"nowhere\.wav: No such file"):
        load_audio(tmp_path / "nowhere.wav")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.zeros((0, 2), np.float32), "no samples"),
        (np.zeros((5, 0), np.float32), "0 channels"),
        (np.zeros((5, 65), np.float32), "65 channels"),
        (np.zeros((2, 2, 2)), "must be real numbers"),
        (np.zeros(()), "must be real numbers"),
        (np.zeros(5, complex), "must be real numbers"),
        (np.zeros(5, bool), "must be real numbers"),
        (np.array(["a"]), "must be real numbers"),
        (np.array([None]), "must be real numbers"),
        (np.array([0, np.nan]), "sample 1 is not a finite number"),
        (np.array([np.inf, 0]), "sample 0 is not a finite number"),
        (np.array([[0, 0], [0, np.nan]]), "sample 1 is not a finite number"),
        (np.array([1e300]), "sample 0 is not a finite number"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_arrays(array: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        load_audio(array)


@pytest.mark.parametrize("source", [None, 3, 1.5, [0.0, 1.0], {"path": "x"}, io.StringIO("text")])
def test_what_is_no_recording(source: Any) -> None:
    with pytest.raises(AudioError):
        load_audio(source)


@pytest.mark.parametrize("rate", [0, -16_000, 99, 1_000_001, 16_000.5, float("nan"), float("inf")])
def test_bad_rates(rate: Any) -> None:
    with pytest.raises(AudioError, match="sampling rate"):
        load_audio(np.zeros(100, np.float32), sampling_rate=rate)


def test_nan_far_into_a_recording_is_named_where_it_is() -> None:
    x = np.zeros(400_000, np.float32)
    x[333_333] = np.nan
    with pytest.raises(AudioError, match="sample 333333 "):
        load_audio(x)


# ---- ffmpeg ---------------------------------------------------------------------------------------------------------


def make_ffmpeg(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name on PATH; in the tests it need not be the real one."""
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_ffmpeg_is_asked_for_other_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.linspace(-1, 1, 100, dtype="<f4")
    (tmp_path / "samples").write_bytes(samples.tobytes())
    make_ffmpeg(tmp_path, f'echo "$@" > {tmp_path}/arguments; cat {tmp_path}/samples', monkeypatch)
    film = tmp_path / "-i film.mkv"
    film.write_bytes(b"\x1aE\xdf\xa3" + bytes(100))
    np.testing.assert_array_equal(load_audio(film), samples)
    arguments = (tmp_path / "arguments").read_text()
    assert f"-i file:{film}" in arguments  # a name that begins with a hyphen or with "http:" is a file's
    assert "-protocol_whitelist file,pipe" in arguments
    np.testing.assert_array_equal(load_audio(film.read_bytes()), samples)
    assert "-i pipe:0" in (tmp_path / "arguments").read_text()


def test_ffmpegs_complaint_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_ffmpeg(tmp_path, "echo first >&2; echo 'Invalid data found' >&2; exit 1", monkeypatch)
    with pytest.raises(AudioError, match="ffmpeg cannot read it: Invalid data found"):
        load_audio(b"\x1aE\xdf\xa3" + bytes(100))
    make_ffmpeg(tmp_path, "exit 3", monkeypatch)
    with pytest.raises(AudioError, match="exit status 3"):
        load_audio(b"\x1aE\xdf\xa3" + bytes(100))


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
