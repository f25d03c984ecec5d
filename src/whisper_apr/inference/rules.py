"""What the next token may not be. A rule sets the logits of what it forbids to -inf, in place."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import simd
from ..tokenizer import Tokenizer

FloatArray = simd.FloatArray
Tokens = npt.NDArray[np.integer[Any]]


class Rule(Protocol):
    def apply(self, logits: FloatArray, tokens: Tokens) -> None:
        """logits `(n_row, n_vocab)`, changed in place; tokens `(n_row, n)`, all that was read and sampled before."""


class SuppressBlank:
    """The first token is neither a space nor the end."""

    def __init__(self, tokenizer: Tokenizer, sample_begin: int) -> None:
        self.blank = [*tokenizer.encode(" "), tokenizer.eot]
        self.sample_begin = sample_begin

    def apply(self, logits: FloatArray, tokens: Tokens) -> None:
        if tokens.shape[1] == self.sample_begin:
            logits[:, self.blank] = -np.inf


class SuppressTokens:
    """These tokens never."""

    def __init__(self, suppressed: Sequence[int]) -> None:
        self.suppressed = np.array(suppressed, np.int64)

    def apply(self, logits: FloatArray, tokens: Tokens) -> None:
        logits[:, self.suppressed] = -np.inf


class TimestampRules:
    """Timestamps come in pairs (or one before the end), never go back, and win where together they are likelier than any text.

    The first token is a timestamp, of at most `max_initial` steps.
    """

    def __init__(self, tokenizer: Tokenizer, sample_begin: int, max_initial: int | None) -> None:
        self.begin = tokenizer.timestamp_begin
        self.eot = tokenizer.eot
        self.no_timestamps = tokenizer.no_timestamps
        self.sample_begin = sample_begin
        self.max_initial = max_initial

    def apply(self, logits: FloatArray, tokens: Tokens) -> None:
        logits[:, self.no_timestamps] = -np.inf
        for row, sampled in zip(logits, tokens[:, self.sample_begin :], strict=True):
            self._pair(row, sampled)
        if tokens.shape[1] == self.sample_begin:
            logits[:, : self.begin] = -np.inf
            if self.max_initial is not None:
                logits[:, self.begin + self.max_initial + 1 :] = -np.inf
        logprobs = simd.log_softmax(logits)
        text = logprobs[:, : self.begin].max(axis=1)
        top = logprobs[:, self.begin :].max(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):  # a row may allow no timestamp at all
            stamps = top + np.log(np.exp(logprobs[:, self.begin :] - top[:, None]).sum(axis=1))
        logits[stamps > text, : self.begin] = -np.inf

    def _pair(self, logits: FloatArray, sampled: Tokens) -> None:
        last = len(sampled) >= 1 and sampled[-1] >= self.begin
        before = len(sampled) < 2 or sampled[-2] >= self.begin
        if last and before:
            logits[self.begin :] = -np.inf  # the pair is complete: text
        elif last:
            logits[: self.eot] = -np.inf  # half a pair: its other half, or the end
        stamps = sampled[sampled >= self.begin]
        if len(stamps):
            # a segment's end may be its next one's begin, but no segment is of length zero
            lowest = stamps[-1] if last and not before else stamps[-1] + 1
            logits[self.begin : lowest] = -np.inf
