"""How tokens are chosen from logits: the best, a sample, or the best of several beams."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import FormatError, OptionError
from ..model.decoder import DecoderCache

FloatArray = simd.FloatArray
Tokens = npt.NDArray[np.integer[Any]]
Flags = npt.NDArray[np.bool_]
Candidates = list[tuple[int, ...]]  # sequences of sampled tokens, without the end


class Search(Protocol):
    """Rows are audio x group; those of one audio stand side by side."""

    def update(self, sampled: Tokens, logits: FloatArray, cache: DecoderCache) -> tuple[Tokens, Flags]:
        """sampled `(n_row, n)`, logits `(n_row, n_vocab)` -> sampled `(n_row, n + 1)`, and which audios have ended `(n_audio,)`.

        The cache's rows follow where they are reordered.
        """

    def finish(self, audio: int, sampled: Tokens) -> tuple[Candidates, list[float]]:
        """What an audio has to choose from, and each one's log-probability; sampled `(group, n)` are its rows."""

    def keep(self, audios: npt.NDArray[np.integer[Any]]) -> None:
        """Only these audios go on, in this order."""


class GreedySearch:
    """The likeliest token at temperature 0, else one drawn from the distribution at that temperature."""

    def __init__(self, n_audio: int, group: int, eot: int, temperature: float, seed: int | None = None) -> None:
        self.group = group
        self.eot = eot
        self.temperature = temperature
        self.sums = np.zeros(n_audio * group, np.float32)
        # each sample of an audio has its own stream, so that a batch gives what its audios give alone
        self.random = [
            np.random.default_rng(None if seed is None else [seed, i % group]) for i in range(n_audio * group)
        ]

    def update(self, sampled: Tokens, logits: FloatArray, cache: DecoderCache) -> tuple[Tokens, Flags]:
        ended = sampled[:, -1] == self.eot if sampled.shape[1] else np.zeros(len(sampled), np.bool_)
        total = simd.logsumexp(logits)
        require_numbers(total)
        require_a_choice(total[~ended])
        chosen = simd.argmax(logits) if self.temperature == 0 else self._draw(logits)
        chosen[ended], total[ended] = self.eot, 0
        logprobs = logits[np.arange(len(chosen)), chosen] - total
        logprobs[ended] = 0
        self.sums += logprobs
        done = (chosen == self.eot).reshape(-1, self.group).all(axis=1)
        return np.concatenate([sampled, chosen[:, None]], axis=1), done

    def _draw(self, logits: FloatArray) -> npt.NDArray[np.int64]:
        chosen = np.empty(len(logits), np.int64)
        for i, probabilities in enumerate(simd.softmax(logits / np.float32(self.temperature))):
            heights = np.cumsum(probabilities, dtype=np.float64)
            chosen[i] = np.searchsorted(heights, self.random[i].random() * heights[-1], side="right")
        return chosen

    def finish(self, audio: int, sampled: Tokens) -> tuple[Candidates, list[float]]:
        rows = sampled.tolist()
        candidates = [tuple(row[: row.index(self.eot)] if self.eot in row else row) for row in rows]
        return candidates, self.sums[audio * self.group : (audio + 1) * self.group].tolist()

    def keep(self, audios: npt.NDArray[np.integer[Any]]) -> None:
        rows = rows_of(audios, self.group)
        self.sums = self.sums[rows]
        self.random = [self.random[i] for i in rows]


class BeamSearch:
    """The `beam_size` likeliest beginnings go on; an audio has ended when `patience * beam_size` sequences of it have."""

    def __init__(self, n_audio: int, beam_size: int, eot: int, patience: float = 1.0) -> None:
        self.beam_size = beam_size
        self.eot = eot
        self.max_candidates = round(beam_size * patience)
        self.sums = np.zeros(n_audio * beam_size, np.float32)
        self.finished: list[dict[tuple[int, ...], float]] = [{} for _ in range(n_audio)]
        self._equal = True  # before the first update all beams of an audio are the same

    def update(self, sampled: Tokens, logits: FloatArray, cache: DecoderCache) -> tuple[Tokens, Flags]:
        size = self.beam_size
        # one more than there are beams: one of them may be the end
        total = simd.logsumexp(logits)
        require_numbers(total)
        require_a_choice(total)
        best = simd.top_k(logits, size + 1)
        logprobs = np.take_along_axis(logits, best, axis=1) - total[:, None]
        scores = self.sums[:, None] + logprobs
        if self._equal:
            scores.reshape(-1, size, size + 1)[:, 1:] = -np.inf
            self._equal = False
        scores = scores.reshape(len(self.finished), -1)
        order = np.argsort(-scores, axis=1, kind="stable")
        source: list[int] = []
        chosen: list[int] = []
        for audio, (finished, places) in enumerate(zip(self.finished, order.tolist(), strict=True)):
            kept = 0
            for place in places:
                beam, rank_in_beam = divmod(place, size + 1)
                row = audio * size + beam
                token = int(best[row, rank_in_beam])
                if token != self.eot:
                    source.append(row)
                    chosen.append(token)
                    self.sums[len(source) - 1] = scores[audio, place]
                    kept += 1
                    if kept == size:
                        break
                elif len(finished) < self.max_candidates and scores[audio, place] > -np.inf:
                    finished[tuple(sampled[row].tolist())] = float(scores[audio, place])
        cache.reorder(np.array(source))
        done = np.array([len(finished) >= self.max_candidates for finished in self.finished])
        return np.concatenate([sampled[source], np.array(chosen)[:, None]], axis=1), done

    def finish(self, audio: int, sampled: Tokens) -> tuple[Candidates, list[float]]:
        """Where too few sequences have ended, the likeliest of the others are ended here."""
        done = self.finished[audio]
        sums = self.sums[audio * self.beam_size : (audio + 1) * self.beam_size]
        for i in np.argsort(sums)[::-1]:
            if len(done) >= self.beam_size:
                break
            done[tuple(sampled[i].tolist())] = float(sums[i])
        return list(done), list(done.values())

    def keep(self, audios: npt.NDArray[np.integer[Any]]) -> None:
        self.sums = self.sums[rows_of(audios, self.beam_size)]
        self.finished = [self.finished[i] for i in audios]


def require_numbers(values: FloatArray) -> None:
    """Raise FormatError where one of these, which were computed from logits, is NaN or infinite.

    -infinity passes: it is what forbids a token, and `logsumexp` of tokens that are all forbidden. Weights are finite
    when they are loaded; finite ones can still lead to infinities where they are damaged.
    """
    if not (values < np.inf).all():
        raise FormatError(
            "the model computes infinity or NaN in place of logits: its weights are damaged or from a failed training; "
            "load it again from where it came"
        )


def require_a_choice(total: FloatArray) -> None:
    """Raise OptionError where `logsumexp` of a row's logits is -infinity, as every token is forbidden."""
    if (total == -np.inf).any():
        raise OptionError("suppress_tokens and the other options leave no token to choose; suppress fewer")


def rows_of(audios: npt.NDArray[np.integer[Any]], group: int) -> npt.NDArray[np.int64]:
    """The rows of these audios, `group` of each."""
    return (np.asarray(audios, np.int64)[:, None] * group + np.arange(group)).reshape(-1)


def rank(candidates: Candidates, scores: list[float], length_penalty: float | None) -> int:
    """The index of the best candidate: by log-probability over length, or over Wu et al.'s penalty ((5 + length) / 6)^a
    (Google's Neural Machine Translation System, 2016, equation 14)."""
    lengths = [len(tokens) for tokens in candidates]
    penalties = [n if length_penalty is None else ((5 + n) / 6) ** length_penalty for n in lengths]
    with np.errstate(divide="ignore", invalid="ignore"):  # an empty candidate has length 0
        return int(np.argmax(np.array(scores) / np.array(penalties)))
