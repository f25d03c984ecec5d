"""Live transcription: final words, agreement with the transcription of the whole recording, bounded memory."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from whisper_apr import LiveTranscriber, load_audio
from whisper_apr.audio import SAMPLE_RATE, resample
from whisper_apr.errors import AudioError, OptionError

pytestmark = pytest.mark.usefixtures("encoded_once")

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """Return two utterances, each followed by two seconds of faint noise."""
    noise = np.random.default_rng(0).normal(0, 1e-3, 2 * SAMPLE_RATE).astype(np.float32)
    return np.concatenate([load_audio(DATA / "en.wav"), noise, load_audio(DATA / "de.wav"), noise])


def live(model, samples, n_push, **settings):
    """Return the result of every call, with `n_push` samples per call."""
    stream = LiveTranscriber(model, **settings)
    return [*(stream.push(samples[i : i + n_push]) for i in range(0, len(samples), n_push)), stream.finish()]


@pytest.mark.parametrize(("n_push", "step"), [(4_000, 2.5), (30_000, 1)])
def test_final_text_is_that_of_the_whole_recording(model, recording, n_push, step):
    texts = live(model, recording, n_push, step=step)
    en, de = (model.transcribe(DATA / f"{name}.wav").text for name in ("en", "de"))
    assert "".join(text.settled_text for text in texts).split() == f"{en} {de}".split()
    assert texts[-1].tentative == ()
    words = [word for text in texts for word in text.settled]
    assert all(a.start <= b.start for a, b in pairwise(words))
    assert words[-1].end <= len(recording) / SAMPLE_RATE


def test_words_become_final_before_the_utterance_ends(model, recording):
    n_speech = len(load_audio(DATA / "en.wav"))
    stream = LiveTranscriber(model)
    texts = [stream.push(part) for part in np.array_split(recording[:n_speech], 4)]
    assert any(text.tentative for text in texts)
    assert sum(len(text.settled) for text in texts) >= 2


def test_other_rates_channels_and_dtypes(model):
    samples = load_audio(DATA / "en.wav")
    stereo = np.repeat(resample(samples, SAMPLE_RATE, 44_100)[:, None], 2, axis=1)
    texts = live(model, (stereo * 32_767).astype(np.int16), 44_100, sampling_rate=44_100, step=3)
    assert "".join(text.settled_text for text in texts).split() == model.transcribe(samples).text.split()


def test_audio_without_speech_has_no_text(model):
    noise = np.random.default_rng(1).normal(0, 0.05, 6 * SAMPLE_RATE).astype(np.float32)
    tones = 0.1 * np.sin(np.arange(6 * SAMPLE_RATE) * 0.2).astype(np.float32)
    for sound in (noise, tones, np.zeros_like(noise)):
        assert all(not text.settled and not text.tentative for text in live(model, sound, 16_000))


def test_unbroken_speech(model, monkeypatch):
    """It is cut after its final words, whose samples are then released."""
    monkeypatch.setattr("whisper_apr.inference.live.LONGEST", 6 * SAMPLE_RATE)
    speech = load_audio(DATA / "en.wav")[: 3 * SAMPLE_RATE]
    stream, kept, n_word = LiveTranscriber(model, step=3, temperature=0), [], 0
    for _ in range(8):
        n_word += len(stream.push(speech).settled)
        kept.append(len(stream._kept))
    n_word += len(stream.finish().settled)
    assert max(kept) <= 12 * SAMPLE_RATE
    assert n_word >= 6 * len(model.transcribe(speech).text.split())


def test_invalid_input(model):
    with pytest.raises(OptionError):
        LiveTranscriber(model, step=0)
    stream = LiveTranscriber(model)
    for wrong in (np.full(100, np.nan), np.zeros(100, complex), np.zeros((2, 2, 2))):
        with pytest.raises(AudioError):
            stream.push(wrong)
    assert stream.finish().settled == ()
