"""Average linkage, and the assignment of voices to speakers."""

from itertools import product

import numpy as np
import pytest

from whisper_apr.speakers.clustering import agglomerate, assign, normalized


def by_definition(x, weights, threshold, lowest, highest):
    """Cluster by comparing all pairs of clusters in each step."""
    clusters = [[i] for i in range(len(x))]
    cosine = x @ x.T

    def similarity(a, b):
        return np.average(cosine[np.ix_(a, b)], weights=np.outer(weights[a], weights[b]))

    while len(clusters) > max(lowest, 1):
        pairs = [(similarity(a, b), i, j) for j, b in enumerate(clusters) for i, a in enumerate(clusters[:j])]
        best, i, j = max(pairs)
        if best < threshold and len(clusters) <= highest:
            break
        clusters[i] += clusters.pop(j)
    labels = np.empty(len(x), int)
    for number, cluster in enumerate(sorted(map(sorted, clusters))):
        labels[cluster] = number
    return labels


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("lowest", "highest"), [(1, 50), (4, 50), (1, 2), (3, 3)])
def test_clusters_are_those_of_the_definition(seed, lowest, highest):
    g = np.random.default_rng(seed)
    centers = g.normal(size=(3, 8))
    x = normalized((centers[g.integers(3, size=14)] + 0.6 * g.normal(size=(14, 8))).astype(np.float32))
    weights = g.uniform(1, 3, 14).astype(np.float32)
    expected = by_definition(x.astype(np.float64), weights.astype(np.float64), 0.5, lowest, highest)
    np.testing.assert_array_equal(agglomerate(x, weights, 0.5, lowest, highest), expected)


def test_few_voices():
    one = np.ones((1, 4), np.float32) / 2
    assert agglomerate(one[:0], np.ones(0, np.float32), 0.5, 2, 3).tolist() == []
    assert agglomerate(one, np.ones(1, np.float32), 0.5, 2, 3).tolist() == [0]


@pytest.mark.parametrize("seed", range(20))
def test_voices_of_a_window_are_different_speakers(seed):
    g = np.random.default_rng(seed)
    n, n_speaker = g.integers(1, 4), g.integers(1, 6)
    similarity = g.normal(size=(n, n_speaker)).astype(np.float32)
    chosen = assign(similarity)
    used = [k for k in chosen if k >= 0]
    assert len(used) == len(set(used)) == min(n, n_speaker)
    best = max(
        sum(similarity[i, k] for i, k in enumerate(choice) if k >= 0)
        for choice in product(range(-1, n_speaker), repeat=int(n))
        if sum(k >= 0 for k in choice) == min(n, n_speaker) == len({k for k in choice if k >= 0})
    )
    assert sum(similarity[i, k] for i, k in enumerate(chosen) if k >= 0) == pytest.approx(best)
