"""Decoding, beams, prompts and alignment compared with openai-whisper, and ten minutes of speech, silence and noise.

Tokens can be equal only at temperature 0, since the random numbers differ. The long recording is therefore transcribed
with fallback to temperature 0: a window that fails is decoded again without sampling.
"""

from typing import Any

import numpy as np
import pytest
from test_transcribe_parity import CLOSE, EXACT

import models
from openai_engine import share_alignment_heads
from recordings import noise, silence, speech
from whisper_apr.audio import log_mel_spectrogram, pad_or_trim
from whisper_apr.inference.word_timestamps.openai_timing import find_alignment
from whisper_apr.tokenizer import get_tokenizer

# openai-whisper's beam search calls NumPy's argsort on a tensor
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")]

OPTIONS = (
    {},
    {"beam_size": 1},
    {"beam_size": 2, "patience": 2.0},
    {"beam_size": 5, "patience": 1.5, "length_penalty": 0.0},
    {"beam_size": 5, "patience": 0.5, "length_penalty": 1.0},
    {"beam_size": 3, "without_timestamps": True, "prompt": "one two three"},
    {"prompt": [50, 60] * 200},
    {"prefix": "five", "sample_len": 100},
    {"prefix": "five six", "sample_len": 223},
    {"task": "translate", "language": "es"},
    {"max_initial_timestamp": 0.0, "suppress_blank": False},
    {"suppress_tokens": "", "without_timestamps": True},
    {"max_initial_timestamp": None, "suppress_tokens": [-1, 1115]},
)


def both(pair: Any, mel: np.ndarray, **options: Any) -> tuple[Any, Any]:
    import torch
    import whisper

    theirs = whisper.decode(pair.theirs, torch.from_numpy(mel), whisper.DecodingOptions(fp16=False, **options))
    return pair.ours.decode(mel, **options), theirs


def check(ours: Any, theirs: Any) -> None:
    assert ours.tokens == theirs.tokens
    assert (ours.text, ours.language) == (theirs.text, theirs.language)
    assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-3)
    assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-3)
    assert ours.compression_ratio == theirs.compression_ratio


def mel_of(samples: np.ndarray) -> np.ndarray:
    return pad_or_trim(log_mel_spectrogram(samples, padding=480_000), 3000)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["es", "en_noise", "en_long", "silence"])
def test_single_window(digits: Any, name: str, options: dict[str, Any]) -> None:
    samples = silence(10) if name == "silence" else speech(name)
    check(*both(digits, mel_of(samples), **options))


@pytest.mark.parametrize("options", OPTIONS[:6], ids=str)
@pytest.mark.parametrize("n_vocab", [51864, 51865, 51866])
def test_random_weights(random_pair: Any, n_vocab: int, options: dict[str, Any]) -> None:
    dims = models.dimensions(n_vocab=n_vocab)
    pair = random_pair(dims, seed=3)
    rng = np.random.default_rng(0)
    mel = rng.standard_normal((dims.n_mels, 2 * dims.n_audio_ctx)).astype(np.float32)
    check(*both(pair, mel, sample_len=20, language="en", **options))


@pytest.mark.parametrize("name", ["en", "es", "en_three", "en_late", "en_noise"])
def test_alignment(digits: Any, torch: Any, name: str) -> None:
    """Words, probabilities and times are those of openai-whisper's `find_alignment`."""
    import whisper.timing
    import whisper.tokenizer

    share_alignment_heads(digits)
    mel = mel_of(speech(name))
    language = "es" if name == "es" else "en"
    tokenizer = get_tokenizer(True, language=language)
    text = [t for t in digits.ours.decode(mel, language=language).tokens if t < tokenizer.eot]
    n_frames = min(3000, len(speech(name)) // 160)
    with torch.inference_mode():
        theirs = whisper.timing.find_alignment(
            digits.theirs,
            whisper.tokenizer.get_tokenizer(True, language=language),
            text,
            torch.from_numpy(mel),
            n_frames,
        )
    ours = find_alignment(digits.ours, tokenizer, text, digits.ours.embed_audio(mel), n_frames)
    spoken = [word for word in theirs if word.word != "<|endoftext|>"]
    assert [(w.word, list(w.tokens)) for w in ours] == [(w.word, w.tokens) for w in spoken]
    assert [(w.start, w.end) for w in ours] == [(w.start, w.end) for w in spoken]
    np.testing.assert_allclose([w.probability for w in ours], [w.probability for w in spoken], atol=1e-3)


def test_ten_minutes_with_fallback(digits: Any) -> None:
    names = ("en_three", "de_then_fr", "en_late", "es", "en_noise", "fr", "en")
    parts = []
    for i in range(5):
        for name in names:
            parts += [speech(name), silence(2 + i)]
        parts.append(noise(5 + 3 * i, 0.02, seed=i))
    samples = np.concatenate([*parts, speech("en_long")])[: 600 * 16000]
    assert len(samples) > 500 * 16000
    options = {"temperature": (0.0, 0.0), "logprob_threshold": -0.4, "compression_ratio_threshold": 1.6}
    theirs = digits.theirs.transcribe(samples, fp16=False, **options)
    ours = digits.ours.transcribe(samples, **options)
    assert ours.text == theirs["text"]
    assert len(ours.segments) == len(theirs["segments"]) > 20
    for a, b in zip(ours.segments, theirs["segments"], strict=True):
        assert {key: a[key] for key in EXACT} == {key: b[key] for key in EXACT}
        assert {key: a[key] for key in CLOSE} == pytest.approx({key: b[key] for key in CLOSE}, abs=1e-3)
