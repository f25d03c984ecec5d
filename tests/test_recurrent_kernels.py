"""The LSTM kernel on every backend, compared with the same computation in float64."""

import numpy as np
import pytest

import cases
from whisper_apr import simd


def exact_lstm(inputs, weight, backward):
    def sigmoid(x):
        return 0.5 + 0.5 * np.tanh(0.5 * x)

    hidden = cell = np.zeros((inputs.shape[1], weight.shape[1]))
    out = []
    for row in inputs[::-1] if backward else inputs:
        enter, forget, update, leave = np.split(row + hidden @ weight.T.astype(np.float64), 4, axis=-1)
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(update)
        hidden = sigmoid(leave) * np.tanh(cell)
        out.append(hidden)
    return np.array(out[::-1] if backward else out)


def arguments(steps, rows, states, scale=1.0):
    weight = cases.normal(1, 4 * states, states) / np.float32(np.sqrt(states))
    return cases.normal(2, steps, rows, 4 * states) * np.float32(scale), weight


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("states", [16, 48, 128])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 9, 13, 16])
def test_lstm(backend, rows, states, backward):
    inputs, weight = arguments(7, rows, states)
    found = simd.lstm(inputs, simd.pack(weight), backward=backward)
    np.testing.assert_allclose(found, exact_lstm(inputs, weight, backward), rtol=0, atol=2e-6)


def test_many_steps(backend):
    """As many as a window of ten seconds has: errors do not accumulate."""
    inputs, weight = arguments(589, 2, 128)
    np.testing.assert_allclose(simd.lstm(inputs, simd.pack(weight)), exact_lstm(inputs, weight, False), atol=1e-5)


def test_saturated_gates(backend):
    inputs, weight = arguments(6, 3, 32, scale=1e4)
    np.testing.assert_allclose(simd.lstm(inputs, simd.pack(weight)), exact_lstm(inputs, weight, False), atol=2e-6)
    inputs[0, 1, :32] = np.inf  # the input gate of one row is 1
    assert np.isfinite(simd.lstm(inputs, simd.pack(weight))).all()


def test_nan_stays_in_its_row(backend):
    inputs, weight = arguments(6, 5, 32)
    expected = simd.lstm(inputs, simd.pack(weight))
    inputs[2, 3, 40] = np.nan
    found = simd.lstm(inputs, simd.pack(weight))
    np.testing.assert_array_equal(np.isnan(found).all(axis=-1), np.arange(6)[:, None] * (np.arange(5) == 3) >= 3)
    others = np.arange(5) != 3
    np.testing.assert_array_equal(found[:, others], expected[:, others])


@pytest.mark.parametrize("rows", [1, 7, 16, 29])
def test_rows_and_threads_do_not_matter(backend, rows):
    inputs, weight = arguments(5, rows, 32)
    panels = simd.pack(weight)
    expected = simd.lstm(inputs, panels)
    threads = simd.get_num_threads()
    try:
        for n in (1, 2, 3):
            simd.set_num_threads(n)
            np.testing.assert_array_equal(simd.lstm(inputs, panels), expected)
    finally:
        simd.set_num_threads(threads)
    if backend != "numpy":
        for i in range(rows):
            np.testing.assert_array_equal(simd.lstm(inputs[:, i : i + 1], panels)[:, 0], expected[:, i])


@pytest.mark.parametrize("shape", [(0, 3, 64), (3, 0, 64)])
def test_nothing(backend, shape):
    assert simd.lstm(np.zeros(shape, np.float32), simd.pack(cases.normal(1, 64, 16))).shape == (*shape[:2], 16)
