"""int4 with error feedback: the error of outputs, and what the second moments must be."""

import numpy as np
import pytest

from whisper_apr.simd.feedback import quantize_int4_with_feedback
from whisper_apr.simd.quantize import QuantizedWeight, quantize_int4

RNG = np.random.default_rng(0)


def correlated(n_in: int, n_row: int = 500) -> np.ndarray:
    """Return inputs `(n_row, n_in)`, most of whose power is in 20 directions."""
    rng = np.random.default_rng(n_in)
    plain = rng.normal(0, 0.1, (n_row, n_in))
    return (rng.normal(size=(n_row, 20)) @ rng.normal(size=(20, n_in)) + plain).astype(np.float32)


def error(weight: np.ndarray, found: QuantizedWeight, inputs: np.ndarray) -> float:
    return float(np.mean((inputs @ (found.dequantize() - weight).T) ** 2))


@pytest.mark.parametrize(("n_out", "n_in"), [(50, 160), (7, 100), (1, 33), (3, 20)])
def test_outputs_have_less_error_on_inputs_that_were_not_measured(n_out: int, n_in: int) -> None:
    seen, unseen = np.split(correlated(n_in, 1000), 2)
    weight = RNG.normal(size=(n_out, n_in)).astype(np.float32)
    moments = seen.T @ seen
    nearest = quantize_int4(weight, np.diag(moments))
    found = quantize_int4_with_feedback(weight, [moments])
    assert error(weight, found, unseen) < 0.5 * error(weight, nearest, unseen)
    np.testing.assert_array_equal(found.scales, nearest.scales)
    assert found.values.min() >= -8
    assert found.values.max() <= 7


def test_blocks_are_between_nearest_and_whole() -> None:
    inputs = correlated(160)
    weight = RNG.normal(size=(50, 160)).astype(np.float32)
    moments = inputs.T @ inputs
    whole = quantize_int4_with_feedback(weight, [moments])
    blocks = quantize_int4_with_feedback(weight, [moments[:96, :96], moments[96:, 96:]])
    nearest = quantize_int4(weight, np.diag(moments))
    assert error(weight, whole, inputs) < error(weight, blocks, inputs) < error(weight, nearest, inputs)


def test_uncorrelated_inputs_have_no_feedback() -> None:
    weight = RNG.normal(size=(9, 70)).astype(np.float32)
    power = RNG.uniform(0.1, 10, 70).astype(np.float32)
    found, nearest = quantize_int4_with_feedback(weight, [np.diag(power)]), quantize_int4(weight, power)
    close = found.values == nearest.values
    assert close.mean() > 0.99  # the reciprocal of a scale may round differently


def test_the_scale_of_moments_and_the_size_of_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, weight = correlated(64), RNG.normal(size=(40, 64)).astype(np.float16)
    moments = inputs.T @ inputs
    found = quantize_int4_with_feedback(weight, [moments])
    np.testing.assert_array_equal(quantize_int4_with_feedback(weight, [moments * 1024]).values, found.values)
    monkeypatch.setattr("whisper_apr.simd.feedback._BLOCK", 64 * 16)
    np.testing.assert_array_equal(quantize_int4_with_feedback(weight, [moments]).values, found.values)


def test_inputs_that_are_always_0() -> None:
    weight = RNG.normal(size=(5, 64)).astype(np.float32)
    unused = np.zeros((64, 64), np.float32)
    np.testing.assert_array_equal(
        quantize_int4_with_feedback(weight, [unused]).values, quantize_int4(weight, np.zeros(64)).values
    )
    inputs = correlated(64)
    inputs[:, 10:20] = 0
    found = quantize_int4_with_feedback(weight, [inputs.T @ inputs])
    largest = np.abs(found.scales.astype(np.float32)).max()
    assert np.abs(found.dequantize() - weight)[:, 10:20].max() <= 4 * largest  # no feedback from others
    zeros = quantize_int4_with_feedback(np.zeros_like(weight), [inputs.T @ inputs])
    assert not zeros.values.any()


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        ([np.eye(63)], "square matrices of 64 inputs"),
        ([np.ones((64, 32))], "square matrices of 64 inputs"),
        ([], "square matrices of 64 inputs"),
        ([np.eye(20), np.eye(44)], "multiple of 32"),
        ([np.full((64, 64), np.nan)], "finite"),
        ([-np.eye(64)], "at least 0"),
        ([np.eye(64) - 1 + np.eye(64)], "at least 0|semidefinite"),
        ([np.eye(64) * 0.5 + np.fliplr(np.eye(64)) * 9], "semidefinite"),
    ],
)
def test_moments_must_fit(moments: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantize_int4_with_feedback(np.ones((2, 64), np.float32), moments)


def test_weights_are_checked() -> None:
    for wrong in ([[1.0] * 32], np.ones(32, np.float32), np.ones((2, 32), int), np.full((2, 32), np.inf)):
        with pytest.raises((TypeError, ValueError), match="a weight to quantize"):
            quantize_int4_with_feedback(wrong, [np.eye(32)])  # type: ignore[arg-type]
