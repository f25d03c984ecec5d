"""Transcription of each channel separately: results, the batch, the command, and merging by time."""

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import entry_points
from recordings import DATA, flac, join, noise, silence, speech, wav
from whisper_apr import Segment
from whisper_apr.audio import SAMPLE_RATE
from whisper_apr.cli import main
from whisper_apr.errors import AudioError
from whisper_apr.inference.record import changed
from whisper_apr.inference.recording_info import MultichannelInfo, RecordingInfo

pytestmark = pytest.mark.usefixtures("opened_once")

OPPOSITE = np.stack([speech("en"), -speech("en")], axis=1)


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
    words = segment.words and [changed(word, speaker=None) for word in segment.words]
    return changed(segment, id=0, speaker=None, words=words, language=None)


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
    assert seen == result.segments
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
    swapped = [changed(segment, speaker=str(1 - int(segment.speaker)), id=0) for segment in back]
    assert sorted(map(repr, swapped)) == sorted(repr(changed(segment, id=0)) for segment in there)


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
    assert model.transcribe(silence(5)[:, None].repeat(2, axis=1), channel="each", vad_filter=True).segments == []


def test_more_channels_than_the_batch_size(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = call(*(join(silence(i), speech("en")) for i in (4, 3, 2, 1, 0)))
    together = model.transcribe(x, channel="each", **GREEDY)
    monkeypatch.setattr("whisper_apr.inference.transcribe.MAX_CHANNELS", 2)
    assert model.transcribe(x, channel="each", **GREEDY) == together
    assert {segment.speaker for segment in together.segments} == set("01234")


def test_channels_are_decoded_together(model: Any, batch_sizes: list[int]) -> None:
    """The channels share a batch, and the first segments are yielded before the end of a channel."""
    when = []
    on_segment = lambda _: when.append(len(batch_sizes))  # noqa: E731
    model.transcribe(CALL, channel="each", language="en", on_segment=on_segment, **GREEDY)
    assert batch_sizes[0] == 2
    assert when[0] < len(batch_sizes)


def test_other_functions_with_channels(model: Any) -> None:
    whole = model.transcribe(CALL, channel="each", language="en", temperature=0.0)
    segments, info = entry_points.faster().transcribe(CALL, channel="each", language="en", temperature=0.0, beam_size=1)
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
    other = np.stack([speech(name)[4000:16_000] for name in ("en", "de", "fr")], axis=1)
    options = {"language": "en", "temperature": 0.0, "sample_len": 2, "channel": "each"}
    cut = {"on_progress": lambda *_: os.truncate(path, 900_000)}
    first, second = model.transcribe_many([path, other], return_errors=True, **cut, **options)
    assert "shorter" in str(first)
    assert second == model.transcribe(other, **options)


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


# ---- merging by time ------------------------------------------------------------------------------------------------


class FakeSequence:
    """The progress of one channel."""

    def __init__(self, channel: int) -> None:
        self.channel, self.seek, self.ended, self.is_last, self.next_start = channel, 0, False, True, None
        self.dropped: list[object] = []


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
