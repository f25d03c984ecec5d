"""The segmentation network with random weights; tests/parity has the published ones, beside PyTorch."""

import numpy as np
import pytest

from recordings import speech
from speaker_tensors import segmentation_tensors
from whisper_apr import simd
from whisper_apr.speakers.segmentation import FRAME_HOP, N_FRAMES, POWERSET, SegmentationModel

SAMPLES = np.stack([speech(name)[8000:24000] for name in ("en", "de")])


def test_every_backend_agrees(backend):
    found = SegmentationModel(segmentation_tensors())(SAMPLES)
    with simd.use_backend("numpy"):
        expected = SegmentationModel(segmentation_tensors())(SAMPLES)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_windows_of_a_batch_are_independent():
    model = SegmentationModel(segmentation_tensors())
    together = model(SAMPLES)
    for i in range(2):
        np.testing.assert_allclose(model(SAMPLES[i : i + 1])[0], together[i], atol=1e-5)
    np.testing.assert_allclose(np.exp(together).sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("overlap", [8000, 3000, 250, 15_995])
def test_what_windows_share_is_filtered_once(overlap):
    """The last two have no position of the filters in common, or none at the same places."""
    samples = np.concatenate([SAMPLES[0], SAMPLES[1]])
    step = SAMPLES.shape[1] - overlap
    windows = np.stack([samples[:16000], samples[step : step + 16000]])
    model = SegmentationModel(segmentation_tensors())
    assert np.array_equal(model(windows, overlap), model(windows))


def test_loudness_does_not_matter():
    model = SegmentationModel(segmentation_tensors())
    np.testing.assert_allclose(model(SAMPLES * 4), model(SAMPLES), atol=0.02)  # an epsilon is added to variances


@pytest.mark.parametrize("backward", [False, True])
def test_lstm_reads_in_both_directions(backward):
    """A change at one end reaches the other."""
    model = SegmentationModel(segmentation_tensors())
    changed = SAMPLES.copy()
    changed[:, slice(-500, None) if backward else slice(500)] *= 0.5
    difference = np.abs(model(changed) - model(SAMPLES)).max(axis=(0, 2))
    assert difference[0 if backward else -1] > 0


def test_number_of_frames():
    """As stated for a window of ten seconds."""
    n = 160_000
    for width, stride in ((251, 10), (3, 3), (5, 1), (3, 3), (5, 1), (3, 3)):
        n = (n - width) // stride + 1
    assert n == N_FRAMES
    assert FRAME_HOP == 10 * 3 * 3 * 3
    assert POWERSET.sum(axis=1).tolist() == [0, 1, 1, 1, 2, 2, 2]
