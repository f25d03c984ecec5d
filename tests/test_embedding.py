"""The embedding network with random weights; tests/parity has the published ones, beside PyTorch."""

import numpy as np
import pytest

from recordings import speech
from speaker_tensors import embedding_tensors
from whisper_apr import simd
from whisper_apr.audio.fbank import fbank
from whisper_apr.speakers.embedding import EmbeddingModel

FEATURES = np.stack([fbank(speech(name))[50:110] for name in ("en", "de")])


def test_every_backend_agrees(backend):
    found = EmbeddingModel(embedding_tensors())(FEATURES)
    with simd.use_backend("numpy"):
        expected = EmbeddingModel(embedding_tensors())(FEATURES)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("n", [3, 40, 60])
def test_recordings_of_a_batch_are_independent(n):
    model = EmbeddingModel(embedding_tensors())
    together = model(FEATURES[:, :n])
    assert together.shape == (2, 192)
    for i in range(2):
        np.testing.assert_allclose(model(FEATURES[i : i + 1, :n])[0], together[i], rtol=1e-4, atol=1e-4)


def test_the_mask_depends_on_the_segment():
    """A change in the second segment of two seconds changes what the first contributes only by the overall mean."""
    model = EmbeddingModel(embedding_tensors())
    long = np.concatenate([FEATURES, FEATURES, FEATURES, FEATURES], axis=1)[:, :230]
    changed = long.copy()
    changed[:, 205:] = 0
    assert np.abs(model(changed) - model(long)).max() > 1e-3
