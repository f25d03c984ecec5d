"""Alignment: dynamic time warping on constructed paths, the median filter, and word times near the truth."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr import simd
from whisper_apr.inference.word_timestamps.alignment import WordTiming, merge_punctuations
from whisper_apr.inference.word_timestamps.loudness import Loudness

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 9), (9, 1), (10, 20), (32, 16), (123, 150)])
def test_dtw_finds_a_constructed_path(backend, n, m):
    rng = np.random.default_rng(n + m)
    steps = np.concatenate([np.tile([[1, 0]], (n - 1, 1)), np.tile([[0, 1]], (m - 1, 1))])
    rng.shuffle(steps)
    way = np.concatenate([[[0, 0]], np.cumsum(steps, axis=0)]).astype(int) if len(steps) else np.array([[0, 0]])
    cost = rng.random((n, m), np.float32)
    cost[way[:, 0], way[:, 1]] -= 1  # each place on the way pays, so that it is worth taking whole
    np.testing.assert_array_equal(simd.dtw(cost), way.T)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 17, 200])
@pytest.mark.parametrize("width", [1, 3, 7, 13])
def test_median_filter(backend, n, width):
    x = np.random.default_rng(n).standard_normal((2, 3, n)).astype(np.float32)
    half = width // 2
    expected = x
    if n > half:
        padded = np.pad(x, ((0, 0), (0, 0), (half, half)), mode="reflect")
        expected = np.median(np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1), axis=-1)
    np.testing.assert_array_equal(simd.median_filter(x, width), expected.astype(np.float32))


def test_logsumexp(backend):
    x = np.random.default_rng(0).standard_normal((4, 1003)).astype(np.float32) * 5
    x[1, 5:] = -np.inf
    x[2] = -np.inf
    expected = np.log(np.exp(x[[0, 1, 3]].astype(np.float64)).sum(axis=1))
    got = simd.logsumexp(x)
    np.testing.assert_allclose(got[[0, 1, 3]], expected, atol=1e-4)
    assert got[2] == -np.inf


def test_punctuation_is_merged_with_its_word():
    words = [WordTiming(w, (i,), i, i + 1, 0.5) for i, w in enumerate([' "', " (", " Hello", ",", " world", ".", '"'])]
    merged = merge_punctuations(words, "\"'“¿([{-", "\"'.,")
    assert [w.word for w in merged] == [' " ( Hello,', ' world."']
    assert [w.tokens for w in merged] == [(0, 1, 2, 3), (4, 5, 6)]
    assert [(w.start, w.end) for w in merged] == [(2, 3), (4, 5)]


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=300),
    st.lists(st.integers(0, 320), min_size=1, max_size=8),
    st.integers(0, 150),
    st.integers(0, 150),
)
def test_refined_words_stay_in_order_and_in_their_segment(levels, borders, low, length):
    borders = sorted(borders)
    times = [*borders, borders[-1] + 3]
    words = [WordTiming(f" {i}", (i,), times[i] / 100, times[i + 1] / 100, 1.0) for i in range(len(borders))]
    high = (low + length) / 100
    refined = Loudness(np.array([levels], np.float32)).refine(words, low / 100, high)
    if refined is not words:
        points = [t for w in refined for t in (w.start, w.end)]
        assert points == sorted(points)
        assert low / 100 <= points[0]
        assert points[-1] <= high + 1e-9
    assert [w.word for w in refined] == [w.word for w in words]


def test_words_are_near_the_truth(model):
    """Spoken digits with known times; one starts 21 s into its window."""
    truth = {r["file"].split(".")[0]: r for r in json.loads((DATA / "words.json").read_text())}
    errors: list[float] = []
    for name in ("en.wav", "de.wav", "en_noise.flac", "en_late.flac"):
        result = model.transcribe(DATA / name, temperature=0.0, word_timestamps=True)
        words = [word for segment in result.segments for word in segment.words]
        true = [word for phrase in truth[name.split(".")[0]]["phrases"] for word in phrase["words"]]
        assert [w.word.strip() for w in words] == [w["word"] for w in true]
        errors += [abs(w[part] - t[part]) for w, t in zip(words, true, strict=True) for part in ("start", "end")]
        for segment in result.segments:
            points = [t for w in segment.words for t in (w.start, w.end)]
            assert points == sorted(points)
            assert (segment.start, segment.end) == (points[0], points[-1])
            assert "".join(w.word for w in segment.words) == segment.text
            assert all(0 < w.probability <= 1 for w in segment.words)
        assert max(errors) <= 0.25  # "eight eight" in en_late: attention alone gives both of them to one
    assert np.median(errors) <= 0.01


def test_word_timestamps_do_not_change_the_text(model):
    plain = model.transcribe(DATA / "de_then_fr.flac", temperature=0.0)
    timed = model.transcribe(DATA / "de_then_fr.flac", temperature=0.0, word_timestamps=True)
    assert [s.tokens for s in plain.segments] == [s.tokens for s in timed.segments]


def test_openai_word_times(model):
    """The expected times are openai-whisper's, with the same weights; tests/parity compares many more."""
    result = model.transcribe(DATA / "en.wav", temperature=0.0, word_timestamps=True, word_timing="openai")
    assert [(word.word, word.start, word.end) for word in result.words] == [
        (" three", 0.0, 0.84),
        (" one", 0.84, 1.38),
        (" four", 1.38, 1.9),
        (" one", 1.9, 2.52),
        (" five", 2.52, 2.94),
    ]
