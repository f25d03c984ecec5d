"""Stored results of openai-whisper, so that tests can compare with it where torch is not installed.

`tests/data/reference.json` holds transcriptions by the digits model; `reference.npz` holds slices of spectrograms,
features and logits, of the digits model and of random weights. `tests/parity/make_reference.py` writes both, and
`tests/parity` checks that openai-whisper still gives these results.
"""

import json
from typing import Any

import numpy as np

import models
from recordings import DATA, RECORDINGS
from whisper_apr.audio import log_mel_spectrogram, pad_or_trim

TRANSCRIPTIONS = DATA / "reference.json"
VECTORS = DATA / "reference.npz"

# A short context, so that every backend is fast; numbers of heads, layers, mels and tokens that `digits` does not have.
RANDOM = {
    "random": (models.dimensions(160, 5, 3, n_mels=128, n_vocab=51866, audio_ctx=200, text_ctx=64), 7),
    "english": (models.dimensions(96, 2, 1, n_vocab=51864, audio_ctx=100, text_ctx=40), 8),
}
SAMPLE_LEN = 24
WINDOWS = ("en", "noise", "four_languages")  # recordings given to random weights

MELS = ("en", "de_clipped_hard", "en_quiet", "clicks", "noise", "one_second_of_silence")
HEARD = ("en", "fr_echo", "silence")  # recordings given to the digits model
N_TOKEN = 6

TRANSLATED = ("de", "es", "fr", "de_then_fr", "es_pause_fr", "four_languages", "de_45_s", "es_60_s", "fr_slow")


def mel_slice(mel: np.ndarray) -> np.ndarray:
    """Return every 50th frame."""
    return mel[:, ::50]


def feature_slice(features: np.ndarray) -> np.ndarray:
    return features[..., ::40, :]


def logit_slice(logits: np.ndarray) -> np.ndarray:
    return logits[..., ::101]


def window(name: str, n_mels: int, n_frames: int = 3000) -> np.ndarray:
    """Return the spectrogram of the beginning of a recording, `(n_mels, n_frames)`."""
    return pad_or_trim(log_mel_spectrogram(RECORDINGS[name](), n_mels), n_frames)


def tokens(n_vocab: int) -> np.ndarray:
    """Return N_TOKEN tokens from the whole vocabulary, always the same."""
    return (np.arange(N_TOKEN) * 7919 + 50258) % n_vocab


def summary(result: Any) -> dict[str, Any]:
    """Return the part of a transcription, by either engine, that is stored."""
    return {
        "language": result["language"],
        "text": result["text"],
        "segments": [
            [segment["seek"], segment["start"], segment["end"], list(segment["tokens"])]
            for segment in result["segments"]
        ],
    }


def transcriptions() -> dict[str, dict[str, Any]]:
    """Return `{"transcribe": {recording: summary}, "translate": ...}`, at temperature 0."""
    return json.loads(TRANSCRIPTIONS.read_text())  # type: ignore[no-any-return]


def vectors() -> dict[str, np.ndarray]:
    with np.load(VECTORS) as file:
        return dict(file)
