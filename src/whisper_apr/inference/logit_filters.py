"""Suppress tokens, or make them more or less probable, before the next one is chosen.

A filter changes the logits in place; -infinity suppresses a token. `SuppressBlank`, `SuppressTokens` and
`TimestampRules` are those of openai-whisper's decoding.py (there `ApplyTimestampRules`). To add a filter, write a class
with `apply` here, and create it in `DecodingTask._logit_filters` in `decode.py`, which determines the order.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import simd
from ..tokenizer import Tokenizer

FloatArray = simd.FloatArray
Tokens = npt.NDArray[np.integer[Any]]


class LogitFilter(Protocol):
    """Changes the logits of the next token."""

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        """Change `logits` `(n_row, n_vocab)` in place, given the tokens sampled so far, `(n_row, n)`."""


class SuppressBlank:
    """Suppresses a space and the end of text as the first token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.blank = [*tokenizer.encode(" "), tokenizer.eot]

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        if sampled.shape[1] == 0:
            logits[:, self.blank] = -np.inf


class SuppressTokens:
    """Suppresses some tokens everywhere."""

    def __init__(self, suppressed: Sequence[int]) -> None:
        self.suppressed = np.array(suppressed, np.int64)

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        logits[:, self.suppressed] = -np.inf


class RepetitionPenalty:
    """Makes tokens that were sampled before less probable (Keskar et al., CTRL, 2019, section 4.1).

    A positive logit is divided by the penalty, a negative one multiplied by it.
    """

    def __init__(self, penalty: float) -> None:
        self.penalty = np.float32(penalty)

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        for row, chosen in zip(logits, sampled, strict=True):
            before = np.unique(chosen)
            values = row[before]
            row[before] = np.where(values < 0, values * self.penalty, values / self.penalty)


class NoRepeatNgram:
    """Suppresses tokens that would repeat a sequence of `size` tokens."""

    def __init__(self, size: int) -> None:
        self.size = size

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        n = sampled.shape[1] - self.size + 1
        if n < 1:
            return
        for row, chosen in zip(logits, sampled, strict=True):
            ngrams = np.lib.stride_tricks.sliding_window_view(chosen, self.size)
            repeats = (ngrams[:, :-1] == chosen[n:]).all(axis=1)
            row[ngrams[repeats, -1]] = -np.inf


class TimestampRules:
    """Makes timestamps follow openai-whisper's rules.

    Timestamps come in pairs, except for one before the end of text; they never decrease; and one is chosen whenever
    the timestamps together are more probable than any single text token. The first token is a timestamp of at most
    `max_initial` steps of 0.02 s, or any timestamp if that is None.
    """

    def __init__(self, tokenizer: Tokenizer, max_initial: int | None) -> None:
        self.begin = tokenizer.timestamp_begin
        self.end = tokenizer.timestamp_end
        self.eot = tokenizer.eot
        self.no_timestamps = tokenizer.no_timestamps
        self.max_initial = max_initial

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        logits[:, self.no_timestamps] = -np.inf
        if sampled.shape[1] == 0:
            logits[:, : self.begin] = -np.inf
            last = self.end if self.max_initial is None else min(self.end, self.begin + self.max_initial + 1)
            logits[:, last:] = -np.inf
            return
        for row, chosen in zip(logits, sampled, strict=True):
            self._apply_order(row, chosen)
            # `added` are the tokens behind the timestamps, if there are any
            text, stamps, added = row[: self.begin], row[self.begin : self.end], row[self.end :]
            most = max(float(part[simd.argmax(part)]) for part in (text, added) if len(part))
            # sum of the timestamps' probabilities against the most probable text token; both lack the same divisor
            if float(simd.logsumexp(stamps)) > most:
                text[:] = added[:] = -np.inf

    def _apply_order(self, logits: FloatArray, sampled: Tokens) -> None:
        begin, end = self.begin, self.end
        is_stamp = (sampled >= begin) & (sampled < end)
        last = is_stamp[-1]
        before = len(sampled) < 2 or is_stamp[-2]
        if last and before:
            logits[begin:end] = -np.inf  # the pair is complete, or the text starts: text must follow
            return
        if last:
            # half a pair: the other half or the end of text must follow
            logits[: self.eot] = logits[end:] = -np.inf
        stamps = sampled[is_stamp]
        if len(stamps):
            # a segment may start where the one before it ends, but must not be empty
            logits[begin : stamps[-1] if last else stamps[-1] + 1] = -np.inf


class ContinueUntil:
    """Suppresses the end of text after a pair of timestamps before a given time, if it is the most probable token.

    There the model leaves the rest of the window, in which speech begins but may not end, to the next window. If the
    window ends with a pause and no other window has its rest, the text has to go on. Where it does so anyway, its
    probabilities are not changed.
    """

    def __init__(self, tokenizer: Tokenizer, position: int) -> None:
        """Make a filter for texts that go on until an encoder position of 0.02 s."""
        self.begin = tokenizer.timestamp_begin
        self.end = tokenizer.timestamp_end
        self.eot = tokenizer.eot
        self.position = position

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        if sampled.shape[1] < 2:
            return
        before, last = sampled[:, -2], sampled[:, -1]
        is_pair = (self.begin <= before) & (before < self.end) & (self.begin <= last) & (last < self.end)
        for row in np.flatnonzero(is_pair & (last < self.begin + self.position)):
            if simd.argmax(logits[row]) == self.eot:
                logits[row, self.eot] = -np.inf
