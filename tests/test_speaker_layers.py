"""Layers that the speaker networks share: comparisons of floats by their bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.speakers import layers
from whisper_apr.speakers.layers import LowerLimit, absolute, relu

floats = st.floats(width=32, allow_nan=False)
rows = st.lists(st.tuples(floats, floats), min_size=1, max_size=40)


@given(rows)
def test_relu_and_absolute(pairs):
    values = np.array(pairs, np.float32)
    assert np.array_equal(relu(values.copy()), np.maximum(values, 0))
    assert np.array_equal(absolute(values.copy()), np.abs(values))


@pytest.mark.parametrize("is_slow", [False, True])
@given(pairs=rows)
def test_lower_limits_of_either_sign(is_slow, pairs):
    low, values = np.array(pairs, np.float32).T.copy()
    x = np.stack([values, -values, low, np.zeros_like(low)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "_HAS_SLOW_FLOATS", is_slow)
        before = x.copy()
        assert np.array_equal(LowerLimit(low)(x), np.maximum(x, low))
        assert np.array_equal(x, before)


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_part_of_the_channels(is_slow, monkeypatch):
    monkeypatch.setattr(layers, "_HAS_SLOW_FLOATS", is_slow)
    wide = np.random.default_rng(0).standard_normal((2, 5, 9)).astype(np.float32)
    low = np.linspace(-1, 1, 4, dtype=np.float32)
    assert np.array_equal(LowerLimit(low)(wide[..., :4]), np.maximum(wide[..., :4], low))
