"""How tokens are chosen from logits: the best, a sample, or the best of several beams."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import simd
from ..model.decoder import Cache

FloatArray = simd.FloatArray
Tokens = npt.NDArray[np.integer[Any]]
Candidates = list[list[tuple[int, ...]]]  # for each audio, sequences that begin with the prompt
Scores = list[list[float]]  # their sums of log-probabilities


class Search(Protocol):
    def update(self, tokens: Tokens, logits: FloatArray, sums: FloatArray, cache: Cache) -> tuple[Tokens, bool]:
        """tokens `(n_row, n)`, logits `(n_row, n_vocab)` -> tokens `(n_row, n + 1)`, and whether all rows have ended.

        sums `(n_row,)` are the log-probabilities summed so far, changed in place; the cache's rows follow where they are reordered.
        """

    def finish(self, tokens: Tokens, sums: FloatArray) -> tuple[Candidates, Scores]:
        """tokens `(n_audio, n_group, n)`, sums `(n_audio, n_group)` -> what each audio has to choose from."""


class GreedySearch:
    """The likeliest token at temperature 0, else one drawn from the distribution at that temperature."""

    def __init__(self, temperature: float, eot: int, seed: int | None = None) -> None:
        self.temperature = temperature
        self.eot = eot
        self.random = np.random.default_rng(seed)

    def update(self, tokens: Tokens, logits: FloatArray, sums: FloatArray, cache: Cache) -> tuple[Tokens, bool]:
        if self.temperature == 0:
            chosen = simd.argmax(logits)
        else:
            # the largest of logits plus Gumbel noise is a draw from their softmax
            noise = self.random.gumbel(size=logits.shape).astype(np.float32)
            chosen = simd.argmax(logits / np.float32(self.temperature) + noise)
        logprobs = simd.log_softmax(logits)
        ended = tokens[:, -1] == self.eot
        sums += np.where(ended, 0, logprobs[np.arange(len(chosen)), chosen])
        chosen[ended] = self.eot
        return np.concatenate([tokens, chosen[:, None]], axis=1), bool((chosen == self.eot).all())

    def finish(self, tokens: Tokens, sums: FloatArray) -> tuple[Candidates, Scores]:
        return [[(*row.tolist(), self.eot) for row in group] for group in tokens], sums.tolist()


class BeamSearch:
    """The `beam_size` likeliest beginnings go on; it ends when `patience * beam_size` sequences of each audio have ended."""

    def __init__(self, beam_size: int, eot: int, patience: float = 1.0) -> None:
        self.beam_size = beam_size
        self.eot = eot
        self.max_candidates = round(beam_size * patience)
        self.finished: list[dict[tuple[int, ...], float]] = []

    def update(self, tokens: Tokens, logits: FloatArray, sums: FloatArray, cache: Cache) -> tuple[Tokens, bool]:
        size = self.beam_size
        n_audio = len(tokens) // size
        self.finished = self.finished or [{} for _ in range(n_audio)]
        logprobs = simd.log_softmax(logits)
        # one more than there are beams: one of them may be the end
        best = np.argpartition(-logprobs, size, axis=1)[:, : size + 1]
        past = [tuple(row) for row in tokens.tolist()]
        next_tokens: list[tuple[int, ...]] = []
        source: list[int] = []
        next_sums: list[float] = []
        for audio in range(n_audio):
            scores: dict[tuple[int, ...], tuple[float, int]] = {}
            for row in range(audio * size, (audio + 1) * size):
                for token in best[row][np.argsort(-logprobs[row, best[row]], kind="stable")]:
                    scores[(*past[row], int(token))] = (float(sums[row] + logprobs[row, token]), row)
            kept, ended = 0, {}
            for sequence, (score, row) in sorted(scores.items(), key=lambda item: item[1][0], reverse=True):
                if sequence[-1] == self.eot:
                    ended[sequence] = score
                    continue
                next_tokens.append(sequence)
                source.append(row)
                next_sums.append(score)
                kept += 1
                if kept == size:
                    break
            for sequence, score in ended.items():
                if len(self.finished[audio]) >= self.max_candidates:
                    break
                self.finished[audio][sequence] = score
        sums[:] = next_sums
        cache.reorder(np.array(source))
        return np.array(next_tokens), all(len(done) >= self.max_candidates for done in self.finished)

    def finish(self, tokens: Tokens, sums: FloatArray) -> tuple[Candidates, Scores]:
        """Where too few sequences have ended, the likeliest of the others are ended here."""
        self.finished = self.finished or [{} for _ in tokens]
        for done, rows, totals in zip(self.finished, tokens, sums, strict=True):
            for i in np.argsort(totals)[::-1]:
                if len(done) >= self.beam_size:
                    break
                done[(*rows[i].tolist(), self.eot)] = float(totals[i])
        return [list(done) for done in self.finished], [list(done.values()) for done in self.finished]


def rank(candidates: list[tuple[int, ...]], scores: list[float], length_penalty: float | None) -> int:
    """The index of the best candidate: by log-probability over length, or over Wu et al.'s penalty ((5 + length) / 6)^a
    (Google's Neural Machine Translation System, 2016, equation 14)."""
    lengths = [len(tokens) for tokens in candidates]
    penalties = [n if length_penalty is None else ((5 + n) / 6) ** length_penalty for n in lengths]
    with np.errstate(divide="ignore", invalid="ignore"):  # an empty candidate has length 0
        return int(np.argmax(np.array(scores) / np.array(penalties)))
