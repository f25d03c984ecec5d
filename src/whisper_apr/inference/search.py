"""Choose tokens from logits: greedy search, sampling, and beam search.

`BeamSearch.update` ranks hypotheses at each step, by the sum of the log-probabilities of their tokens. `rank` chooses
among the finished ones, by that sum divided by a length penalty.

The rules are those of `GreedyDecoder`, `BeamSearchDecoder` and `MaximumLikelihoodRanker` in openai-whisper's
decoding.py.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import FormatError, OptionError
from ..model.decoder_cache import DecoderCache

FloatArray = simd.FloatArray
Tokens = npt.NDArray[np.integer[Any]]
Flags = npt.NDArray[np.bool_]
Candidates = list[tuple[int, ...]]  # sequences of sampled tokens, without the end of text


class Search(Protocol):
    """A search strategy. Rows are `n_audio * group`; those of one audio are adjacent."""

    def update(self, sampled: Tokens, logits: FloatArray, cache: DecoderCache) -> tuple[Tokens, Flags]:
        """Append a token to each row.

        Args:
            sampled: The tokens so far, `(n_row, n)`.
            logits: Of the next token, `(n_row, n_vocab)`.
            cache: Its rows are reordered if the search replaces a row's past by another's.

        Returns:
            The tokens `(n_row, n + 1)`, and which audios are finished, `(n_audio,)`.
        """

    def has_ended(self, row: Sequence[int]) -> bool:
        """Return whether a row's text has ended, so that its further tokens mean nothing."""

    def finish(self, audio: int, sampled: Tokens) -> tuple[Candidates, list[float]]:
        """Return the candidates of an audio and their log-probabilities. `sampled` `(group, n)` are its rows."""


class GreedySearch:
    """Chooses the most probable token at temperature 0, and samples at a higher temperature."""

    def __init__(self, n_audio: int, group: int, eot: int, temperature: float, seed: int | None = None) -> None:
        self.group = group
        self.eot = eot
        self.temperature = temperature
        self.sums = np.zeros(n_audio * group, np.float32)
        # one generator per row, so that the samples of an audio do not depend on the rest of the batch
        self.random = [
            np.random.default_rng(None if seed is None else [seed, i % group]) for i in range(n_audio * group)
        ]

    def update(self, sampled: Tokens, logits: FloatArray, cache: DecoderCache) -> tuple[Tokens, Flags]:
        """Append a token to each row; see `Search`. A row that has ended only gets more end-of-text tokens."""
        ended = sampled[:, -1] == self.eot if sampled.shape[1] else np.zeros(len(sampled), np.bool_)
        total = simd.logsumexp(logits)
        check_logits(total)
        check_token_available(total[~ended])
        chosen = simd.argmax(logits) if self.temperature == 0 else self._sample(logits)
        chosen[ended], total[ended] = self.eot, 0
        logprobs = logits[np.arange(len(chosen)), chosen] - total
        logprobs[ended] = 0
        self.sums += logprobs
        done = (chosen == self.eot).reshape(-1, self.group).all(axis=1)
        return np.concatenate([sampled, chosen[:, None]], axis=1), done

    def _sample(self, logits: FloatArray) -> npt.NDArray[np.int64]:
        chosen = np.empty(len(logits), np.int64)
        for i, probabilities in enumerate(simd.softmax(logits / np.float32(self.temperature))):
            cumulative = np.cumsum(probabilities, dtype=np.float64)
            chosen[i] = np.searchsorted(cumulative, self.random[i].random() * cumulative[-1], side="right")
        return chosen

    def has_ended(self, row: Sequence[int]) -> bool:
        """Return whether the end of text was chosen; see `Search`."""
        return row[-1] == self.eot

    def finish(self, audio: int, sampled: Tokens) -> tuple[Candidates, list[float]]:
        """Return the audio's rows up to their end of text; see `Search`."""
        rows = sampled.tolist()
        candidates = [tuple(row[: row.index(self.eot)] if self.eot in row else row) for row in rows]
        return candidates, self.sums[audio * self.group : (audio + 1) * self.group].tolist()


class BeamSearch:
    """Keeps the `beam_size` most probable sequences (hypotheses) of each audio.

    An audio is finished when `patience * beam_size` of its sequences have ended (Kasai et al., Beam Decoding with
    Controlled Patience, 2022).
    """

    def __init__(self, n_audio: int, beam_size: int, eot: int, patience: float = 1.0) -> None:
        self.beam_size = beam_size
        self.eot = eot
        self.max_candidates = round(beam_size * patience)
        self.sums = np.zeros(n_audio * beam_size, np.float32)
        self.finished: list[dict[tuple[int, ...], float]] = [{} for _ in range(n_audio)]
        self._is_first = True  # all beams of an audio are still the same

    def update(self, sampled: Tokens, logits: FloatArray, cache: DecoderCache) -> tuple[Tokens, Flags]:
        """Extend the beams by one token; see `Search`."""
        size = self.beam_size
        total = simd.logsumexp(logits)
        check_logits(total)
        check_token_available(total)
        # one more than there are beams, since one of them may be the end of text
        best = simd.top_k(logits, size + 1)
        logprobs = np.take_along_axis(logits, best, axis=1) - total[:, None]
        scores = self.sums[:, None] + logprobs
        if self._is_first:
            scores.reshape(-1, size, size + 1)[:, 1:] = -np.inf
            self._is_first = False
        scores = scores.reshape(len(self.finished), -1)
        order = np.argsort(-scores, axis=1, kind="stable")
        source: list[int] = []
        chosen: list[int] = []
        for audio, (finished, ranking) in enumerate(zip(self.finished, order.tolist(), strict=True)):
            kept = 0
            for index in ranking:
                beam, rank_in_beam = divmod(index, size + 1)
                row = audio * size + beam
                token = int(best[row, rank_in_beam])
                if token != self.eot:
                    source.append(row)
                    chosen.append(token)
                    self.sums[len(source) - 1] = scores[audio, index]
                    kept += 1
                    if kept == size:
                        break
                elif len(finished) < self.max_candidates and scores[audio, index] > -np.inf:
                    finished[tuple(sampled[row].tolist())] = float(scores[audio, index])
        cache.reorder(np.array(source))
        done = np.array([len(finished) >= self.max_candidates for finished in self.finished])
        return np.concatenate([sampled[source], np.array(chosen)[:, None]], axis=1), done

    def has_ended(self, row: Sequence[int]) -> bool:
        """Return False: a beam that ends is replaced by another; see `Search`."""
        return False

    def finish(self, audio: int, sampled: Tokens) -> tuple[Candidates, list[float]]:
        """Return the sequences that have ended and, if these are too few, the most probable others; see `Search`."""
        done = self.finished[audio]
        sums = self.sums[audio * self.beam_size : (audio + 1) * self.beam_size]
        for i in np.argsort(sums)[::-1]:
            if len(done) >= self.beam_size:
                break
            done[tuple(sampled[i].tolist())] = float(sums[i])
        return list(done), list(done.values())


def check_logits(values: FloatArray) -> None:
    """Raise FormatError if one of `values`, which were computed from logits, is NaN or +infinity.

    -infinity is allowed: it suppresses a token, and is the `logsumexp` of tokens that are all suppressed. Weights are
    checked to be finite when they are loaded, but damaged finite weights can still lead to infinities.
    """
    if not (values < np.inf).all():
        raise FormatError(
            "the model computes logits that are infinite or NaN: its weights are damaged or from a failed training; "
            "download or convert it again"
        )


def check_token_available(total: FloatArray) -> None:
    """Raise OptionError if the `logsumexp` of a row's logits is -infinity: all tokens are suppressed."""
    if (total == -np.inf).any():
        raise OptionError("suppress_tokens and the other options leave no token to choose; suppress fewer")


def rank(
    candidates: Candidates, scores: list[float], length_penalty: float | None, length_exponent: float | None = None
) -> int:
    """Return the index of the best candidate, by log-probability divided by a penalty.

    The penalty is the candidate's length; with `length_penalty`, ((5 + length) / 6) ** length_penalty (Wu et al.,
    Google's Neural Machine Translation System, 2016, equation 14); with `length_exponent`, length ** length_exponent.
    """
    lengths = [len(tokens) for tokens in candidates]
    exponent = 1.0 if length_exponent is None else length_exponent
    penalties = [n**exponent if length_penalty is None else ((5 + n) / 6) ** length_penalty for n in lengths]
    with np.errstate(divide="ignore", invalid="ignore"):  # an empty candidate has length 0
        return int(np.argmax(np.array(scores) / np.array(penalties)))
