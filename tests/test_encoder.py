"""The encoder beside its definition in float64, and independent of batch and threads."""

import math

import numpy as np
import pytest

import cases
import models
from whisper_apr import simd
from whisper_apr.model.encoder import AudioEncoder
from whisper_apr.model.layers import Tensors

DIMS = models.dimensions(32, 2, 2, n_mels=5, audio_ctx=37)
TENSORS = models.random_tensors(DIMS, 3)
erf = np.vectorize(math.erf)


def gelu(x: np.ndarray) -> np.ndarray:
    return x / 2 * (1 + erf(x / math.sqrt(2)))


def defined(mel: np.ndarray) -> np.ndarray:
    """Return the features `(n, 32)` of one window `(n_mels, 2 * n)`, `n` at most 37."""
    t = {name: x.astype(np.float64) for name, x in TENSORS.items()}

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ t[f"{name}.weight"].T + t.get(f"{name}.bias", 0.0)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * t[f"{name}.weight"] + t[f"{name}.bias"]

    def convolution(x: np.ndarray, name: str, stride: int) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1)[:, ::stride]
        return gelu(np.einsum("oik,itk->ot", t[f"{name}.weight"], windows) + t[f"{name}.bias"][:, None])

    x = convolution(convolution(mel.astype(np.float64), "encoder.conv1", 1), "encoder.conv2", 2).T
    x = x + t["encoder.positional_embedding"][: len(x)]
    for i in range(DIMS.n_audio_layer):
        block = f"encoder.blocks.{i}"
        y = norm(x, f"{block}.attn_ln")
        q, k, v = (linear(y, f"{block}.attn.{part}").reshape(-1, 2, 16) for part in ("query", "key", "value"))
        scores = np.einsum("qhd,khd->hqk", q, k) / 4
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        x = x + linear(np.einsum("hqk,khd->qhd", weights, v).reshape(-1, 32), f"{block}.attn.out")
        x = x + linear(gelu(linear(norm(x, f"{block}.mlp_ln"), f"{block}.mlp.0")), f"{block}.mlp.2")
    return norm(x, "encoder.ln_post")


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    return AudioEncoder(Tensors(TENSORS), DIMS)


def test_definition(backend, encoder):
    mel = cases.normal(1, 2, 5, 74)
    features = encoder(mel)
    assert features.dtype == np.float32
    for window, got in zip(mel, features, strict=True):
        np.testing.assert_allclose(got, defined(window), rtol=0, atol=2e-5)


def test_a_batch_equals_single_windows(compiled_backend, encoder):
    mel = cases.normal(2, 3, 5, 74)
    np.testing.assert_array_equal(encoder(mel), np.concatenate([encoder(mel[i : i + 1]) for i in range(3)]))


def test_the_beginning_of_a_window(compiled_backend, encoder):
    """Fewer frames give what a model with fewer positions gives."""
    mel = cases.normal(2, 1, 5, 74)[:, :, :40]
    np.testing.assert_allclose(encoder(mel)[0], defined(mel[0]), rtol=0, atol=2e-5)


def test_threads_do_not_change_the_result(compiled_backend, encoder):
    before, mel = simd.get_num_threads(), cases.normal(3, 1, 5, 74)
    try:
        results = []
        for n in (1, 2, 3):
            simd.set_num_threads(n)
            results.append(encoder(mel))
    finally:
        simd.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_cancelling_before_every_layer(encoder):
    class Stopped(Exception):
        pass

    calls = []

    def checkpoint() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        encoder(cases.normal(4, 1, 5, 74), checkpoint)
    assert len(calls) == 2


@pytest.mark.parametrize("shape", [(5, 74), (1, 5, 73), (1, 4, 74), (1, 74, 5)])
def test_invalid_shapes(encoder, shape):
    with pytest.raises(ValueError, match="mel must have the shape"):
        encoder(np.zeros(shape, np.float32))
