"""Channels and tracks in every function that takes a recording: one channel, the mean, or each channel separately."""

import io
import json
import os
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import entry_points
from recordings import DATA, join, noise, silence, speech, wav
from whisper_apr import AudioWarning, LiveTranscriber, Segment, load_audio
from whisper_apr.audio import SAMPLE_RATE, ReadingOptions, load
from whisper_apr.cli import main
from whisper_apr.errors import AudioError, OptionError
from whisper_apr.inference.audio_source import open_channels
from whisper_apr.inference.recording_info import MultichannelInfo, RecordingInfo

pytestmark = pytest.mark.usefixtures("opened_once")

N = 12_000
THREE = np.round(np.stack([speech(name)[4000 : 4000 + N] for name in ("en", "de", "fr")], axis=1) * 2**15) / 2**15
THREE = THREE.astype(np.float32)
AS_INT16 = (THREE * 2**15).astype("<i2")


def flac(samples: np.ndarray, rate: int = SAMPLE_RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


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
def test_canceling_channels_warn(entry_point: str, case: str) -> None:
    (message,) = warned(entry_point, CANCELLED[case])
    assert "cancel each other out" in message
    with pytest.raises(AudioError, match=r"cancel each other out, .* channel=0"):
        entry_points.sound(entry_point, CANCELLED[case], strict=True)
    assert warned(entry_point, CANCELLED[case], channel=0, strict=True) == []


@pytest.mark.parametrize("case", NOT_CANCELLED)
def test_other_channels_do_not_warn(case: str) -> None:
    for entry_point in ("load_audio", "transcribe", "LiveTranscriber"):
        assert warned(entry_point, NOT_CANCELLED[case]) == []


def test_canceling_channels_of_blocks_and_files() -> None:
    x = CANCELLED["int16"]
    for make in (lambda: iter(np.array_split(x, 300)), lambda: flac(x)):
        assert len(warned("transcribe", make())) == 1


def test_canceling_channels_are_transcribed_separately(model: Any) -> None:
    result = model.transcribe(OPPOSITE, channel="each", strict=True, temperature=0.0)
    assert [segment.speaker for segment in result.segments if segment.text] == ["0", "1"]
    assert len(result.text.split()) >= 9


# ---- transcribing each channel --------------------------------------------------------------------------------------

GREEDY = {"temperature": 0.0, "sample_len": 40}


def call(*sides: np.ndarray) -> np.ndarray:
    """Return the sides of a conversation as channels."""
    n = max(map(len, sides))
    return np.stack([np.pad(side, (0, n - len(side))) for side in sides], axis=1)


SIDES = (
    join(speech("en"), silence(6), speech("en"), silence(16), speech("en")),
    join(silence(4), speech("de"), silence(18), speech("de")),
)
CALL = call(*SIDES)
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "words": {"word_timestamps": True},
    "vad": {"vad_filter": True},
    "batched words of speech": {"batch_size": 2, "vad_filter": True, "word_timestamps": True},
    "beams": {"beam_size": 2, "language": "en"},
    "clips": {"clip_timestamps": [3, 9, 12, 20]},
    "each window's language": {"multilingual": True},
}


def unmarked(segment: Segment) -> Segment:
    words = segment.words and tuple(replace(word, speaker=None) for word in segment.words)
    return replace(segment, id=0, speaker=None, words=words, language=None)


@pytest.mark.parametrize("options", OPTIONS)
def test_each_channel_is_transcribed_as_a_separate_recording(model: Any, options: str) -> None:
    settings = GREEDY | OPTIONS[options]
    seen: list[Segment] = []
    progress: list[Any] = []
    result = model.transcribe(CALL, channel="each", on_segment=seen.append, on_progress=progress.append, **settings)
    alone = [model.transcribe(CALL[:, i], **settings) for i in range(2)]
    for i, channel in enumerate(alone):
        mine = [segment for segment in result.segments if segment.speaker == str(i)]
        assert [unmarked(segment) for segment in mine] == [unmarked(segment) for segment in channel.segments]
        assert all(word.speaker == str(i) for segment in mine for word in segment.words or ())
    assert len({segment.speaker for segment in result.segments}) == 2
    assert all(a.start <= b.start for a, b in pairwise(result.segments))
    assert [segment.id for segment in result.segments] == list(range(len(result.segments)))
    assert tuple(seen) == result.segments
    assert result.text == "".join(segment.text for segment in result.segments)
    done = [p.done for p in progress]
    assert done == sorted(done)
    assert done[-1] == progress[-1].total == len(CALL) / SAMPLE_RATE
    (again,) = model.transcribe_many([CALL], channel="each", **settings)
    if "batch_size" not in settings:
        assert again == result


def test_swapping_the_channels_swaps_the_speakers(model: Any) -> None:
    there = model.transcribe(CALL, channel="each", **GREEDY).segments
    back = model.transcribe(CALL[:, ::-1], channel="each", **GREEDY).segments
    swapped = [replace(segment, speaker=str(1 - int(segment.speaker)), id=0) for segment in back]
    assert sorted(map(repr, swapped)) == sorted(repr(replace(segment, id=0)) for segment in there)


def test_each_channel_has_its_own_language(model: Any) -> None:
    result = model.transcribe(CALL, channel="each", **GREEDY)
    assert {(segment.speaker, segment.language) for segment in result.segments} == {("0", "en"), ("1", "de")}
    assert result.language in ("en", "de")
    same = model.transcribe(call(SIDES[0], SIDES[0]), channel="each", **GREEDY)
    assert {segment.language for segment in same.segments} == {None}
    assert same.language == "en"


def test_channels_without_speech(model: Any) -> None:
    spoken = speech("en")
    x = call(silence(12), spoken, noise(12, 1e-3))
    for options in ({"vad_filter": True}, {"vad_filter": True, "batch_size": 2}):
        result = model.transcribe(x, channel="each", **GREEDY, **options)
        assert [segment.speaker for segment in result.segments] == ["1"]
        assert result.segments[0].text == model.transcribe(spoken, **GREEDY).text
        assert result.language == "en"
    assert model.transcribe(silence(5)[:, None].repeat(2, axis=1), channel="each", vad_filter=True).segments == ()


def test_more_channels_than_the_batch_size(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = call(*(join(silence(i), speech("en")) for i in (4, 3, 2, 1, 0)))
    together = model.transcribe(x, channel="each", **GREEDY)
    monkeypatch.setattr("whisper_apr.inference.transcribe.MAX_CHANNELS", 2)
    assert model.transcribe(x, channel="each", **GREEDY) == together
    assert {segment.speaker for segment in together.segments} == set("01234")


def test_channels_are_decoded_together(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The channels share a batch, and the first segments are yielded before the end of a channel."""
    from whisper_apr.inference.decode import DecodingTask

    run, rows = DecodingTask.run, []

    def counted(self: Any, mel: np.ndarray, *rest: Any) -> Any:
        rows.append(len(mel))
        return run(self, mel, *rest)

    monkeypatch.setattr(DecodingTask, "run", counted)
    when = []
    model.transcribe(CALL, channel="each", language="en", on_segment=lambda _: when.append(len(rows)), **GREEDY)
    assert rows[0] == 2
    assert when[0] < len(rows)


def test_other_functions_with_channels(model: Any) -> None:
    whole = model.transcribe(CALL, channel="each", language="en", temperature=0.0)
    segments, info = entry_points._faster().transcribe(
        CALL, channel="each", language="en", temperature=0.0, beam_size=1
    )
    found = list(segments)
    assert [(s.speaker, s.start, s.text) for s in found] == [
        (s.speaker, s.start, s.text) for s in whole.segments if s.text
    ]
    assert [s.id for s in found] == list(range(1, len(found) + 1))
    assert info.duration == info.duration_after_vad == len(CALL) / SAMPLE_RATE
    (many,) = model.transcribe_many([CALL], channel="each", batch_size=1, language="en", temperature=0.0)
    assert many == whole


def test_transcribe_many_with_many_channels(model: Any, tmp_path: Path) -> None:
    short = call(speech("fr"), join(silence(1), speech("es")))
    sources = [short, b"nothing", speech("de"), np.zeros((0, 2)), flac(short[:, ::-1]), CALL]
    options_seen: list[tuple[int, str]] = []
    options = {"channel": "each", "language": "en", "temperature": 0.0, "sample_len": 12}
    expected = [model.transcribe(sources[i], **options) for i in (0, 2, 4, 5)]
    for size in (1, 3):
        results = model.transcribe_many(
            sources,
            return_errors=True,
            batch_size=size,
            on_segment=lambda i, s: options_seen.append((i, s.text)),
            **options,
        )
        found = list(results)
        assert [i for i, result in enumerate(found) if isinstance(result, AudioError)] == [1, 3]
        assert [result for result in found if not isinstance(result, AudioError)] == expected
        assert options_seen == [(i, s.text) for i, r in zip((0, 2, 4, 5), expected, strict=True) for s in r.segments]
        options_seen.clear()
    results = model.transcribe_many(sources, **options)
    assert next(results) == expected[0]
    with pytest.raises(AudioError):
        next(results)


def test_a_file_that_becomes_shorter_while_a_channel_is_read(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whisper_apr.inference.spectrogram.KEPT_FRAMES", 100)
    path = tmp_path / "call.wav"
    sides = np.stack([noise(150, 0.1, i) for i in range(2)], axis=1)
    path.write_bytes(wav((sides * 2**15).astype("<i2").tobytes(), channels=2))
    options = {"language": "en", "temperature": 0.0, "sample_len": 2, "channel": "each"}
    cut = {"on_progress": lambda *_: os.truncate(path, 900_000)}
    first, second = model.transcribe_many([path, THREE], return_errors=True, **cut, **options)
    assert "shorter" in str(first)
    assert second == model.transcribe(THREE, **options)


# ---- output ---------------------------------------------------------------------------------------------------------


def test_speakers_are_written_only_if_there_are_any(model: Any) -> None:
    options = {"word_timestamps": True, **GREEDY}
    plain = json.dumps(model.transcribe(CALL, **options).to_dict())
    assert "speaker" not in plain
    each = model.transcribe(CALL, channel="each", **options).to_dict()
    assert {segment["speaker"] for segment in each["segments"]} == {"0", "1"}
    assert all(word["speaker"] == segment["speaker"] for segment in each["segments"] for word in segment["words"])
    assert model.transcribe(CALL[:, 0], channel="each", **GREEDY).segments[0].speaker == "0"


@pytest.fixture
def call_file(tmp_path: Path) -> str:
    path = tmp_path / "call.flac"
    path.write_bytes(flac(call(speech("en"), join(silence(3), speech("de")))))
    return str(path)


def test_command_with_channels(call_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["transcribe", call_file, "--model", "digits", "--temperature", "0", "--beam_size", "None"]
    assert main([*common, "--channel", "each", "-f", "json"]) == 0
    segments = json.loads(capsys.readouterr().out)["segments"]
    assert [segment["speaker"] for segment in segments] == ["0", "1"]
    assert main([*common, "--channel", "each"]) == 0
    assert [line[:3] for line in capsys.readouterr().out.splitlines()] == ["0: ", "1: "]
    for channel, name in (("0", "en"), ("1", "de")):
        assert main([*common, "--channel", channel]) == 0
        assert capsys.readouterr().out.split() == model_text(name).split()


def model_text(name: str) -> str:
    return entry_points.digits().transcribe(DATA / f"{name}.wav", temperature=0.0).text


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--channel", "2"], 1, "no channel 2; it has 2 channels, numbers 0 to 1"),
        (["--channel", "left"], 2, "invalid channel value: 'left'"),
        (["--channel", "-1"], 2, "channel must be 'mix', 'each' or the number"),
        (["--track", "x"], 2, "invalid int value: 'x'"),
        (["--track", "-1"], 2, "track must be a whole number"),
        (["--strict", "perhaps"], 2, "must be True or False"),
    ],
)
def test_command_rejects_invalid_channels(
    call_file: str, arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", call_file, "--model", "digits", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_command_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "opposite.flac"
    path.write_bytes(flac(OPPOSITE))
    assert main(["transcribe", str(path), "--model", "digits", "--strict"]) == 1
    err = capsys.readouterr().err
    assert "cancel each other out" in err
    assert str(path) in err
    assert err.count("\n") == 1


def test_live_command_takes_one_channel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["live", "--model", "digits", "--channels", "2", "--step", "9", "--input", "-"]

    def given(samples: np.ndarray, *arguments: str) -> tuple[int, str, str]:
        (tmp_path / "raw").write_bytes((samples * 2**15).astype("<i2").tobytes())
        with open(tmp_path / "raw") as file, mock.patch("sys.stdin", file):
            return main([*command, *arguments]), *capsys.readouterr()

    for channel, name in (("0", "en"), ("1", "de")):
        status, out, err = given(call(speech("en"), speech("de")), "--channel", channel)
        assert (status, out.split(), err) == (0, model_text(name).split(), "")
    status, out, err = given(OPPOSITE, "--strict")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "cancel each other out" in err
    for flag, value, message in (("--channel", "each", "is for recordings"), ("--rate", "10", "sampling_rate")):
        assert main([*command, flag, value]) == 2
        assert message in capsys.readouterr().err


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


# ---- merging by time ------------------------------------------------------------------------------------------------


class FakeSequence:
    """The progress of one channel."""

    def __init__(self, channel: int) -> None:
        self.channel, self.seek, self.ended, self.is_last, self.next_start = channel, 0, False, True, None


@given(st.data(), st.integers(1, 5))
def test_segments_are_merged_by_time(data: st.DataObject, n_channels: int) -> None:
    """Segments are neither lost nor late, for any windows of the channels and any order of decoding."""
    infos = [RecordingInfo(100.0, None, "en", 1.0, None) for _ in range(n_channels)]  # type: ignore[arg-type]
    merged = MultichannelInfo(infos)
    sequences = [FakeSequence(i) for i in range(n_channels)]
    given_, found = [], []
    while waiting := [sequence for sequence in sequences if not sequence.ended]:
        sequence = data.draw(st.sampled_from(waiting))
        window = data.draw(st.integers(50, 200))
        starts = sorted(data.draw(st.lists(st.floats(0, window / 100), max_size=3)))
        segments = [
            Segment(0, sequence.seek, sequence.seek / 100 + start, 100.0, f"{sequence.channel}", (), 0.0, 0.0, 1.0, 0.0)
            for start in starts
        ]
        sequence.seek += window
        sequence.ended = sequence.seek >= 200
        given_ += [(segment.start, segment.text) for segment in segments]
        found += merged.add_segments(sequence, segments)  # type: ignore[arg-type]
    assert [segment.start for segment in found] == sorted(start for start, _ in given_)
    assert sorted((segment.start, segment.text) for segment in found) == sorted(given_)
    assert all(segment.speaker == segment.text for segment in found)
    assert [segment.id for segment in found] == list(range(len(found)))
