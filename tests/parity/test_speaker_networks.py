"""The speaker networks beside the same layers in PyTorch, with the weights of the package whisper-apr-speakers."""

import numpy as np
import pytest
import torch

from recordings import speech
from torch_speakers import embed, segment, stored, tensors
from whisper_apr.audio.fbank import fbank
from whisper_apr.speakers.embedding import EmbeddingModel
from whisper_apr.speakers.segmentation import SegmentationModel


@torch.no_grad()
@pytest.mark.parametrize("n", [160_000, 40_000])
def test_segmentation(n: int) -> None:
    samples = np.stack([np.resize(speech(name), n) for name in ("en", "de", "es")])
    found = SegmentationModel(stored("segmentation.npz"))(samples)
    expected = segment(tensors("segmentation.npz"), samples)
    assert found.shape == expected.shape
    np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("n", [40, 150, 201, 300])
def test_embedding(n: int) -> None:
    features = [fbank(speech(name))[:n] for name in ("en", "de")]
    features = np.stack([each - each.mean(axis=0) for each in features])
    found = EmbeddingModel(stored("embedding.npz"))(features)
    np.testing.assert_allclose(found, embed(tensors("embedding.npz"), features), atol=1e-3)
