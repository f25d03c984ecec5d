"""openai-whisper's `whisper.decoding`. What is a tensor there is an array here."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...audio import CHUNK_LENGTH
from ...errors import OptionError
from ...inference import decode as inference
from ...inference.decode import DecodingResult
from ...inference.language import detect_language as _detect_language
from ...inference.logit_filters import SuppressBlank as _SuppressBlank
from ...inference.logit_filters import SuppressTokens as _SuppressTokens
from ...inference.logit_filters import TimestampRules as _TimestampRules
from ...inference.options import DecodingOptions
from ...inference.search import rank
from ...model import Whisper
from ...tokenizer import Tokenizer
from ._arrays import Array, as_array
from ._missing import getter

__all__ = [
    "CHUNK_LENGTH",
    "ApplyTimestampRules",
    "DecodingOptions",
    "DecodingResult",
    "DecodingTask",
    "LogitFilter",
    "MaximumLikelihoodRanker",
    "SequenceRanker",
    "SuppressBlank",
    "SuppressTokens",
    "decode",
    "detect_language",
]

__getattr__ = getter(__name__)


def detect_language(model: Whisper, mel: Any, tokenizer: Tokenizer | None = None) -> tuple[Array, Any]:
    """Detect the language of a window `(n_mels, 3000)` or a batch, or of its features.

    Returns:
        The tokens of the languages, and the probabilities by code: a dictionary, or a list of them for a batch.

    Raises:
        ValueError: The model knows English only.
    """
    tokens, probabilities = _detect_language(model, as_array(mel), tokenizer)
    return np.asarray(tokens).view(Array), probabilities


DEFAULTS = DecodingOptions()


def decode(model: Whisper, mel: Any, options: DecodingOptions = DEFAULTS, **kwargs: Any) -> Any:
    """Decode a window of 30 s or a batch of windows.

    Args:
        model: The model.
        mel: Log-mel spectrogram `(n_mels, 3000)` or `(batch, n_mels, 3000)`, or the encoder's features.
        options: The options.
        **kwargs: Options that differ.

    Returns:
        A DecodingResult, or a list of them for a batch.
    """
    found = inference.decode(model, as_array(mel), options, **kwargs)
    return list(map(_with_array, found)) if isinstance(found, list) else _with_array(found)


def _with_array(result: DecodingResult) -> DecodingResult:
    return replace(result, audio_features=result.audio_features.view(Array))


class SequenceRanker:
    """Chooses one sequence of each group."""

    def rank(self, tokens: Sequence[Sequence[Any]], sum_logprobs: Sequence[Sequence[float]]) -> list[int]:
        """Return the index of the chosen sequence in each group."""
        raise NotImplementedError


class MaximumLikelihoodRanker(SequenceRanker):
    """Chooses the most probable sequence, by the length or Google's length penalty."""

    def __init__(self, length_penalty: float | None) -> None:
        self.length_penalty = length_penalty

    def rank(self, tokens: Sequence[Sequence[Any]], sum_logprobs: Sequence[Sequence[float]]) -> list[int]:
        """Return the index of the best sequence in each group."""
        return [
            rank([tuple(each) for each in group], list(sums), self.length_penalty)
            for group, sums in zip(tokens, sum_logprobs, strict=True)
        ]


class LogitFilter:
    """Changes the logits of the next token."""

    def apply(self, logits: Any, tokens: Any) -> None:
        """Change `logits` `(n_row, n_vocab)` in place, given all tokens so far `(n_row, n)`, the prompt included."""
        raise NotImplementedError


class SuppressBlank(LogitFilter):
    """Suppresses a space and the end of text as the first token after the first `sample_begin`."""

    def __init__(self, tokenizer: Tokenizer, sample_begin: int) -> None:
        self.tokenizer, self.sample_begin = tokenizer, sample_begin
        self._filter = _SuppressBlank(tokenizer)

    def apply(self, logits: Any, tokens: Any) -> None:
        """Suppress the tokens in place."""
        self._filter.apply(as_array(logits), as_array(tokens)[:, self.sample_begin :])


class SuppressTokens(LogitFilter):
    """Suppresses some tokens everywhere."""

    def __init__(self, suppress_tokens: Sequence[int]) -> None:
        self.suppress_tokens = list(suppress_tokens)
        self._filter = _SuppressTokens(self.suppress_tokens)

    def apply(self, logits: Any, tokens: Any) -> None:
        """Suppress the tokens in place."""
        self._filter.apply(as_array(logits), as_array(tokens))


class ApplyTimestampRules(LogitFilter):
    """Makes the timestamps after the first `sample_begin` tokens come in pairs and in order."""

    def __init__(self, tokenizer: Tokenizer, sample_begin: int, max_initial_timestamp_index: int | None) -> None:
        self.tokenizer, self.sample_begin = tokenizer, sample_begin
        self.max_initial_timestamp_index = max_initial_timestamp_index
        self._filter = _TimestampRules(tokenizer, max_initial_timestamp_index)

    def apply(self, logits: Any, tokens: Any) -> None:
        """Suppress tokens in place."""
        self._filter.apply(as_array(logits), as_array(tokens)[:, self.sample_begin :])


class _WithPrompt:
    """A program's filter, which is given the prompt too."""

    def __init__(self, inner: Any, prompt: tuple[int, ...]) -> None:
        self._inner, self._prompt = inner, np.array(prompt, np.int64)

    def apply(self, logits: Any, sampled: Any) -> None:
        tokens = np.concatenate([np.tile(self._prompt, (len(sampled), 1)), sampled], axis=1)
        self._inner.apply(logits.view(Array), tokens.view(Array))


class DecodingTask:
    """A model and options, ready to decode windows.

    Attributes:
        logit_filters: Applied in order before each token is chosen. A program may append its own, which have the
            method `apply(logits, tokens)` and may change the logits in place.
    """

    def __init__(self, model: Whisper, options: DecodingOptions) -> None:
        self._task = inference.DecodingTask(model, options)
        self.model, self.options, self.tokenizer = model, options, self._task.tokenizer
        self.n_group, self.n_ctx, self.sample_len = self._task.n_group, self._task.n_ctx, self._task.sample_len
        self.sot_sequence = (
            self.tokenizer.sot_sequence_including_notimestamps
            if options.without_timestamps
            else self.tokenizer.sot_sequence
        )
        self.initial_tokens = self._task.initial_tokens()
        self.sample_begin = len(self.initial_tokens)
        self.sot_index = self.initial_tokens.index(self.tokenizer.sot)
        self.sequence_ranker = MaximumLikelihoodRanker(options.length_penalty)
        self._own = list(self._task.logit_filters)
        self.logit_filters: list[Any] = list(self._own)

    def run(self, mel: Any) -> list[DecodingResult]:
        """Decode a batch of windows, spectrograms `(batch, n_mels, 3000)` or features."""
        if type(self.sequence_ranker) is not MaximumLikelihoodRanker:
            raise OptionError("sequence_ranker must be a MaximumLikelihoodRanker; others are not supported")
        own = {id(each) for each in self._own}
        self._task.logit_filters = [
            each if id(each) in own else _WithPrompt(each, self.initial_tokens) for each in self.logit_filters
        ]
        return list(map(_with_array, self._task.run(as_array(mel))))
