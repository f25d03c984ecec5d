"""The network compared with openai-whisper: features within 1e-3 of their largest value, logits within 1e-3."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import models
import whisper_apr
from recordings import RECORDINGS
from whisper_apr.audio import log_mel_spectrogram, pad_or_trim
from whisper_apr.formats import ModelDimensions

pytestmark = pytest.mark.parity

SIZES = {
    "tiny": models.TINY,
    "base": models.BASE,
    "3 layers": models.dimensions(256, 4, 3),
    "5 heads": models.dimensions(320, 5, 2),
    "128 mels and 51,866 tokens": models.dimensions(128, 2, 2, n_mels=128, n_vocab=51866),
    "English-only": models.dimensions(192, 3, 2, n_vocab=51864),
    "heads of 48": models.dimensions(144, 3, 1),
}


def check(torch: Any, pair: Any, names: tuple[str, ...], n_token: int) -> None:
    dims = pair.ours.dims
    mel = np.stack([pad_or_trim(log_mel_spectrogram(RECORDINGS[name](), dims.n_mels), 3000) for name in names])
    theirs = pair.theirs.embed_audio(torch.from_numpy(mel)).numpy()
    ours = pair.ours.embed_audio(mel)
    assert ours.shape == theirs.shape == (len(names), dims.n_audio_ctx, dims.n_audio_state)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3 * np.abs(theirs).max())

    tokens = np.random.default_rng(0).integers(0, dims.n_vocab, (len(names), n_token))
    expected = pair.theirs.logits(torch.from_numpy(tokens), torch.from_numpy(theirs)).numpy()
    assert expected.std() > 0.5  # otherwise any logits would agree within 1e-3
    np.testing.assert_allclose(pair.ours.logits(tokens, ours), expected, rtol=0, atol=1e-3)


def test_digits(torch: Any, digits: Any) -> None:
    assert digits.ours.dims == whisper_apr.formats.ModelDimensions(**vars(digits.theirs.dims))
    check(torch, digits, ("en", "de", "silence", "tone"), 100)


@pytest.mark.parametrize("size", SIZES)
def test_random_weights(torch: Any, random_pair: Callable[..., Any], size: str) -> None:
    pair = random_pair(SIZES[size])
    assert pair.ours.is_multilingual == pair.theirs.is_multilingual
    assert pair.ours.num_languages == pair.theirs.num_languages
    check(torch, pair, ("fr", "noise"), 20)


def test_float16_weights(torch: Any, random_pair: Callable[..., Any]) -> None:
    check(torch, random_pair(models.dimensions(128, 2, 2), 1, np.float16), ("es",), 448)


def one_by_one(pair: Any, torch: Any, dims: ModelDimensions, n_token: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of each position from our KV cache, and of all positions at once from openai-whisper."""
    mel = pad_or_trim(log_mel_spectrogram(RECORDINGS["en"](), dims.n_mels), 3000)[None]
    tokens = np.random.default_rng(1).integers(0, dims.n_vocab, (1, n_token))
    features = pair.theirs.embed_audio(torch.from_numpy(mel))
    cache = pair.ours.decoder.new_cache(features.numpy())
    ours = np.concatenate([pair.ours.decoder(tokens[:, i : i + 1], cache).copy() for i in range(n_token)], axis=1)
    return ours, pair.theirs.logits(torch.from_numpy(tokens), features).numpy()


def test_token_by_token(torch: Any, random_pair: Callable[..., Any]) -> None:
    dims = models.dimensions(128, 2, 2)
    ours, theirs = one_by_one(random_pair(dims), torch, dims, 60)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)


def test_detect_language(torch: Any, digits: Any, random_pair: Callable[..., Any]) -> None:
    pairs = {"digits": digits, "100 languages": random_pair(SIZES["128 mels and 51,866 tokens"])}
    for pair in pairs.values():
        mel = np.stack(
            [
                pad_or_trim(log_mel_spectrogram(RECORDINGS[name](), pair.ours.dims.n_mels), 3000)
                for name in ("en", "de", "es", "fr", "silence", "noise")
            ]
        )
        tokens, probabilities = pair.ours.detect_language(mel)
        expected, theirs = pair.theirs.detect_language(torch.from_numpy(mel))
        np.testing.assert_array_equal(tokens, expected.numpy())
        for a, b in zip(probabilities, theirs, strict=True):
            assert a.keys() == b.keys()
            for code, value in b.items():
                assert a[code] == pytest.approx(value, abs=1e-4)
