"""Comparison with stored results of openai-whisper (see reference.py), without torch, on every backend."""

from typing import Any

import numpy as np
import pytest

import models
import reference
from recordings import RECORDINGS
from whisper_apr import Recognizer, load_model
from whisper_apr.audio import log_mel_spectrogram

pytestmark = pytest.mark.usefixtures("encoded_once")

VECTORS = reference.vectors()
TRANSCRIPTIONS = reference.transcriptions()


def open_random(name: str) -> Recognizer:
    dims, seed = reference.RANDOM[name]
    return Recognizer(models.random_checkpoint(dims, seed))


def test_every_recording_has_a_reference() -> None:
    assert list(TRANSCRIPTIONS["transcribe"]) == list(RECORDINGS)
    assert len(RECORDINGS) >= 40
    lengths = {name: len(make()) / 16_000 for name, make in RECORDINGS.items()}
    assert min(lengths.values()) == 1
    assert max(lengths.values()) == 90


@pytest.mark.parametrize("name", reference.MELS)
@pytest.mark.parametrize("n_mels", [80, 128])
def test_spectrograms(backend: str, name: str, n_mels: int) -> None:
    mel = log_mel_spectrogram(RECORDINGS[name](), n_mels, padding=480_000)
    np.testing.assert_allclose(reference.mel_slice(mel), VECTORS[f"mel {n_mels} {name}"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["digits", *reference.RANDOM])
def test_features_logits_and_tokens(backend: str, name: str) -> None:
    model = load_model("digits") if name == "digits" else open_random(name)
    dims = model.dims
    windows = reference.HEARD if name == "digits" else reference.WINDOWS
    mel = np.stack([reference.window(window, dims.n_mels, 2 * dims.n_audio_ctx) for window in windows])
    features = model.embed_audio(mel)
    expected = VECTORS[f"{name} features"]
    largest = np.abs(expected).max()
    np.testing.assert_allclose(reference.feature_slice(features), expected, rtol=0, atol=1e-3 * largest)

    tokens = np.tile(reference.tokens(dims.n_vocab), (len(windows), 1))
    logits = model.logits(tokens, features)
    np.testing.assert_allclose(reference.logit_slice(logits), VECTORS[f"{name} logits"], rtol=0, atol=1e-3)
    if name == "digits":
        return
    language = None if model.is_multilingual else "en"
    results = model.decode(mel, sample_len=reference.SAMPLE_LEN, language=language)
    assert isinstance(results, list)
    for result, row in zip(results, VECTORS[f"{name} tokens"], strict=True):
        assert list(result.tokens) == [token for token in row.tolist() if token >= 0]


@pytest.fixture(scope="module")
def digits() -> Recognizer:
    return load_model("digits")


def check(model: Recognizer, task: str, name: str, **options: Any) -> None:
    result = model.transcribe(RECORDINGS[name](), temperature=0.0, task=task, **options)
    assert reference.summary(result) == TRANSCRIPTIONS[task][name]


@pytest.mark.parametrize("name", RECORDINGS)
def test_transcriptions(digits: Recognizer, name: str) -> None:
    check(digits, "transcribe", name)


@pytest.mark.parametrize("name", reference.TRANSLATED)
def test_translations(digits: Recognizer, name: str) -> None:
    check(digits, "translate", name)


def test_a_transcription_on_every_backend(backend: str) -> None:
    check(load_model("digits"), "transcribe", "es_pause_fr")
