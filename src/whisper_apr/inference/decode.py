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
from ..model.decoder_cache import AudioSlot
from ..model.layers import Window, WindowBatch
from ..option_docs import list_options
from ..option_values import refuse_unknown, shown
from .generation import ContinuousBatch, Decoding, Generation, Prompt
from .hotwords import HotwordBias, hotword_prompt
from .keywords import DecodeKeywords
from .language import LanguageDetector, as_batch, by_code, check_language, check_model, encode, tokenizer_of
from .logit_filters import (
    ContinueUntil,
    LogitFilter,
    NoRepeatNgram,
    RepetitionPenalty,
    SuppressBlank,
    SuppressTokens,
    TimestampRules,
)
from .options import DecodingOptions, prompt_tokens
from .repetition import loop_start
from .search import BeamSearch, Candidates, GreedySearch, Search, rank

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
    tokens: list[int] = field(default_factory=list)
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
    draft: tuple[int, ...] = ()  # tokens that the result is expected to begin with; changes only the time it takes
    text_until: int | None = None  # encoder position before which the text must not end, see `ContinueUntil`
    max_tokens: int | None = None  # fewer tokens than `sample_len`, at which the text is cut
    stops_at_loop: bool = False  # the text ends when it repeats itself, see `loop_start`


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
        # a vocabulary may have no timestamps
        self.without_timestamps = options.without_timestamps or not self.tokenizer.has_timestamps
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
        without = self.without_timestamps
        tokens = list(tokenizer.sot_sequence_including_notimestamps if without else tokenizer.sot_sequence)
        max_prefix = max(0, self.n_ctx // 2 - self.sample_len)
        prefix = self.prefix[-max_prefix:]  # the whole prefix if that is 0, as in openai-whisper
        return tokens + prefix[max(0, len(prefix) - (self.n_ctx - n_before - len(tokens))) :]

    def initial_tokens(self) -> tuple[int, ...]:
        """Return the tokens before the text of a window, as far as the options say: English unless they name another.

        `run` puts the language of each window in the place of English.
        """
        before = self._previous_text(Request(self.prompt))
        return (*before, *self._initial_tokens(self.language or "en", len(before)))

    def _forced_tokens(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return the tokens that a result with this prefix begins with: as in faster-whisper, it starts at 0.00 s."""
        with_time = prefix and not self.without_timestamps
        return (self.tokenizer.timestamp_begin, *prefix) if with_time else prefix

    def _max_tokens(self, prompt: Sequence[int], prefix: Sequence[int], limit: int | None = None) -> int:
        """Return the most tokens that a result may have, including its prefix: `sample_len`, or a lower limit."""
        sample_len = self.sample_len if limit is None else min(limit, self.sample_len)
        # the last token may lie beyond the context, since it is not read again
        return min(len(prefix) + sample_len, self.n_ctx + 1 - len(prompt))

    # ---- filters and search ----------------------------------------------------------------------------------------

    @property
    def suppressed_tokens(self) -> tuple[int, ...]:
        """The tokens that are never chosen, in order; empty if `suppress_tokens` is."""
        if not self.options.suppress_tokens:
            return ()
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
        if suppressed := self.suppressed_tokens:
            filters.append(SuppressTokens(suppressed))
        if not self.without_timestamps:
            precision = CHUNK_LENGTH / self.model.dims.n_audio_ctx
            latest = options.max_initial_timestamp
            filters.append(TimestampRules(self.tokenizer, round(latest / precision) if latest else None))
        return filters

    def _search(self) -> Search:
        options, eot = self.options, self.tokenizer.eot
        if options.beam_size is not None:
            patience = 1.0 if options.patience is None else options.patience
            return BeamSearch(1, options.beam_size, eot, patience)
        return GreedySearch(1, self.n_group, eot, options.temperature, options.seed)

    def is_loop(self, tokens: Sequence[int]) -> bool:
        """Return whether a text repeats itself in a loop."""
        return loop_start(tokens, self.tokenizer.is_text) is not None

    # ---- decoding --------------------------------------------------------------------------------------------------

    def generate(
        self,
        slot: AudioSlot,
        tokens: Sequence[int],
        n_from_sot: int,
        prefix: tuple[int, ...],
        draft: tuple[int, ...] = (),
        text_until: int | None = None,
        max_tokens: int | None = None,
        stops_at_loop: bool = False,
    ) -> Decoding[tuple[Candidates, list[float], float]]:
        """Generate a window's candidates, and return them, their log-probabilities and the no-speech probability.

        A candidate begins with the prefix, which does not count in its log-probability.

        Args:
            slot: Where the window's audio is.
            tokens: The prompt, ending with the initial tokens.
            n_from_sot: The number of tokens from `<|startoftranscript|>` to the end.
            prefix: Tokens that every candidate begins with.
            draft: Tokens that are expected after the prefix. It has no effect unless decoding is greedy.
            text_until: Encoder position before which the text must not end, if it has timestamps; see `ContinueUntil`.
            max_tokens: The most tokens after the prefix, unless `sample_len` is less.
            stops_at_loop: Whether to end when all candidates have ended or repeat themselves.
        """
        is_greedy = self.options.beam_size is None and self.options.temperature == 0
        prompt = Prompt((*tokens, *prefix), n_from_sot + len(prefix), len(prefix), draft if is_greedy else ())
        max_tokens = self._max_tokens(tokens, prefix, max_tokens)
        filters = self.logit_filters
        if text_until is not None and not self.without_timestamps:
            filters = [*filters, ContinueUntil(self.tokenizer, text_until)]
        is_stuck = self.is_loop if stops_at_loop else None
        timestamps = range(self.tokenizer.timestamp_begin, self.tokenizer.timestamp_end)
        generation = Generation(slot, prompt, self._search(), self.n_group, filters, max_tokens, is_stuck, timestamps)
        yield generation
        assert slot.prompt_logits is not None
        no_speech = simd.softmax(slot.prompt_logits[:1])[0, self.tokenizer.no_speech]
        return *generation.finish(), float(no_speech)

    def decoding(self, slot: AudioSlot, features: FloatArray, request: Request) -> Decoding[DecodingResult]:
        """Decode a window.

        Args:
            slot: Where the window's audio is.
            features: `(n_ctx, n_audio_state)`, for the result.
            request: With a language.
        """
        language = request.language or "en"
        before = self._previous_text(request)
        initial = self._initial_tokens(language, len(before))
        prompt, forced = [*before, *initial], self._forced_tokens(request.prefix)
        candidates, scores, no_speech = yield from self.generate(
            *(slot, prompt, len(initial), forced, request.draft),
            *(request.text_until, request.max_tokens, request.stops_at_loop),
        )
        options = self.options
        chosen = [tokens[len(forced) :] for tokens in candidates]
        best = rank(chosen, scores, options.length_penalty, options.length_exponent)
        text = self.tokenizer.decode(candidates[best]).strip()
        return DecodingResult(
            audio_features=features,
            language=language,
            tokens=list(candidates[best]),
            text=text,
            avg_logprob=scores[best] / (len(chosen[best]) + 1),
            no_speech_prob=no_speech,
            temperature=options.temperature,
            compression_ratio=compression_ratio(text),
            is_cut=len(candidates[best]) >= self._max_tokens(prompt, forced, request.max_tokens),
        )

    def _batch(self, n_window: int, check_cancelled: Callable[[], object]) -> ContinuousBatch[Any]:
        return ContinuousBatch(self.model.decoder, n_window, self.n_group, check_cancelled)

    def sample_prompts(
        self,
        features: FloatArray,
        prompts: Sequence[Sequence[int]],
        lengths: Sequence[int],
        prefixes: Sequence[tuple[int, ...]],
        check_cancelled: Callable[[], object] = lambda: None,
    ) -> list[tuple[Candidates, list[float], float]]:
        """Return each audio's candidates, their log-probabilities and the no-speech probability.

        Args:
            features: `(n_audio, n_ctx, n_audio_state)`.
            prompts: Of each audio.
            lengths: Of each prompt, the number of tokens from `<|startoftranscript|>` to the end.
            prefixes: Of each audio, tokens that its candidates begin with.
            check_cancelled: Called before every token.
        """
        batch: ContinuousBatch[tuple[Candidates, list[float], float]] = self._batch(len(features), check_cancelled)

        def decoding(
            window: FloatArray, prompt: Sequence[int], n_from_sot: int, prefix: tuple[int, ...]
        ) -> Decoding[tuple[Candidates, list[float], float]]:
            with batch.slot(window) as slot:
                return (yield from self.generate(slot, prompt, n_from_sot, prefix))

        return batch.run(list(map(decoding, features, prompts, lengths, prefixes)))

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
        return self.run_features(encode(self.model, mel, check_cancelled), check_cancelled, requests)

    def run_features(
        self,
        features: FloatArray,
        check_cancelled: Callable[[], object] = lambda: None,
        requests: Sequence[Request] | None = None,
    ) -> list[DecodingResult]:
        """Decode windows as `run` does, given their features `(batch, n_ctx, n_audio_state)`."""
        if not len(features):
            return []
        requests = requests or [Request(self.prompt, self.language)] * len(features)
        languages, language_probs = self._languages(features, requests)
        batch: ContinuousBatch[DecodingResult] = self._batch(len(features), check_cancelled)

        def decoding(window: FloatArray, request: Request, language: str) -> Decoding[DecodingResult]:
            with batch.slot(window) as slot:
                return (yield from self.decoding(slot, window, replace(request, language=language)))

        results = batch.run(list(map(decoding, features, requests, languages)))
        return [
            replace(result, language_probs=probabilities)
            for result, probabilities in zip(results, language_probs, strict=True)
        ]

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
        OptionError: An option is unknown, has a value that is not allowed, or conflicts with another; or `mel` is not
            such an array.
    """
    check_model(model)
    if options is not None and not isinstance(options, DecodingOptions):
        raise OptionError(f"options must be a DecodingOptions, or None, not {shown(options)}")
    refuse_unknown("decoding options", changes, DecodingOptions.__dataclass_fields__)
    given: dict[str, Any] = {**changes}
    options = replace(options or DecodingOptions(), **given)
    results = DecodingTask(model, options).run(as_batch(mel))
    return results[0] if mel.ndim == 2 else results
