"""Rebalancing finds constructed boundaries, whatever the attention is, and gives punctuation no time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.inference.word_timestamps.rebalance import count_letters, rebalance_boundaries


def laid(rng, sizes, frames_per_letter=10):
    """Return (boundaries, level) of words as long as their letters, with short pauses between them."""
    parts, borders = [], [0]
    for size in sizes:
        parts += [1 + 0.05 * rng.random(size * frames_per_letter), np.zeros(4)]
        borders.append(borders[-1] + len(parts[-2]) + 4)
    return np.array(borders), np.concatenate(parts)[:-2].astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
def test_boundaries_are_found_if_attention_is_wrong(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 6, 9)
    true, level = laid(rng, sizes)
    listening = (0.3 * rng.standard_normal((len(sizes), len(level)))).astype(np.float32)
    wrong = true.copy()
    wrong[-1] = len(level)
    k = int(rng.integers(1, len(sizes) - 1))
    wrong[k] = wrong[k + 1] - 1  # a word with next to nothing, beside one with the sound of two
    found = rebalance_boundaries(listening, sizes, level, wrong)
    assert np.abs(found[1:-1] - true[1:-1]).max() <= 4


def test_attention_decides_if_the_sound_does_not():
    """Two words of equal length and three sounds: the word that attends to the middle one gets it."""
    true, level = laid(np.random.default_rng(0), [3, 3, 3])
    listening = np.zeros((2, len(level)), np.float32)
    for border in (true[1], true[2]):
        listening[0, :border], listening[1, border:] = 1, 1
        listening[0, border:], listening[1, :border] = -1, -1
        found = rebalance_boundaries(listening, np.array([3, 3]), level, np.array([0, 7, len(level)]))
        assert abs(found[1] - border) <= 4


def test_punctuation_takes_no_time():
    true, level = laid(np.random.default_rng(1), [4, 4])
    sizes = np.array([count_letters(word) for word in (" four", ",", " nine")])
    assert sizes.tolist() == [4, 0, 4]
    found = rebalance_boundaries(np.zeros((3, len(level)), np.float32), sizes, level, np.array([0, 20, 60, len(level)]))
    assert np.abs(found[1:3] - true[1]).max() <= 4


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=80),
    st.lists(st.integers(0, 9), min_size=1, max_size=9),
    st.integers(0, 2**32 - 1),
)
def test_boundaries_stay_in_order_and_in_the_segment(levels, sizes, seed):
    rng, n = np.random.default_rng(seed), len(levels)
    borders = np.concatenate([[0], np.sort(rng.integers(0, n + 1, len(sizes) - 1)), [n]])
    listening = rng.standard_normal((len(sizes), n)).astype(np.float32)
    found = rebalance_boundaries(listening, np.array(sizes), np.array(levels, np.float32), borders)
    assert found.shape == borders.shape
    assert (found[0], found[-1]) == (0, n)
    assert (np.diff(found) >= 0).all()
