"""Decode one window of audio, or a batch of them, to tokens and text.

Names, rules and defaults are those of openai-whisper's decoding.py.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Unpack, overload

import numpy as np

from .. import simd
from ..audio import CHUNK_LENGTH
from ..errors import OptionError
from ..model import Whisper
from ..model.decoder import DecoderCache
from ..model.layers import Window, WindowBatch
from ..option_docs import list_options
from ..option_values import refuse_unknown, shown
from .hotwords import HotwordBias, hotword_prompt
from .keywords import DecodeKeywords
from .language import LanguageDetector, by_code, check_language, check_model, encode, tokenizer_of
from .logit_filters import (
    LogitFilter,
    NoRepeatNgram,
    RepetitionPenalty,
    SuppressBlank,
    SuppressTokens,
    TimestampRules,
    Tokens,
)
from .options import DecodingOptions, prompt_tokens
from .search import BeamSearch, Candidates, GreedySearch, Search, group_rows, rank

FloatArray = simd.FloatArray


@dataclass(frozen=True)
class DecodingResult:
    """The decoded text of one window.

    Attributes:
        audio_features: Of the window, `(1500, n_audio_state)`.
        language: A code.
        language_probs: The probability of each language by code; None if the language was given.
        tokens: With timestamps, without the end of text.
        text: Without timestamps.
        avg_logprob: Mean log-probability of the tokens and the end of text.
        no_speech_prob: Probability of `<|nospeech|>` as the first token.
        temperature: That the tokens were sampled at.
        compression_ratio: See `compression_ratio`.
        is_cut: The text ended because it reached its maximum number of tokens.
    """

    audio_features: FloatArray = field(repr=False)
    language: str
    language_probs: dict[str, float] | None = field(default=None, repr=False)
    tokens: tuple[int, ...] = ()
    text: str = ""
    avg_logprob: float = np.nan
    no_speech_prob: float = np.nan
    temperature: float = np.nan
    compression_ratio: float = np.nan
    is_cut: bool = False


@dataclass(frozen=True)
class Request:
    """The prompt, language and prefix of one window in a batch."""

    prompt: Sequence[int] = ()  # tokens of the previous text
    language: str | None = None  # a code; None to detect it
    prefix: tuple[int, ...] = ()  # text that the result begins with, unlike the prefix of DecodingOptions


def compression_ratio(text: str) -> float:
    """Return the ratio of a text's size to its size compressed by zlib, which is high for repetitive text."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


class DecodingTask:
    """A model and options, ready to decode windows."""

    def __init__(self, model: Whisper, options: DecodingOptions) -> None:
        """Make a task. Raises OptionError if the model does not support an option."""
        self.model = model
        self.options = options
        self.language = None if options.language is None else check_language(model, options.language)
        self.tokenizer = tokenizer_of(model, self.language or "en", options.task)
        self.n_ctx = model.dims.n_text_ctx
        self.sample_len = options.sample_len or self.n_ctx // 2
        self.n_group = options.beam_size or options.best_of or 1
        if options.beam_size is not None and options.beam_size >= model.dims.n_vocab:
            raise OptionError(
                f"beam_size must be below the model's {model.dims.n_vocab} tokens, not {options.beam_size}"
            )
        self.logit_filters = self._logit_filters()
        self.hotwords = [] if options.hotword_bias else hotword_prompt(options.hotwords, self.tokenizer)
        n_vocab = model.dims.n_vocab
        self.prompt = prompt_tokens("prompt", options.prompt, self.tokenizer, n_vocab)
        self.prefix = prompt_tokens("prefix", options.prefix, self.tokenizer, n_vocab)

    # ---- prompt ----------------------------------------------------------------------------------------------------

    @property
    def max_prompt_tokens(self) -> int:
        """The most tokens of a prompt that are used: half of the text context less one, less the hotwords."""
        return max(0, self.n_ctx // 2 - 1 - len(self.hotwords))

    def _previous_text(self, request: Request) -> list[int]:
        """Return `<|startofprev|> hotwords prompt`, or nothing if both are empty.

        With the request's prefix they fill at most half of the text context. As in faster-whisper, too long hotwords
        keep their beginning, and a too long prompt keeps its end.
        """
        max_tokens = max(0, self.n_ctx // 2 - 1 - len(request.prefix))
        hotwords, prompt = self.hotwords[:max_tokens], request.prompt
        tokens = [*hotwords, *prompt[max(0, len(prompt) - (max_tokens - len(hotwords))) :]]
        return [self.tokenizer.sot_prev, *tokens] if tokens else []

    def _initial_tokens(self, language: str, n_before: int) -> list[int]:
        """Return `<|startoftranscript|> language task prefix`, which follow `n_before` other tokens.

        The options' prefix is cut to its last tokens as in openai-whisper, and to what the text context can hold.
        """
        options = self.options
        tokenizer = tokenizer_of(self.model, language, options.task)
        without = options.without_timestamps
        tokens = list(tokenizer.sot_sequence_including_notimestamps if without else tokenizer.sot_sequence)
        max_prefix = max(0, self.n_ctx // 2 - self.sample_len)
        prefix = self.prefix[-max_prefix:]  # the whole prefix if that is 0, as in openai-whisper
        return tokens + prefix[max(0, len(prefix) - (self.n_ctx - n_before - len(tokens))) :]

    def _forced_tokens(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return the tokens that a result with this prefix begins with: as in faster-whisper, it starts at 0.00 s."""
        with_time = prefix and not self.options.without_timestamps
        return (self.tokenizer.timestamp_begin, *prefix) if with_time else prefix

    def _max_tokens(self, prompt: Sequence[int], prefix: Sequence[int]) -> int:
        """Return the most tokens that a result may have, including its prefix."""
        # the last token may lie beyond the context, since it is not read again
        return min(len(prefix) + self.sample_len, self.n_ctx + 1 - len(prompt))

    # ---- filters and search ----------------------------------------------------------------------------------------

    def _suppressed_tokens(self) -> tuple[int, ...]:
        assert isinstance(self.options.suppress_tokens, tuple)  # parsed
        tokens = list(self.options.suppress_tokens)
        special, n_vocab = self.tokenizer, self.model.dims.n_vocab
        if -1 in tokens:
            of_model = self.model.suppress_tokens
            tokens = [t for t in tokens if t >= 0] + list(special.non_speech_tokens if of_model is None else of_model)
        tokens += [special.transcribe, special.translate, special.sot]
        tokens += [special.sot_prev, special.sot_lm, special.no_speech]
        if wrong := [t for t in tokens if not 0 <= t < n_vocab]:
            raise OptionError(f"suppress_tokens names {wrong[0]}, but tokens go from 0 to {n_vocab - 1}")
        return tuple(sorted(set(tokens)))

    def _logit_filters(self) -> list[LogitFilter]:
        options, filters = self.options, list[LogitFilter]()
        if options.repetition_penalty != 1:
            filters.append(RepetitionPenalty(options.repetition_penalty))
        if options.no_repeat_ngram_size:
            filters.append(NoRepeatNgram(options.no_repeat_ngram_size))
        if options.hotwords and options.hotword_bias:
            filters.append(HotwordBias(options.hotwords, options.hotword_bias, self.tokenizer))
        if options.suppress_blank:
            filters.append(SuppressBlank(self.tokenizer))
        if options.suppress_tokens:
            filters.append(SuppressTokens(self._suppressed_tokens()))
        if not options.without_timestamps:
            precision = CHUNK_LENGTH / self.model.dims.n_audio_ctx
            latest = options.max_initial_timestamp
            filters.append(TimestampRules(self.tokenizer, round(latest / precision) if latest else None))
        return filters

    def _search(self, n_audio: int) -> Search:
        options, eot = self.options, self.tokenizer.eot
        if options.beam_size is not None:
            patience = 1.0 if options.patience is None else options.patience
            return BeamSearch(n_audio, options.beam_size, eot, patience)
        return GreedySearch(n_audio, self.n_group, eot, options.temperature, options.seed)

    # ---- the decoding loop -----------------------------------------------------------------------------------------

    def _read_prompts(
        self, prompts: list[list[int]], sot_from_end: int, cache: DecoderCache
    ) -> tuple[FloatArray, FloatArray]:
        """Return the logits after the prompts, `(n_row, n_vocab)`, and the no-speech probabilities, `(n_audio,)`.

        The prompt of an audio is read once, by its first row, and then shared with its other rows.

        Args:
            prompts: Of each audio.
            sot_from_end: The number of tokens from `<|startoftranscript|>` to the end, the same in all prompts.
            cache: Empty.
        """
        lengths = np.array([len(prompt) for prompt in prompts], np.int32)
        tokens = np.zeros((len(prompts), lengths.max()), np.int64)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[len(row) - len(prompt) :] = prompt
        first_rows = np.arange(len(prompts)) * self.n_group
        counts = None if (lengths == lengths[0]).all() else lengths
        logits = self.model.decoder(tokens, cache.view(first_rows), (-sot_from_end, -1), counts)
        cache.share_first_rows(lengths)
        no_speech = simd.softmax(logits[:, 0])[:, self.tokenizer.no_speech]
        return np.repeat(logits[:, 1], self.n_group, axis=0), no_speech

    def _sample(
        self,
        features: FloatArray,
        prompts: list[list[int]],
        prefixes: list[tuple[int, ...]],
        sot_from_end: int,
        check_cancelled: Callable[[], object],
    ) -> tuple[list[tuple[Candidates, list[float]]], FloatArray]:
        """Return each audio's candidates with their log-probabilities, and the no-speech probabilities `(n_audio,)`.

        A candidate begins with its audio's prefix, which does not count in its log-probability. An audio that is
        finished leaves the batch.

        Args:
            features: `(n_audio, 1500, n_audio_state)`.
            prompts: Of each audio, ending with its initial tokens.
            prefixes: Of each audio, all of the same length.
            sot_from_end: As for `_read_prompts`, without the prefix.
            check_cancelled: Called before every token.
        """
        n_audio, group = len(features), self.n_group
        cache = self.model.decoder.new_cache(features, group)
        search = self._search(n_audio)
        found: list[tuple[Candidates, list[float]]] = [([], [])] * n_audio
        active = np.arange(n_audio)
        n_prefix = len(prefixes[0])
        limits = np.array([self._max_tokens(prompt, prefix) for prompt, prefix in zip(prompts, prefixes, strict=True)])
        sampled: Tokens = np.repeat(np.array(prefixes, np.int64).reshape(n_audio, n_prefix), group, axis=0)
        check_cancelled()
        prefixed = [[*prompt, *prefix] for prompt, prefix in zip(prompts, prefixes, strict=True)]
        logits, no_speech = self._read_prompts(prefixed, sot_from_end + n_prefix, cache)
        while True:
            for logit_filter in self.logit_filters:
                logit_filter.apply(logits, sampled)
            sampled, done = search.update(sampled, logits, cache)
            done |= limits[active] <= sampled.shape[1]
            for i in np.flatnonzero(done):
                found[active[i]] = search.finish(int(i), sampled[i * group : (i + 1) * group])
            if done.any():
                left = np.flatnonzero(~done)
                if not len(left):
                    return found, no_speech
                active, rows = active[left], group_rows(left, group)
                sampled = sampled[rows]
                search.keep(left)
                cache.keep(rows)
            check_cancelled()
            logits = self.model.decoder(sampled[:, -1:], cache)[:, 0]

    def run(
        self,
        mel: FloatArray,
        check_cancelled: Callable[[], object] = lambda: None,
        requests: Sequence[Request] | None = None,
    ) -> list[DecodingResult]:
        """Decode a batch of windows. A window's result does not depend on the rest of the batch.

        Args:
            mel: `(batch, n_mels, 3000)`, or features `(batch, 1500, n_audio_state)`.
            check_cancelled: Called before every token; an exception that it raises is passed on.
            requests: Prompt, language and prefix of each window; None for the options' prompt and language.
        """
        options, model = self.options, self.model
        features = encode(model, mel, check_cancelled)
        n_audio = len(features)
        if not n_audio:
            return []
        requests = requests or [Request(self.prompt, self.language)] * n_audio
        languages, language_probs = self._languages(features, requests)
        previous = [self._previous_text(request) for request in requests]
        initial = [self._initial_tokens(code, len(before)) for code, before in zip(languages, previous, strict=True)]
        prompts = [[*before, *tokens] for before, tokens in zip(previous, initial, strict=True)]
        forced = [self._forced_tokens(request.prefix) for request in requests]
        # the rows of a batch must have equally many tokens from `<|startoftranscript|>` on: prefixes divide the batch
        batches: dict[tuple[int, int], list[int]] = {}
        for i, (tokens, prefix) in enumerate(zip(initial, forced, strict=True)):
            batches.setdefault((len(tokens), len(prefix)), []).append(i)
        found: dict[int, tuple[Candidates, list[float]]] = {}
        no_speech = np.zeros(n_audio, np.float32)
        for (n_initial, _), members in batches.items():
            part = features if len(members) == n_audio else features[np.array(members)]
            sampled, no_speech[members] = self._sample(
                part, [prompts[i] for i in members], [forced[i] for i in members], n_initial, check_cancelled
            )
            found |= dict(zip(members, sampled, strict=True))
        results = []
        for i in range(n_audio):
            candidates, scores = found[i]
            chosen = [tokens[len(forced[i]) :] for tokens in candidates]
            best = rank(chosen, scores, options.length_penalty)
            text = self.tokenizer.decode(candidates[best]).strip()
            results.append(
                DecodingResult(
                    audio_features=features[i],
                    language=languages[i],
                    language_probs=language_probs[i],
                    tokens=candidates[best],
                    text=text,
                    avg_logprob=scores[best] / (len(chosen[best]) + 1),
                    no_speech_prob=float(no_speech[i]),
                    temperature=options.temperature,
                    compression_ratio=compression_ratio(text),
                    is_cut=len(candidates[best]) >= self._max_tokens(prompts[i], forced[i]),
                )
            )
        return results

    def _languages(
        self, features: FloatArray, requests: Sequence[Request]
    ) -> tuple[list[str], list[dict[str, float] | None]]:
        """Return each window's language and, if it had to be detected, the probabilities of all languages."""
        languages = [request.language or "en" for request in requests]
        probabilities: list[dict[str, float] | None] = [None] * len(requests)
        if self.model.is_multilingual and any(request.language is None for request in requests):
            for i, row in enumerate(LanguageDetector(self.model).probabilities(features)[0]):
                if requests[i].language is None:
                    probabilities[i] = by_code(row, self.tokenizer)
                    languages[i] = self.tokenizer.all_language_codes[row.argmax()]
        return languages, probabilities


@overload
def decode(
    model: Whisper, mel: Window, options: DecodingOptions | None = None, **changes: Unpack[DecodeKeywords]
) -> DecodingResult: ...


@overload
def decode(
    model: Whisper, mel: WindowBatch, options: DecodingOptions | None = None, **changes: Unpack[DecodeKeywords]
) -> list[DecodingResult]: ...


@list_options(DecodingOptions)
def decode(
    model: Whisper, mel: FloatArray, options: DecodingOptions | None = None, **changes: Unpack[DecodeKeywords]
) -> DecodingResult | list[DecodingResult]:
    """Decode one window of 30 s, or a batch of windows.

    Args:
        model: The model, from `load_model`.
        mel: Log-mel spectrogram `(n_mels, 3000)` or `(batch, n_mels, 3000)`, as `log_mel_spectrogram` returns it; or
            the encoder's features `(1500, n_state)` or `(batch, 1500, n_state)`, as `model.embed_audio` returns them.
        options: The options. None is the defaults.
        **changes: Fields of DecodingOptions that differ from `options`.

    Returns:
        The result of the window, or a list of results for a batch.

    Raises:
        OptionError: An option is unknown, has a value that is not allowed, or conflicts with another.
    """
    check_model(model)
    if options is not None and not isinstance(options, DecodingOptions):
        raise OptionError(f"options must be a DecodingOptions, or None, not {shown(options)}")
    refuse_unknown("decoding options", changes, DecodingOptions.__dataclass_fields__)
    given: dict[str, Any] = {**changes}
    options = replace(options or DecodingOptions(), **given)
    results = DecodingTask(model, options).run(mel[None] if mel.ndim == 2 else mel)
    return results[0] if mel.ndim == 2 else results
