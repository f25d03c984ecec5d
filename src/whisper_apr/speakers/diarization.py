"""Diarization: find who speaks when in a recording of any length.

Windows of ten seconds overlap, at first by half and later by a quarter. In each, the segmentation network tells up to
three voices apart; the embedding network describes each of them by a vector; clustering the vectors tells which voices
of different windows are the same speaker. The windows' activities are then averaged for each speaker.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby, pairwise

import numpy as np
import numpy.typing as npt

from ..audio import SAMPLE_RATE
from ..audio.fbank import FRAME, HOP, fbank
from .clustering import agglomerate, assign, normalized
from .embedding import N_BANDS, EmbeddingModel
from .layers import N_EMBEDDING, FloatArray
from .segmentation import FIRST_CENTER, FRAME_HOP, N_FRAMES, N_SPEAKERS, POWERSET, WINDOW, SegmentationModel
from .turns import MAX_SPEAKERS, Diarization, Turn

BATCH = 16  # windows that are computed at once
VOICE_BATCH = 8  # voices; few, so that their activations stay in the cache
ACTIVE = 0.5  # least probability of a voice that speaks, for its embedding
ONSET = 0.3  # least mean probability of a speaker who speaks
SHORTEST_PAUSE = 0.3  # seconds; a speaker's turns with shorter pauses between them are one

# Frames of 10 ms that an embedding is computed from. Times of one batch are equal, so they are rounded.
MIN_FRAMES, MAX_FRAMES, ROUNDING = 40, 400, 20
# A short recording has few embeddings of a speaker, so that each counts; a longer one has several after the windows of
# the first batch. Those that follow have longer steps, and shorter embeddings. All steps of a batch are equal.
EARLY_WINDOWS = BATCH
STEP_FRAMES, LATER_STEP_FRAMES = 296, 444  # of the segmentation network, from window to window: 4.995 s and 7.4925 s
LATER_MAX_FRAMES = 200
RELIABLE_FRAMES = 100  # voices of fewer frames are assigned to the speakers that longer ones define

SIMILARITY = 0.4  # least mean cosine similarity of two clusters of one speaker
LOCAL_SIMILARITY = 0.6  # for the clusters of MAX_CLUSTERED voices, which are then clustered
MAX_CLUSTERED = 2000
ENROLLED_SIMILARITY = 0.4  # least cosine similarity of a speaker with a known voice


@dataclass
class _Voices:
    """The voices of all windows."""

    activities: list[FloatArray]  # of each window `(frames, 3)`, float16
    window: list[int]
    slot: list[int]  # of the window's three
    n_frames: list[int]
    embeddings: list[FloatArray]


class Diarizer:
    """Tells the speakers of recordings apart.

    Args:
        segmentation: The segmentation network.
        embedding: The embedding network.
    """

    def __init__(self, segmentation: SegmentationModel, embedding: EmbeddingModel) -> None:
        self._segmentation = segmentation
        self._embedding = embedding

    def __call__(
        self,
        blocks: Iterable[FloatArray],
        lowest: int = 1,
        highest: int = MAX_SPEAKERS,
        known: Mapping[str, FloatArray] | None = None,
        *,
        on_progress: Callable[[float], object] = lambda seconds: None,
        check_cancelled: Callable[[], object] = lambda: None,
    ) -> Diarization:
        """Find the turns of a recording.

        Args:
            blocks: Its samples at 16 kHz.
            lowest: Fewest speakers, unless there are fewer voices.
            highest: Most speakers.
            known: Embeddings of known voices by their names.
            on_progress: Called after each window with the seconds of the recording that are done.
            check_cancelled: Called before each computation of a network. What it raises ends the diarization.
        """
        voices = self._find_voices(blocks, on_progress, check_cancelled)
        embeddings = np.array(voices.embeddings, np.float32).reshape(-1, N_EMBEDDING)
        sizes = np.minimum(np.array(voices.n_frames, np.float32), MAX_FRAMES)
        has_embedding = sizes >= MIN_FRAMES
        reliable = np.flatnonzero(has_embedding & (sizes >= RELIABLE_FRAMES))
        if len(reliable) < 2:
            reliable = np.flatnonzero(has_embedding)
        labels = _cluster(embeddings[reliable], sizes[reliable], lowest, highest)
        speakers = _centroids(embeddings[reliable], sizes[reliable], labels)
        if not len(speakers):
            speakers = np.zeros((min(1, len(sizes)), N_EMBEDDING), np.float32)
        active = _active_frames(voices, embeddings, speakers)
        return _name(active, speakers, known or {})

    def embed(self, samples: FloatArray) -> FloatArray:
        """Return the embedding of one voice, of length one, from the parts of a recording in which it speaks."""
        vector: FloatArray = normalized(self._embedding(_centered(fbank(samples, N_BANDS))[None]))[0]
        return vector

    def _find_voices(
        self,
        blocks: Iterable[FloatArray],
        on_progress: Callable[[float], object],
        check_cancelled: Callable[[], object],
    ) -> _Voices:
        voices = _Voices([], [], [], [], [])
        waiting: dict[int, list[tuple[int, FloatArray]]] = {}
        done = 0  # frames of the segmentation network

        def embed(n: int) -> None:
            check_cancelled()
            rows = waiting.pop(n)
            for (index, _), vector in zip(rows, self._embedding(np.stack([x for _, x in rows])), strict=True):
                voices.embeddings[index] = normalized(vector)

        for windows in _batches(_windows(blocks)):
            check_cancelled()
            overlap = WINDOW - _step(len(voices.activities)) * FRAME_HOP
            for samples, log_probabilities in zip(windows, self._segmentation(np.stack(windows), overlap), strict=True):
                activity = np.exp(log_probabilities) @ POWERSET
                features = fbank(samples, N_BANDS)
                active = (activity > ACTIVE)[_nearest_frames(len(features))]
                is_alone = active.sum(axis=1) == 1
                for slot in range(N_SPEAKERS):  # where it speaks alone, or all of it if that is little
                    alone = active[:, slot] & is_alone
                    chosen = alone if alone.sum() >= MIN_FRAMES else active[:, slot]
                    if not chosen.any():
                        continue
                    voices.window.append(len(voices.activities))
                    voices.slot.append(slot)
                    voices.n_frames.append(int(chosen.sum()))
                    voices.embeddings.append(np.zeros(N_EMBEDDING, np.float32))
                    limit = MAX_FRAMES if len(voices.activities) < EARLY_WINDOWS else LATER_MAX_FRAMES
                    n = min(voices.n_frames[-1], limit) // ROUNDING * ROUNDING
                    if n >= MIN_FRAMES:
                        row = _centered(_middle(features[chosen], n))
                        waiting.setdefault(n, []).append((len(voices.embeddings) - 1, row))
                        if len(waiting[n]) == VOICE_BATCH:
                            embed(n)
                done += _step(len(voices.activities))
                voices.activities.append(activity.astype(np.float16))
                on_progress(done * FRAME_HOP / SAMPLE_RATE)
        for n in list(waiting):
            embed(n)
        return voices


def _step(window: int) -> int:
    """Return the segmentation network's frames from the start of a window to that of the next."""
    return STEP_FRAMES if window < EARLY_WINDOWS - 1 else LATER_STEP_FRAMES


def _windows(blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """Yield windows of ten seconds, the last one padded with zeros."""
    kept, overlap, number = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        kept = np.concatenate([kept, block])
        while len(kept) >= WINDOW:
            yield kept[:WINDOW]
            step = _step(number) * FRAME_HOP
            kept, overlap, number = kept[step:], WINDOW - step, number + 1
    if len(kept) > overlap:  # there are samples that no window has
        yield np.pad(kept, (0, WINDOW - len(kept)))


def _batches(windows: Iterator[FloatArray]) -> Iterator[list[FloatArray]]:
    batch: list[FloatArray] = []
    for window in windows:
        batch.append(window)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _nearest_frames(n: int) -> npt.NDArray[np.intp]:
    """Return the segmentation network's frame that is nearest to each of `n` frames of features."""
    centers = (np.arange(n) * HOP + FRAME / 2 - FIRST_CENTER) / FRAME_HOP
    return np.clip(np.round(centers).astype(np.intp), 0, N_FRAMES - 1)


def _middle(x: FloatArray, n: int) -> FloatArray:
    begin = (len(x) - n) // 2
    return x[begin : begin + n]


def _centered(features: FloatArray) -> FloatArray:
    centered: FloatArray = features - features.mean(axis=0)
    return centered


# ---- from voices to speakers ----------------------------------------------------------------------------------------


def _cluster(embeddings: FloatArray, sizes: FloatArray, lowest: int, highest: int) -> npt.NDArray[np.intp]:
    """Return the speaker of each voice. Of very many voices, parts are clustered first, which bounds the memory."""
    if len(embeddings) <= MAX_CLUSTERED:
        return agglomerate(embeddings, sizes, SIMILARITY, lowest, highest)
    labels = np.empty(len(embeddings), np.intp)
    n = 0
    for begin in range(0, len(embeddings), MAX_CLUSTERED):
        part = slice(begin, begin + MAX_CLUSTERED)
        labels[part] = n + agglomerate(embeddings[part], sizes[part], LOCAL_SIMILARITY, 1, MAX_CLUSTERED)
        n = int(labels[part].max()) + 1
    masses = np.bincount(labels, sizes).astype(np.float32)
    return _cluster(_centroids(embeddings, sizes, labels), masses, lowest, highest)[labels]


def _centroids(embeddings: FloatArray, sizes: FloatArray, labels: npt.NDArray[np.intp]) -> FloatArray:
    sums = np.zeros((int(labels.max(initial=-1)) + 1, N_EMBEDDING), np.float32)
    np.add.at(sums, labels, embeddings * sizes[:, None])
    return normalized(sums)


def _active_frames(voices: _Voices, embeddings: FloatArray, speakers: FloatArray) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield who speaks in each frame of the recording, in blocks `(frames, speakers)`.

    The number of speakers of a frame is the mean over its windows; they are the most active ones.
    """
    numbers = iter(range(len(voices.window)))
    by_window = {window: list(group) for window, group in groupby(numbers, key=voices.window.__getitem__)}
    total, coverage = np.zeros((0, len(speakers)), np.float32), np.zeros((0, 1), np.float32)
    for window, activity in enumerate(voices.activities):
        missing = N_FRAMES - len(total)
        total, coverage = np.pad(total, ((0, missing), (0, 0))), np.pad(coverage, ((0, missing), (0, 0))) + 1
        mine = by_window.get(window, [])
        if mine:
            for number, speaker in zip(mine, assign(embeddings[mine] @ speakers.T), strict=True):
                if speaker >= 0:
                    total[:, speaker] += activity[:, voices.slot[number]]
        # no later window begins before the next one
        n = _step(window) if window + 1 < len(voices.activities) else N_FRAMES
        yield _most_active(total[:n] / coverage[:n])
        total, coverage = total[n:], coverage[n:]


def _most_active(activity: FloatArray) -> npt.NDArray[np.bool_]:
    """Return the speakers of each frame from their mean activities `(frames, speakers)`."""
    active = np.zeros(activity.shape, bool)
    if not activity.size:
        return active
    count = np.floor(activity.sum(axis=1) + 1 - ONSET)
    left, frames = activity.copy(), np.arange(len(activity))
    for i in range(int(count.max())):
        best = left.argmax(axis=1)
        active[frames, best] |= i < count
        left[frames, best] = -1
    active &= activity > 0.1 * ONSET
    return active


def _name(
    blocks: Iterable[npt.NDArray[np.bool_]], speakers: FloatArray, known: Mapping[str, FloatArray]
) -> Diarization:
    """Return the turns, with names by first appearance, or those of known voices."""
    spans = _spans(blocks, len(speakers))
    order = sorted((span[0][0], i) for i, span in enumerate(spans) if span)
    names = _match([i for _, i in order], speakers, known)
    turns = sorted(Turn(*times, names[i]) for _, i in order for times in spans[i])
    return Diarization(tuple(turns), {names[i]: speakers[i] for _, i in order})


def _match(order: list[int], speakers: FloatArray, known: Mapping[str, FloatArray]) -> dict[int, str]:
    """Return a name for each speaker: the known voice that is most similar, each for one speaker, or a number."""
    names: dict[int, str] = {}
    pairs = [(float(speakers[i] @ vector), i, name) for i in order for name, vector in known.items()]
    for similarity, i, name in sorted(pairs, reverse=True):
        if similarity >= ENROLLED_SIMILARITY and i not in names and name not in names.values():
            names[i] = name
    numbers = iter(f"SPEAKER_{n:02}" for n in range(len(order)))
    return {i: names.get(i) or next(numbers) for i in order}


def _spans(blocks: Iterable[npt.NDArray[np.bool_]], n_speaker: int) -> list[list[tuple[float, float]]]:
    """Return the seconds at which each speaker begins and ends."""
    edges: list[list[int]] = [[] for _ in range(n_speaker)]
    last, first_frame = np.zeros((1, n_speaker), bool), 0
    for block in chain(blocks, [last]):
        frames, changing = np.nonzero(block != np.concatenate([last, block[:-1]]))
        for frame, speaker in zip(frames.tolist(), changing.tolist(), strict=True):
            edges[speaker].append(first_frame + frame)
        last, first_frame = block[-1:], first_frame + len(block)
    return [list(_joined(np.array(each).reshape(-1, 2))) for each in edges]


def _joined(edges: npt.NDArray[np.intp]) -> Iterator[tuple[float, float]]:
    """Yield the begins and ends in seconds of spans `(n, 2)` of frames, without short pauses between them."""
    seconds = (FIRST_CENTER + (edges - 0.5) * FRAME_HOP) / SAMPLE_RATE
    starts = np.flatnonzero(np.append(True, seconds[1:, 0] - seconds[:-1, 1] >= SHORTEST_PAUSE)[: len(seconds)])
    for first, after in pairwise([*starts, len(seconds)]):
        yield float(seconds[first, 0]), float(seconds[after - 1, 1])
