"""A recording with one speaker per channel: every function gives each channel's text."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from whisper_apr import AudioWarning, Recognizer, WhisperModel, decode_audio, load_audio

SPEAKERS = (
    "he began a confused complaint against the wizard who had vanished behind the curtain on the left",
    "the horizon seems extremely distant",
)


@pytest.fixture(scope="module")
def call(recordings: Path) -> Path:
    return recordings / "fw_stereo_diarization.wav"


def plain(text: str) -> str:
    """Return the words, without case and punctuation."""
    return " ".join(re.findall(r"[a-z]+", text.lower()))


def by_speaker(segments) -> dict[str, str]:
    texts: dict[str, str] = {}
    for segment in segments:
        texts[segment.speaker] = texts.get(segment.speaker, "") + segment.text
    return {speaker: plain(text) for speaker, text in texts.items()}


@pytest.mark.parametrize("options", [{}, {"word_timestamps": True}, {"batch_size": 2}, {"vad_filter": True}], ids=str)
def test_each_channel_is_one_speaker(base: Recognizer, call: Path, options: dict) -> None:
    result = base.transcribe(call, channel="each", **options)
    assert by_speaker(result.segments) == {"0": SPEAKERS[0], "1": SPEAKERS[1]}
    assert result.language == "en"
    if options.get("word_timestamps"):
        said = {
            speaker: " ".join(w.word.strip() for s in result.segments for w in s.words if w.speaker == speaker)
            for speaker in "01"
        }
        assert {speaker: plain(text) for speaker, text in said.items()} == {"0": SPEAKERS[0], "1": SPEAKERS[1]}


def test_swapped_channels_swap_the_speakers(base: Recognizer, call: Path) -> None:
    samples, rate = soundfile.read(call, dtype="int16")
    result = base.transcribe(samples[:, ::-1], channel="each", sampling_rate=rate)
    assert by_speaker(result.segments) == {"0": SPEAKERS[1], "1": SPEAKERS[0]}


def test_one_channel(base: Recognizer, call: Path) -> None:
    for channel, text in enumerate(SPEAKERS):
        assert plain(base.transcribe(call, channel=channel).text) == text
        np.testing.assert_array_equal(load_audio(call, channel=channel), decode_audio(call, split_stereo=True)[channel])


def test_mean_of_the_channels(base: Recognizer, call: Path) -> None:
    """In the mean of the channels, the second speaker is not understood, and no speaker is named."""
    result = base.transcribe(call)
    assert SPEAKERS[1] not in plain(result.text)
    assert {segment.speaker for segment in result.segments} == {None}


def test_opposite_phase(base: Recognizer, call: Path) -> None:
    left = load_audio(call, channel=0)
    opposite = np.stack([left, -left], axis=1)
    with pytest.warns(AudioWarning, match="cancel each other out"):
        assert plain(base.transcribe(opposite, language="en").text) != SPEAKERS[0]
    for channel in (0, 1):
        assert plain(base.transcribe(opposite, channel=channel, strict=True).text) == SPEAKERS[0]


def test_faster_whisper_interface(faster: WhisperModel, call: Path) -> None:
    for samples, text in zip(decode_audio(call, split_stereo=True), SPEAKERS, strict=True):
        assert plain("".join(segment.text for segment in faster.transcribe(samples)[0])) == text
    segments, info = faster.transcribe(call, channel="each")
    assert by_speaker(segments) == {"0": SPEAKERS[0], "1": SPEAKERS[1]}
    assert info.duration == 5
