"""Channels and tracks in every function that takes a recording: one channel, the mean, or each channel separately."""

import io
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import entry_points
from recordings import flac, noise, speech, wav
from whisper_apr import AudioWarning, LiveTranscriber, load_audio
from whisper_apr.audio import SAMPLE_RATE, ReadingOptions, load
from whisper_apr.errors import AudioError, OptionError
from whisper_apr.inference.audio_source import open_channels

pytestmark = pytest.mark.usefixtures("opened_once")

N = 12_000
THREE = np.round(np.stack([speech(name)[4000 : 4000 + N] for name in ("en", "de", "fr")], axis=1) * 2**15) / 2**15
THREE = THREE.astype(np.float32)
AS_INT16 = (THREE * 2**15).astype("<i2")


SOURCES: dict[str, Callable[[], Any]] = {
    "an array": lambda: THREE,
    "a list": THREE.tolist,
    "blocks": lambda: np.array_split(AS_INT16, 7),
    "a WAV": lambda: wav(AS_INT16.tobytes(), channels=3),
    "a FLAC": lambda: flac(AS_INT16),
    "a file": lambda: io.BytesIO(flac(AS_INT16)),
}
CHANNELS: dict[Any, np.ndarray] = {
    "mix": THREE.mean(axis=1, dtype=np.float32),
    **{i: THREE[:, i] for i in range(3)},
    np.int64(1): THREE[:, 1],
}


# ---- samples --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry_point", entry_points.FILES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("channel", CHANNELS)
def test_one_channel_of_every_source(entry_point: str, source: str, channel: Any) -> None:
    np.testing.assert_array_equal(
        entry_points.sound(entry_point, SOURCES[source](), channel=channel), CHANNELS[channel]
    )


@pytest.mark.parametrize("channel", CHANNELS)
def test_one_channel_of_a_live_recording(channel: Any) -> None:
    np.testing.assert_array_equal(entry_points.sound("LiveTranscriber", THREE, channel=channel), CHANNELS[channel])


@pytest.mark.parametrize("entry_point", entry_points.LOADING)
@pytest.mark.parametrize("source", SOURCES)
def test_each_channel_of_every_source(entry_point: str, source: str) -> None:
    np.testing.assert_array_equal(entry_points.LOADING[entry_point](SOURCES[source](), channel="each"), THREE)


def test_default_is_the_mean() -> None:
    for entry_point in entry_points.ALL:
        np.testing.assert_array_equal(entry_points.sound(entry_point, THREE), CHANNELS["mix"])


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_channels_at_other_rates(rate: int) -> None:
    expected = np.stack([load_audio(column, sampling_rate=rate) for column in THREE.T], axis=1)
    for source in (THREE, wav(THREE.astype("<f4").tobytes(), kind=3, bits=32, channels=3, rate=rate)):
        np.testing.assert_allclose(load_audio(source, sampling_rate=rate, channel="each"), expected, atol=1e-6)
        np.testing.assert_allclose(load_audio(source, sampling_rate=rate, channel=2), expected[:, 2], atol=1e-6)


def test_a_block_with_one_channel_supplies_every_channel() -> None:
    blocks = [THREE, THREE[:, :1], THREE[:, 0], THREE]
    middle = np.repeat(THREE[:, :1], 3, axis=1)
    np.testing.assert_array_equal(load_audio(blocks, channel="each"), np.concatenate([THREE, middle, middle, THREE]))
    np.testing.assert_array_equal(load_audio(blocks, channel=2)[N : 2 * N], THREE[:, 0])


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (2, "no channel 2; it has 2 channels, numbers 0 to 1 from sample 12000 on"),
        ("each", "3 channels become 2 at sample 12000"),
    ],
)
def test_number_of_channels_changes_within_a_recording(channel: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        load_audio([THREE, THREE[:, :2]], channel=channel)


def test_rate_changes_within_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in concatenated files."""
    parts = [(16_000, THREE), (48_000, np.repeat(THREE, 3, axis=0)), (16_000, THREE)]
    monkeypatch.setattr(load.AudioFile, "blocks", lambda self: iter(parts))
    for channel in ("mix", 1, "each"):
        loaded = load_audio(b"joined", channel=channel)
        expected = np.concatenate([load_audio(x, sampling_rate=rate, channel=channel) for rate, x in parts])
        np.testing.assert_allclose(loaded, expected, atol=1e-6)
        assert len(loaded) == 3 * N


def test_decode_audio_splits_stereo() -> None:
    decode_audio = entry_points.LOADING["decode_audio"]
    for source in (THREE[:, :2], flac(AS_INT16[:, :2]), io.BytesIO(flac(AS_INT16[:, :2]))):
        np.testing.assert_array_equal(decode_audio(source, split_stereo=True), THREE[:, :2].T)
    np.testing.assert_array_equal(decode_audio(THREE[:, 1], split_stereo=True), THREE[:, [1, 1]].T)
    with pytest.raises(AudioError, match="3 channels cannot be split as stereo"):
        decode_audio(THREE, split_stereo=True)


# ---- rejected values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry_point", entry_points.ALL)
@pytest.mark.parametrize("channel", [-1, 1.0, "left", "0", "", "Mix", True, None, [0], (0, 1), b"mix", 1j], ids=repr)
def test_invalid_channels(entry_point: str, channel: Any) -> None:
    with pytest.raises(OptionError, match="channel must be 'mix', 'each' or the number of a channel, counted from 0"):
        entry_points.sound(entry_point, THREE, channel=channel)


@pytest.mark.parametrize("entry_point", entry_points.FILES)
@pytest.mark.parametrize("track", [-1, 1.0, "0", True, [0]], ids=repr)
def test_invalid_tracks(entry_point: str, track: Any) -> None:
    with pytest.raises(OptionError, match="track must be a whole number of at least 0"):
        entry_points.sound(entry_point, THREE, track=track)


@pytest.mark.parametrize("entry_point", entry_points.ALL)
@pytest.mark.parametrize("strict", [None, 2, "yes", 0.5], ids=repr)
def test_invalid_strict(entry_point: str, strict: Any) -> None:
    with pytest.raises(OptionError, match="strict must be True or False"):
        entry_points.sound(entry_point, THREE, strict=strict)


@pytest.mark.parametrize("entry_point", entry_points.ALL)
def test_missing_channel(entry_point: str) -> None:
    for source in (THREE, flac(AS_INT16)) if entry_point in entry_points.FILES else (THREE,):
        with pytest.raises(AudioError, match="no channel 3; it has 3 channels, numbers 0 to 2"):
            entry_points.sound(entry_point, source, channel=3)
    with pytest.raises(AudioError, match="no channel 1; it has 1 channel, number 0"):
        entry_points.sound(entry_point, THREE[:, 0], channel=1)


@pytest.mark.parametrize("entry_point", entry_points.FILES)
def test_samples_have_one_track(entry_point: str) -> None:
    np.testing.assert_array_equal(entry_points.sound(entry_point, THREE, track=0), CHANNELS["mix"])
    for source in (THREE, iter([THREE])):
        with pytest.raises(AudioError, match="there is no track 1"):
            entry_points.sound(entry_point, source, track=1)


@pytest.mark.parametrize("entry_point", entry_points.FILES)
def test_track_and_strict_are_passed_on(entry_point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options_seen = []
    init = load.AudioFile.__init__

    def spied(self: Any, source: Any, **options: Any) -> None:
        options_seen.append(options)
        init(self, source)

    monkeypatch.setattr(load.AudioFile, "__init__", spied)
    for options in ({"track": None, "strict": False}, {"track": 2, "strict": True}):
        entry_points.sound(entry_point, flac(AS_INT16), **options)
        assert options_seen.pop() == options


def test_live_transcription_takes_one_channel() -> None:
    with pytest.raises(OptionError, match="channel='each' is for recordings"):
        LiveTranscriber(entry_points.digits(), channel="each")


# ---- channels that cancel each other out ----------------------------------------------------------------------------

OPPOSITE = np.stack([speech("en"), -speech("en")], axis=1)
LAST_BIT = np.random.default_rng(0).integers(-1, 2, 50_000)
CANCELLED: dict[str, np.ndarray] = {
    "exactly": OPPOSITE,
    "nearly": OPPOSITE + np.random.default_rng(0).normal(0, 1e-4, OPPOSITE.shape),
    "int16": (OPPOSITE * 2**15).astype(np.int16),
    "a tenth of a second": OPPOSITE[8000:9600],
    "four channels": np.concatenate([OPPOSITE, OPPOSITE[:, ::-1]], axis=1),
    "after 20 s": np.concatenate([np.stack([noise(20, 0.1)] * 2, axis=1), *[OPPOSITE] * 10]),
    "quietly": OPPOSITE * np.float32(0.01),
}
NOT_CANCELLED: dict[str, np.ndarray] = {
    "mono": speech("en"),
    "equal": np.abs(OPPOSITE),
    "unrelated": np.stack([noise(2, 0.1, 1), noise(2, 0.1, 2)], axis=1),
    "unrelated, of 64 channels": np.stack([noise(0.2, 0.1, i) for i in range(64)], axis=1),
    "one of 64": np.pad(speech("en")[:, None], ((0, 0), (0, 63))),
    "silence": np.zeros((50_000, 2), np.float32),
    "the last bit": (np.stack([LAST_BIT, -LAST_BIT], axis=1) / 2**16).astype(np.float32),
    "out of phase by a quarter": np.stack(
        [np.sin(np.arange(50_000) / 9 + phase).astype(np.float32) / 4 for phase in (0, np.pi / 2)], axis=1
    ),
}


def warned(entry_point: str, source: Any, **reading: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        entry_points.sound(entry_point, source, **reading)
    assert all(warning.category is AudioWarning for warning in caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("entry_point", entry_points.ALL)
@pytest.mark.parametrize("case", CANCELLED)
def test_cancelling_channels_warn(entry_point: str, case: str) -> None:
    (message,) = warned(entry_point, CANCELLED[case])
    assert "cancel each other out" in message
    with pytest.raises(AudioError, match=r"cancel each other out, .* channel=0"):
        entry_points.sound(entry_point, CANCELLED[case], strict=True)
    assert warned(entry_point, CANCELLED[case], channel=0, strict=True) == []


@pytest.mark.parametrize("case", NOT_CANCELLED)
def test_other_channels_do_not_warn(case: str) -> None:
    for entry_point in ("load_audio", "transcribe", "LiveTranscriber"):
        assert warned(entry_point, NOT_CANCELLED[case]) == []


def test_cancelling_channels_of_blocks_and_files() -> None:
    x = CANCELLED["int16"]
    for make in (lambda: iter(np.array_split(x, 300)), lambda: flac(x)):
        assert len(warned("transcribe", make())) == 1


def test_cancelling_channels_are_transcribed_separately(model: Any) -> None:
    result = model.transcribe(OPPOSITE, channel="each", strict=True, temperature=0.0)
    assert [segment.speaker for segment in result.segments if segment.text] == ["0", "1"]
    assert len(result.text.split()) >= 9


# ---- memory, and concurrent readings --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "file", "blocks"])
def test_memory_does_not_grow_with_the_recording(kind: str, tmp_path: Path) -> None:
    """4 minutes of 4 channels are 61 MB as float32; a block of each channel is far smaller."""
    path = tmp_path / "long.wav"
    second = np.random.default_rng(0).integers(-9999, 9999, (SAMPLE_RATE, 4), np.int16)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 4, "PCM_16") as file:
        for _ in range(240):
            file.write(second)
    tracemalloc.start()
    with open(path, "rb") as opened:
        source = {"path": path, "file": opened, "blocks": (second for _ in range(240))}[kind]
        channels = [read() for read in open_channels(source, ReadingOptions(channel="each"))]
        n_samples = [0] * 4
        while any(blocks := [next(channel, None) is not None and 1 for channel in channels]):
            n_samples = [n + bool(block) for n, block in zip(n_samples, blocks, strict=True)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(set(n_samples)) == 1
    assert n_samples[0] >= 24
    assert peak < 40e6


@pytest.mark.parametrize("kind", ["path", "file", "bytes", "blocks", "array"])
def test_channels_are_read_concurrently(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whisper_apr.audio.blocks.BLOCK_SECONDS", 1)
    monkeypatch.setattr("whisper_apr.inference.audio_source.SPOOL_SAMPLES", 5000)
    x = (np.random.default_rng(0).uniform(-0.5, 0.5, (60_000, 3)) * 2**15).astype(np.int16)
    path = tmp_path / "x.flac"
    path.write_bytes(flac(x))
    with open(path, "rb") as file:
        source = {"path": path, "file": file, "bytes": flac(x), "blocks": iter(np.array_split(x, 11)), "array": x}[kind]
        readings = [read() for read in open_channels(source, ReadingOptions(channel="each"))]
        parts: list[list[np.ndarray]] = [[], [], []]
        for number in (0, 0, 1, 2, 0, 2, 1, 1, 2, 2, 0, 1) * 12:
            parts[number].extend(block for block in [next(readings[number], None)] if block is not None)
        assert all(next(reading, None) is None for reading in readings)
    found = np.stack([np.concatenate(part) for part in parts], axis=1)
    np.testing.assert_array_equal(found, x / np.float32(2**15))
