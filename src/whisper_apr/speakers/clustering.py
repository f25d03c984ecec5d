"""Group the voices of a recording by their embeddings."""

from itertools import permutations

import numpy as np
import numpy.typing as npt

from .layers import FloatArray

IntArray = npt.NDArray[np.intp]


def normalized(embeddings: FloatArray) -> FloatArray:
    """Return vectors of length one."""
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    result: FloatArray = embeddings / np.maximum(lengths, np.float32(1e-12))
    return result


def agglomerate(embeddings: FloatArray, weights: FloatArray, threshold: float, lowest: int, highest: int) -> IntArray:
    """Cluster by average linkage: merge the two most similar clusters until all are less similar than the threshold.

    The similarity of two clusters is the weighted mean of the cosine similarities of their members.

    Args:
        embeddings: `(n, channel)`, of length one.
        weights: `(n,)`, for example durations.
        threshold: The least cosine similarity at which clusters are merged.
        lowest: Fewest clusters, unless there are fewer embeddings.
        highest: Most clusters.

    Returns:
        The cluster of each embedding, `(n,)`, numbered by first appearance.
    """
    n = len(embeddings)
    labels = np.arange(n)
    if n == 0:
        return labels
    # The weighted sum of a cluster's members gives the mean similarity with another cluster by one product.
    sums = embeddings.astype(np.float64) * weights[:, None]
    masses = weights.astype(np.float64).copy()
    similarity = sums @ sums.T
    similarity /= masses[:, None]
    similarity /= masses
    np.fill_diagonal(similarity, -np.inf)
    best = similarity.argmax(axis=1)
    alive, count = np.ones(n, bool), n
    while count > 1:
        values = np.where(alive, similarity[np.arange(n), best], -np.inf)
        i = int(values.argmax())
        j = int(best[i])
        if count <= lowest or (values[i] < threshold and count <= highest):
            break
        labels[labels == j] = i
        sums[i] += sums[j]
        masses[i] += masses[j]
        alive[j] = False
        count -= 1
        row = np.where(alive, sums @ sums[i] / (masses * masses[i]), -np.inf)
        row[i] = -np.inf
        similarity[i], similarity[:, i] = row, row
        similarity[j], similarity[:, j] = -np.inf, -np.inf
        # neighbors that were i or j, and rows to which the merged cluster is now the nearest
        for k in np.flatnonzero(alive & ((best == i) | (best == j))):
            best[k] = similarity[k].argmax()
        nearer = alive & (row > similarity[np.arange(n), best])
        best[nearer] = i
        best[i] = row.argmax()
    return _by_first_appearance(labels)


def _by_first_appearance(labels: IntArray) -> IntArray:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    ranks = np.empty(len(first), np.intp)
    ranks[np.argsort(first)] = np.arange(len(first))
    return ranks[inverse]


def assign(similarity: FloatArray) -> IntArray:
    """Assign the speakers of a window to different clusters, with the largest sum of similarities.

    Args:
        similarity: `(speaker, cluster)`.

    Returns:
        The cluster of each speaker, -1 where there are fewer clusters than speakers.
    """
    n = len(similarity)
    best: IntArray = similarity.argmax(axis=1)
    if len(set(best)) == n:
        return best
    # No assignment needs a cluster that is not among the n most similar of some speaker.
    near = np.unique(np.argsort(-similarity, axis=1)[:, :n])
    choices = [*near, *[-1] * max(0, n - len(near))]

    def total(choice: tuple[int, ...]) -> float:
        return sum(float(similarity[i, k]) for i, k in enumerate(choice) if k >= 0)

    return np.array(max(permutations(choices, n), key=total))
