"""whisper_apr.web.recording: the samples are those that `load_audio` returns."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from whisper_apr.audio import load_audio
from whisper_apr.errors import AudioError
from whisper_apr.web.recording import BlobFile, DecodedRecording, read_blob

DATA = Path(__file__).parent / "data"


def blob(data: bytes, name: str = "a.wav") -> BlobFile:
    return BlobFile(name, len(data), lambda begin, end: data[begin:end])


def encode(sound: np.ndarray, rate: int, format: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, rate, subtype, format=format)
    return file.getvalue()


@pytest.fixture(scope="module")
def stereo() -> np.ndarray:
    return np.random.default_rng(5).uniform(-0.5, 0.5, (44100, 2))


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("AIFF", "PCM_16"), ("AU", "PCM_24"), ("CAF", "PCM_16"), ("W64", "PCM_16")],
)
def test_plain_samples_are_read_like_a_file(stereo, format, subtype):
    data = encode(stereo, 44100, format, subtype)
    found = read_blob(blob(data))
    assert found is not None
    assert np.array_equal(found[0], load_audio(data))
    assert found[1] == []


@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "ULAW"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("AIFF", "ULAW")]
)
def test_other_recordings_are_left_to_the_browser(stereo, format, subtype):
    assert read_blob(blob(encode(stereo, 44100, format, subtype))) is None


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"only words" * 50, b"FORM\0\0\0\0AIFFCOMM"])
def test_what_is_no_recording_is_left_to_the_browser(data):
    assert read_blob(blob(data)) is None


def test_damage_is_told(stereo):
    samples, messages = read_blob(blob(encode(stereo, 44100, "WAV", "PCM_16")[:-4000], "cut.wav"))
    assert len(messages) == 1
    assert messages[0].startswith("cut.wav: cut off: ")
    assert 0 < len(samples) < 16000


def test_a_recording_without_samples_is_an_error():
    with pytest.raises(AudioError, match=r"empty\.wav: no samples in it"):
        read_blob(blob(encode(np.zeros((0, 1)), 16000, "WAV", "PCM_16"), "empty.wav"))


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_decoded_samples_are_converted_as_load_audio_does(rate, channels):
    sound = np.random.default_rng(rate).uniform(-0.5, 0.5, (3 * rate + 7, channels)).astype(np.float32)
    recording = DecodedRecording("a.mp3", rate)
    for begin in range(0, len(sound), 10_007):
        recording.push([sound[begin : begin + 10_007, i] for i in range(channels)])
    samples, messages = recording.finish()
    np.testing.assert_allclose(samples, load_audio(sound, sampling_rate=rate), atol=1e-6)
    assert messages == []


def test_problems_of_decoded_samples_are_told():
    recording = DecodedRecording("a.mp3", 16000)
    tone = np.sin(np.arange(160_000) / 5).astype(np.float32)
    recording.push([tone, -tone])
    assert "cancel each other out" in recording.finish()[1][0]
    with pytest.raises(AudioError, match=r"a\.mp3: sample 2 is not a finite number"):
        DecodedRecording("a.mp3", 16000).push([np.array([0, 0, np.nan], np.float32)])


def test_a_blob_is_a_file():
    file = blob(b"0123456789")
    assert (file.read(3), file.tell(), file.seek(-2, io.SEEK_END), file.read()) == (b"012", 3, 8, b"89")
    assert (file.seek(20), file.read(1), file.seek(-1, io.SEEK_CUR)) == (20, b"", 19)
