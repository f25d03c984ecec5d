"""Transcription of whole recordings compared with openai-whisper: the same tokens, segments, times and language."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import models
import reference
from recordings import RECORDINGS
from whisper_apr.audio import log_mel_spectrogram, pad_or_trim

pytestmark = pytest.mark.parity

EXACT = ("id", "seek", "start", "end", "text", "tokens", "temperature", "compression_ratio")
CLOSE = ("avg_logprob", "no_speech_prob")  # sums of float32

# Loops, silence, noise and recordings of several windows, which need temperature fallback.
DIFFICULT = (
    *(
        "silence",
        "noise",
        "faint_noise_40_s",
        "tone",
        "tone_35_s",
        "clicks",
        "en_quiet",
        "es_under_noise",
        "es_backwards",
    ),
    *("de_clipped_hard", "fr_echo", "one_second", "en_long", "de_then_fr", "four_90_s"),
)


def check(pair: Any, name: str, **options: Any) -> dict[str, Any]:
    samples = RECORDINGS[name]()
    theirs = pair.theirs.transcribe(samples, fp16=False, **options)
    ours = pair.ours.transcribe(samples, **options)
    assert ours.language == theirs["language"]
    assert ours.text == theirs["text"]
    assert len(ours.segments) == len(theirs["segments"])
    for a, b in zip(ours.segments, theirs["segments"], strict=True):
        assert {key: a[key] for key in EXACT} == {key: b[key] for key in EXACT}
        assert {key: a[key] for key in CLOSE} == pytest.approx({key: b[key] for key in CLOSE}, abs=1e-3)
    return theirs  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def committed() -> dict[str, dict[str, Any]]:
    return reference.transcriptions()


@pytest.mark.parametrize("name", RECORDINGS)
def test_greedy(digits: Any, committed: dict[str, dict[str, Any]], name: str) -> None:
    theirs = check(digits, name, temperature=0.0)
    assert reference.summary(theirs) == committed["transcribe"][name]  # the stored results are still openai-whisper's


@pytest.mark.parametrize("name", reference.TRANSLATED)
def test_translated(digits: Any, committed: dict[str, dict[str, Any]], name: str) -> None:
    theirs = check(digits, name, temperature=0.0, task="translate")
    assert reference.summary(theirs) == committed["translate"][name]


@pytest.mark.parametrize("name", DIFFICULT)
def test_fallback_without_sampling(digits: Any, name: str) -> None:
    """Every temperature is 0, so that fallback is exercised without random numbers."""
    check(digits, name, temperature=(0.0, 0.0), condition_on_previous_text=False)


@pytest.mark.parametrize("name", ["en", "de", "es", "fr", "en_three", "en_8k_telephone", "silence", "noise"])
def test_default_options(digits: Any, name: str) -> None:
    """Recordings whose windows do not fail at temperature 0, so that no random number is drawn."""
    theirs = check(digits, name)
    assert {segment["temperature"] for segment in theirs["segments"]} <= {0.0}


@pytest.mark.parametrize(
    "options",
    [
        {"language": "en"},
        {"language": "fr", "initial_prompt": "zéro un deux"},
        {"language": "de", "initial_prompt": "null eins", "carry_initial_prompt": True},
        {"without_timestamps": True},
        {"max_initial_timestamp": None},
        {"suppress_blank": False, "suppress_tokens": ""},
        {"suppress_tokens": "1,2,3"},
        {"sample_len": 9},
        {"prefix": "three"},
        {"no_speech_threshold": None},
        {"no_speech_threshold": 0.0, "logprob_threshold": None},
        {"no_speech_threshold": 0.0, "logprob_threshold": 0.0, "compression_ratio_threshold": 0.1},
        {"logprob_threshold": None, "compression_ratio_threshold": None},
        {"clip_timestamps": "1.5,7.25,31,44.5"},
        {"clip_timestamps": [3.0]},
    ],
    ids=str,
)
def test_options(digits: Any, options: dict[str, Any]) -> None:
    for name in ("four_90_s", "de_then_fr"):
        check(digits, name, temperature=0.0, **options)


@pytest.mark.parametrize(
    "dims",
    [
        models.TINY,
        models.dimensions(320, 5, 3, n_mels=128, n_vocab=51866),
        models.dimensions(192, 3, 2, n_vocab=51864),
    ],
    ids=["tiny", "5 heads, 128 mels, 51,866 tokens", "English-only"],
)
def test_random_weights(torch: Any, random_pair: Callable[..., Any], dims: Any) -> None:
    """Random weights give random text, which exercises every rule and token; 60 tokens per window."""
    pair = random_pair(dims)
    # without a language, openai-whisper detects it even for English-only models
    language = None if pair.ours.is_multilingual else "en"
    for name in ("en", "noise", "over_the_border"):
        mel = pad_or_trim(log_mel_spectrogram(RECORDINGS[name](), dims.n_mels), 3000)
        theirs = pair.theirs.decode(torch.from_numpy(mel), fp16=False, sample_len=60, language=language)
        ours = pair.ours.decode(mel, sample_len=60, language=language)
        assert ours.language == theirs.language
        assert list(ours.tokens) == theirs.tokens
        assert ours.text == theirs.text
        assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-3)
        assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-4)
        check(pair, name, temperature=0.0, sample_len=12)
        # timestamps beyond the end of a clip and the start of the next
        check(pair, name, temperature=0.0, sample_len=12, clip_timestamps="0,1,1,2.5,2.8,4,4")


def test_a_batch_of_windows(torch: Any, digits: Any) -> None:
    names = ("en", "de", "es", "fr", "silence", "de_fast")
    mel = np.stack([pad_or_trim(log_mel_spectrogram(RECORDINGS[name]()), 3000) for name in names])
    theirs = digits.theirs.decode(torch.from_numpy(mel), fp16=False)
    ours = digits.ours.decode(mel)
    assert [(r.language, list(r.tokens), r.text) for r in ours] == [(r.language, r.tokens, r.text) for r in theirs]
