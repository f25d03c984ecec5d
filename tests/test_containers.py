"""The choice of a decoder, and the policy for damage: all audio is read once, with one warning."""

import io
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recordings import DATA, speech, wav
from whisper_apr import load_model
from whisper_apr.audio import SAMPLE_RATE, containers, ffmpeg, load_audio
from whisper_apr.audio.containers import AudioFile
from whisper_apr.audio.sources import DecodeError
from whisper_apr.errors import AudioError, AudioWarning

KINDS = ["WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "W64", "RF64", "AU", "NIST", "VOC", "PAF", "IRCAM"]


def a_file(kind: str, seconds: float = 5.0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.resize(speech("en_long"), round(seconds * SAMPLE_RATE)), SAMPLE_RATE, format=kind)
    return file.getvalue()


def cut_wav() -> bytes:
    return wav(bytes(64_000))[:-6000]


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_read_at_its_own_rate_and_channels(kind: str) -> None:
    x = np.resize(speech("en"), (12_000, 2))
    file = io.BytesIO()
    soundfile.write(file, x, 22_050, format=kind)
    blocks = list(AudioFile(file.getvalue()).blocks())
    assert {(rate, block.ndim, block.shape[1]) for rate, block in blocks} == {(22_050, 2, 2)}
    assert sum(len(block) for _, block in blocks) == pytest.approx(12_000, abs=100)


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "W64", "RF64", "AU"])
def test_truncated_files_are_read_once_and_warn_once(kind: str) -> None:
    """They warn once over all readings, and raise with `strict`."""
    whole = load_audio(a_file(kind))
    cut = a_file(kind)[: len(a_file(kind)) * 7 // 10]
    recording = AudioFile(cut)
    with pytest.warns(AudioWarning, match=r"^the recording: cut off") as caught:
        samples = load_audio(recording)
    assert len(caught) == 1
    np.testing.assert_array_equal(samples, whole[: len(samples)])
    assert 0.1 * len(whole) < len(samples) < 0.8 * len(whole)
    np.testing.assert_array_equal(load_audio(recording), samples)  # a warning would be an error here
    with pytest.raises(AudioError, match=r"^the recording: cut off"):
        load_audio(cut, strict=True)


def test_a_transcription_warns_once() -> None:
    """It reads a recording at least twice."""
    long = np.concatenate([speech("en_long"), speech("en_long")])
    content = wav((long * 2**15).astype("<i2").tobytes())
    with pytest.warns(AudioWarning, match="cut off") as caught:
        load_model("digits").transcribe(content[:-5001], temperature=0.0)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_closed_iterator_does_not_warn() -> None:
    recording = AudioFile(cut_wav())
    blocks = recording.blocks()
    next(blocks)
    blocks.close()
    with pytest.warns(AudioWarning, match="cut off"):
        list(recording.blocks())


def test_no_second_decoder_after_the_first_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a decoder fails after its first block, another one would repeat audio."""
    block = (SAMPLE_RATE, np.ones((5, 1), np.float32))

    def failing(*_: Any) -> Any:
        yield block
        raise DecodeError("it breaks")

    def anew(*_: Any) -> Any:
        raise AssertionError("begins anew")

    monkeypatch.setattr(containers, "_native_blocks", failing)
    monkeypatch.setattr(ffmpeg, "ffmpeg_blocks", anew)
    with pytest.warns(AudioWarning, match=r"the recording: the rest cannot be read \(it breaks\)"):
        assert len(load_audio(b"x")) == 5
    with pytest.raises(AudioError, match="the rest cannot be read"):
        load_audio(b"x", strict=True)


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("kind", ["WAV", "FLAC", "MP3", "AIFF", "VOC"])
@pytest.mark.parametrize("track", [1, 7])
def test_formats_with_one_track(kind: str, track: int) -> None:
    np.testing.assert_array_equal(load_audio(a_file(kind), track=0), load_audio(a_file(kind)))
    with pytest.raises(AudioError, match=f"no audio track {track}; there is 1, counted from 0"):
        load_audio(a_file(kind), track=track)


@pytest.mark.usefixtures("no_ffmpeg")
def test_damage_without_samples_is_one_error() -> None:
    with pytest.raises(
        AudioError, match="cut off: its header states 2000 bytes of samples, but 0 are there: no samples in it"
    ):
        load_audio(wav(bytes(2000))[:44])


@pytest.mark.usefixtures("no_ffmpeg")
def test_midi_sample_dumps_are_not_passed_to_libsndfile(capfd: pytest.CaptureFixture[str]) -> None:
    """It prints to standard output if one is damaged."""
    content = bytearray(a_file("SDS"))
    content[30::50] = bytes(len(content[30::50]))
    with pytest.raises(AudioError, match="a MIDI sample dump"):
        load_audio(bytes(content))
    assert capfd.readouterr() == ("", "")


def test_block_size_is_limited(tmp_path: Path) -> None:
    """10 s of 64 channels at 1 MHz would be 2.5 GB."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros((40_000, 64), np.float32), 1_000_000, format="WAV", subtype="PCM_U8")
    for content in (file.getvalue(), wav(bytes(40_000 * 64), channels=64, bits=8, rate=1_000_000)):
        sizes = [block.size for _, block in AudioFile(content).blocks()]
        assert max(sizes) <= 1 << 21
        assert sum(sizes) == 40_000 * 64


# ---- without soundfile ----------------------------------------------------------------------------------------------


@pytest.fixture
def no_soundfile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setenv("PATH", "")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "W64", "RF64"])
def test_wav_without_soundfile(kind: str, subtype: str, request: pytest.FixtureRequest) -> None:
    """As in a browser."""
    file = io.BytesIO()
    soundfile.write(file, speech("en"), SAMPLE_RATE, format=kind, subtype=subtype)
    expected = load_audio(file.getvalue())
    request.getfixturevalue("no_soundfile")
    np.testing.assert_array_equal(load_audio(file.getvalue()), expected)
    with pytest.warns(AudioWarning, match="cut off"):
        assert len(load_audio(file.getvalue()[:-10_000])) < len(expected)


@pytest.mark.usefixtures("no_soundfile")
@pytest.mark.parametrize("name", ["silence.flac", "words.json", "en_8k_telephone.wav"])
def test_other_formats_without_soundfile(name: str) -> None:
    with pytest.raises(AudioError, match=r"the package soundfile is missing.*need the program ffmpeg"):
        load_audio(DATA / name)


def test_warning_category() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        assert len(load_audio(cut_wav())) == 29_000
