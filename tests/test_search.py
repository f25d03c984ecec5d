"""Search strategies on a model that is a table: the logits of the next token depend on the last one only."""

import itertools

import numpy as np
import pytest

from whisper_apr.inference.search import BeamSearch, GreedySearch, rank

EOT = 4


class Past:
    """A stand-in for the decoder's cache, which records reordering."""

    def __init__(self, n_row):
        self.rows = np.zeros((n_row, 0), np.int64)

    def reorder(self, source):
        self.rows = self.rows[source]


def table(seed):
    return np.random.default_rng(seed).standard_normal((EOT + 1, EOT + 1)).astype(np.float32) * 2


def logprob(model, sequence):
    """Return the log-probability of a sequence and its end of text, after the start token 0."""
    probabilities = np.log(np.exp(model) / np.exp(model).sum(axis=1, keepdims=True))
    return sum(probabilities[a, b] for a, b in itertools.pairwise((0, *sequence, EOT)))


def run(search, model, n_row, steps):
    past, sampled = Past(n_row), np.zeros((n_row, 0), np.int64)
    for _ in range(steps):
        last = sampled[:, -1] if sampled.shape[1] else np.zeros(n_row, np.int64)
        sampled, done = search.update(sampled, model[last].copy(), past)
        past.rows = np.concatenate([past.rows, sampled[:, -1:]], axis=1)
        np.testing.assert_array_equal(past.rows, sampled)
        if done.all():
            break
    return sampled


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_is_exhaustive(seed):
    """64 beams hold all sequences of up to three tokens."""
    model = table(seed)
    model[:, EOT] -= 1
    search = BeamSearch(1, 64, EOT)
    wide = np.zeros((75, 75), np.float32)  # with tokens that never come
    wide[: EOT + 1] = -np.inf
    wide[: EOT + 1, : EOT + 1] = model
    sampled = run(search, wide, 64, 4)
    candidates, scores = search.finish(0, sampled)
    every = [s for n in range(4) for s in itertools.product(range(EOT), repeat=n)]
    best = max(every, key=lambda s: logprob(model, s))
    found = dict(zip(candidates, scores, strict=True))
    assert max((s for s in found if len(s) < 4), key=found.__getitem__) == best
    for sequence in every[:20]:
        if sequence in found and len(sequence) < 4:
            assert found[sequence] == pytest.approx(logprob(model, sequence), abs=1e-4)


def test_patience_waits_for_more_sequences():
    model = table(3)
    model[:, EOT] = model.max(axis=1)  # every sequence may end soon
    for patience, n in ((0.5, 2), (1.0, 4), (2.0, 8)):
        search = BeamSearch(1, 4, EOT, patience)
        run(search, model, 4, 60)
        assert len(search.finished[0]) == n


def test_greedy_search():
    model = table(1)
    search = GreedySearch(1, 1, EOT, 0.0)
    sampled = run(search, model, 1, 5)
    (sequence,), (score,) = search.finish(0, sampled)
    last = 0
    for token in sequence:
        assert token == model[last].argmax()
        last = token
    if EOT in sampled[0]:
        assert score == pytest.approx(logprob(model, sequence), abs=1e-5)


def test_samples_follow_the_distribution():
    logits = np.array([[0.0, 1.0, -np.inf, 2.0, -1.0]], np.float32)
    n = 4000
    search = GreedySearch(n, 1, EOT, 0.5, seed=None)
    search.random = list(np.random.default_rng(0).spawn(n))
    sampled, _ = search.update(np.zeros((n, 0), np.int64), np.repeat(logits, n, axis=0), Past(n))
    expected = np.exp(logits[0] * 2) / np.exp(logits[0] * 2).sum()
    counts = np.bincount(sampled[:, 0], minlength=5) / n
    assert counts[2] == 0
    np.testing.assert_allclose(counts, expected, atol=0.03)


def test_an_ended_row_stays_ended():
    search = GreedySearch(1, 2, EOT, 0.0)
    first = np.array([[EOT], [1]])
    search.sums[:] = [-1, -2]
    sampled, done = search.update(first, np.array([[0, 9, 0, 0, 0], [0, 9, 0, 0, 0]], np.float32), Past(2))
    assert sampled[:, 1].tolist() == [EOT, 1]
    assert search.sums[0] == -1
    assert not done[0]
    assert search.finish(0, sampled)[0] == [(), (1, 1)]


def test_ranking():
    candidates = [(1,), (1, 2, 3), ()]
    assert rank(candidates[:2], [-1.0, -2.0], None) == 1  # -1 and -0.67 a token
    assert rank(candidates[:2], [-1.0, -2.0], 0.0) == 0  # length does not count
