"""What the next token may not be, and what makes one likelier or less likely. A rule changes the logits in place, forbidding by -inf."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import simd
from ..tokenizer import Tokenizer

FloatArray = simd.FloatArray
Tokens = npt.NDArray[np.integer[Any]]


class LogitFilter(Protocol):
    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        """logits `(n_row, n_vocab)`, changed in place; sampled `(n_row, n)`, the tokens that were chosen before."""


class SuppressBlank:
    """The first token is neither a space nor the end."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.blank = [*tokenizer.encode(" "), tokenizer.eot]

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        if sampled.shape[1] == 0:
            logits[:, self.blank] = -np.inf


class SuppressTokens:
    """These tokens never."""

    def __init__(self, suppressed: Sequence[int]) -> None:
        self.suppressed = np.array(suppressed, np.int64)

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        logits[:, self.suppressed] = -np.inf


class RepetitionPenalty:
    """Tokens that were chosen before: a positive logit is divided by the penalty, a negative one multiplied with it
    (Keskar et al., CTRL, 2019, section 4.1)."""

    def __init__(self, penalty: float) -> None:
        self.penalty = np.float32(penalty)

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        for row, chosen in zip(logits, sampled, strict=True):
            before = np.unique(chosen)
            values = row[before]
            row[before] = np.where(values < 0, values * self.penalty, values / self.penalty)


class NoRepeatNgram:
    """No n tokens in a row come twice."""

    def __init__(self, size: int) -> None:
        self.size = size

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        n = sampled.shape[1] - self.size + 1
        if n < 1:
            return
        for row, chosen in zip(logits, sampled, strict=True):
            begun = np.lib.stride_tricks.sliding_window_view(chosen, self.size)
            again = (begun[:, :-1] == chosen[n:]).all(axis=1)
            row[begun[again, -1]] = -np.inf


class TimestampRules:
    """Timestamps come in pairs (or one before the end), never go back, and win where together they are likelier than any text.

    The first token is a timestamp, of at most `max_initial` steps.
    """

    def __init__(self, tokenizer: Tokenizer, max_initial: int | None) -> None:
        self.begin = tokenizer.timestamp_begin
        self.eot = tokenizer.eot
        self.no_timestamps = tokenizer.no_timestamps
        self.max_initial = max_initial

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        logits[:, self.no_timestamps] = -np.inf
        if sampled.shape[1] == 0:
            logits[:, : self.begin] = -np.inf
            if self.max_initial is not None:
                logits[:, self.begin + self.max_initial + 1 :] = -np.inf
            return
        for row, chosen in zip(logits, sampled, strict=True):
            self._pair(row, chosen)
            text, stamps = row[: self.begin], row[self.begin :]
            # the sum of the timestamps' probabilities against the likeliest text, both short of the same divisor
            if float(simd.logsumexp(stamps)) > text[simd.argmax(text)]:
                text[:] = -np.inf

    def _pair(self, logits: FloatArray, sampled: Tokens) -> None:
        begin = self.begin
        last = sampled[-1] >= begin
        before = len(sampled) < 2 or sampled[-2] >= begin
        if last and before:
            logits[begin:] = -np.inf  # the pair is complete: text
            return
        if last:
            logits[: self.eot] = -np.inf  # half a pair: its other half, or the end
        stamps = sampled[sampled >= begin]
        if len(stamps):
            # a segment's end may be its next one's begin, but no segment is of length zero
            logits[begin : stamps[-1] if last else stamps[-1] + 1] = -np.inf
