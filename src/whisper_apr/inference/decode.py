"""One window of audio, or a batch of them, becomes tokens."""

import copy
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Unpack

import numpy as np

from .. import simd
from ..audio import CHUNK_LENGTH
from ..errors import OptionError
from ..model import Whisper
from ..model.decoder import DecoderCache
from ..option_docs import list_options
from ..option_values import refuse_unknown, shown
from .hotwords import HotwordBias, hotword_prompt
from .keywords import DecodeKeywords
from .language import LanguageChooser, by_code, check_language, embed, tokenizer_of
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
from .search import BeamSearch, Candidates, GreedySearch, Search, rank, rows_of

FloatArray = simd.FloatArray


@dataclass(frozen=True)
class DecodingResult:
    audio_features: FloatArray = field(repr=False)
    language: str
    language_probs: dict[str, float] | None = None
    tokens: tuple[int, ...] = ()
    text: str = ""
    avg_logprob: float = np.nan
    no_speech_prob: float = np.nan
    temperature: float = np.nan
    compression_ratio: float = np.nan
    is_cut: bool = False  # whether the text stopped because it had as many tokens as it may have


@dataclass(frozen=True)
class Request:
    """What one window of a batch is given besides its sound."""

    prompt: Sequence[int] = ()  # tokens of the text that came before
    language: str | None = None  # a code; detected where None
    prefix: tuple[int, ...] = ()  # text that the result begins with; the options' prefix is not in the result


def compression_ratio(text: str) -> float:
    """How much shorter zlib makes a text; one that repeats itself has a high ratio."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


class DecodingTask:
    """A model and options, made ready to decode windows."""

    def __init__(self, model: Whisper, options: DecodingOptions) -> None:
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
        self.rules = self._rules()
        self.hotwords = [] if options.hotword_bias else hotword_prompt(options.hotwords, self.tokenizer)
        n_vocab = model.dims.n_vocab
        self.prompt = prompt_tokens("prompt", options.prompt, self.tokenizer, n_vocab)
        self.prefix = prompt_tokens("prefix", options.prefix, self.tokenizer, n_vocab)

    # ---- what a window is told before it --------------------------------------------------------------------------

    def _begin(self, language: str, n_before: int) -> list[int]:
        """Return `<|startoftranscript|> ... prefix`, which follows `n_before` other tokens.

        The prefix is cut to its last tokens as openai-whisper does it, and to what the text context can hold.
        """
        options = self.options
        tokenizer = tokenizer_of(self.model, language, options.task)
        without = options.without_timestamps
        tokens = list(tokenizer.sot_sequence_including_notimestamps if without else tokenizer.sot_sequence)
        room = max(0, self.n_ctx // 2 - self.sample_len)
        prefix = self.prefix[-room:]  # all of it where no room is left, as openai-whisper does
        return tokens + prefix[max(0, len(prefix) - (self.n_ctx - n_before - len(tokens))) :]

    def _forced(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return the tokens that a result with this prefix begins with: as in faster-whisper, its time is 0.00 s."""
        stamped = prefix and not self.options.without_timestamps
        return (self.tokenizer.timestamp_begin, *prefix) if stamped else prefix

    @property
    def prompt_room(self) -> int:
        """The most tokens of a prompt that are used: half of the text context less one, less the hotwords."""
        return max(0, self.n_ctx // 2 - 1 - len(self.hotwords))

    def _before(self, request: Request) -> list[int]:
        """Return `<|startofprev|> hotwords prompt`, or nothing where both are empty.

        With the request's prefix they fill at most half of the text context. As in faster-whisper, hotwords keep their
        beginning and the prompt its end.
        """
        room = max(0, self.n_ctx // 2 - 1 - len(request.prefix))
        hotwords, told = self.hotwords[:room], request.prompt
        tokens = [*hotwords, *told[max(0, len(told) - (room - len(hotwords))) :]]
        return [self.tokenizer.sot_prev, *tokens] if tokens else []

    # ---- rules and search ----------------------------------------------------------------------------------------

    def _suppressed(self) -> tuple[int, ...]:
        assert isinstance(self.options.suppress_tokens, tuple)  # parsed
        tokens = list(self.options.suppress_tokens)
        special, n_vocab = self.tokenizer, self.model.dims.n_vocab
        if -1 in tokens:
            own = self.model.suppress_tokens
            tokens = [t for t in tokens if t >= 0] + list(special.non_speech_tokens if own is None else own)
        tokens += [special.transcribe, special.translate, special.sot]
        tokens += [special.sot_prev, special.sot_lm, special.no_speech]
        if wrong := [t for t in tokens if not 0 <= t < n_vocab]:
            raise OptionError(f"suppress_tokens names {wrong[0]}, but tokens go from 0 to {n_vocab - 1}")
        return tuple(sorted(set(tokens)))

    def _rules(self) -> list[LogitFilter]:
        options, rules = self.options, list[LogitFilter]()
        if options.repetition_penalty != 1:
            rules.append(RepetitionPenalty(options.repetition_penalty))
        if options.no_repeat_ngram_size:
            rules.append(NoRepeatNgram(options.no_repeat_ngram_size))
        if options.hotwords and options.hotword_bias:
            rules.append(HotwordBias(options.hotwords, options.hotword_bias, self.tokenizer))
        if options.suppress_blank:
            rules.append(SuppressBlank(self.tokenizer))
        if options.suppress_tokens:
            rules.append(SuppressTokens(self._suppressed()))
        if not options.without_timestamps:
            precision = CHUNK_LENGTH / self.model.dims.n_audio_ctx
            latest = options.max_initial_timestamp
            rules.append(TimestampRules(self.tokenizer, round(latest / precision) if latest else None))
        return rules

    def _search(self, n_audio: int) -> Search:
        options, eot = self.options, self.tokenizer.eot
        if options.beam_size is not None:
            patience = 1.0 if options.patience is None else options.patience
            return BeamSearch(n_audio, options.beam_size, eot, patience)
        return GreedySearch(n_audio, self.n_group, eot, options.temperature, options.seed)

    # ---- the loop ------------------------------------------------------------------------------------------------

    def _read_prompts(
        self, prompts: list[list[int]], sot_from_end: int, cache: DecoderCache
    ) -> tuple[FloatArray, FloatArray]:
        """Logits after the prompts, `(n_row, n_vocab)`, and the no-speech probabilities `(n_audio,)`.

        A prompt is read once for each audio; its beams go on from there.
        """
        counts = np.array([len(prompt) for prompt in prompts], np.int32)
        tokens = np.zeros((len(prompts), counts.max()), np.int64)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[len(row) - len(prompt) :] = prompt
        first = rows_of(np.arange(len(prompts)), self.n_group) // self.n_group * self.n_group
        single = copy.copy(cache)
        single.keep(first[:: self.n_group])
        equal = (counts == counts[0]).all()
        both = self.model.decoder(tokens, single, (-sot_from_end, -1), None if equal else counts)
        cache.lengths[:] = np.repeat(single.lengths, self.n_group)
        cache.reorder(first)
        no_speech = simd.softmax(both[:, 0])[:, self.tokenizer.no_speech]
        return np.repeat(both[:, 1], self.n_group, axis=0), no_speech

    def _limit(self, prompt: Sequence[int], prefix: Sequence[int]) -> int:
        """Return how many tokens a candidate may have, the prefix that it begins with among them."""
        # a sampled token beyond the context is the last one
        return min(len(prefix) + self.sample_len, self.n_ctx + 1 - len(prompt))

    def _sample(
        self,
        features: FloatArray,
        prompts: list[list[int]],
        prefixes: list[tuple[int, ...]],
        sot_from_end: int,
        check_cancelled: Callable[[], None],
    ) -> tuple[list[tuple[Candidates, list[float]]], FloatArray]:
        """Each audio's candidates and their log-probabilities, and the probabilities that nobody speaks. An audio that has ended
        leaves the batch.

        A candidate begins with its audio's prefix, which does not count in its log-probability. All prefixes are of one length.
        """
        n_audio, group = len(features), self.n_group
        cache = self.model.decoder.new_cache(features, group)
        search = self._search(n_audio)
        found: list[tuple[Candidates, list[float]]] = [([], [])] * n_audio
        active = np.arange(n_audio)
        n_prefix = len(prefixes[0])
        limits = np.array([self._limit(prompt, prefix) for prompt, prefix in zip(prompts, prefixes, strict=True)])
        sampled: Tokens = np.repeat(np.array(prefixes, np.int64).reshape(n_audio, n_prefix), group, axis=0)
        check_cancelled()
        begins = [[*prompt, *prefix] for prompt, prefix in zip(prompts, prefixes, strict=True)]
        logits, no_speech = self._read_prompts(begins, sot_from_end + n_prefix, cache)
        while True:
            for rule in self.rules:
                rule.apply(logits, sampled)
            sampled, done = search.update(sampled, logits, cache)
            done |= limits[active] <= sampled.shape[1]
            for i in np.flatnonzero(done):
                found[active[i]] = search.finish(int(i), sampled[i * group : (i + 1) * group])
            if done.any():
                left = np.flatnonzero(~done)
                if not len(left):
                    return found, no_speech
                active, rows = active[left], rows_of(left, group)
                sampled = sampled[rows]
                search.keep(left)
                cache.keep(rows)
            check_cancelled()
            logits = self.model.decoder(sampled[:, -1:], cache)[:, 0]

    def run(
        self,
        mel: FloatArray,
        check_cancelled: Callable[[], None] = lambda: None,
        requests: Sequence[Request] | None = None,
    ) -> list[DecodingResult]:
        """mel or features of a batch -> a result for each, the same as for each alone. `requests` stand in for the options' prompt
        and language. `check_cancelled` is called before every token; what it raises ends the run."""
        options, model = self.options, self.model
        features = embed(model, mel, check_cancelled)
        n_audio = len(features)
        if not n_audio:
            return []
        requests = requests or [Request(self.prompt, self.language)] * n_audio
        languages = [request.language or "en" for request in requests]
        probabilities: list[dict[str, float] | None] = [None] * n_audio
        if model.is_multilingual and any(request.language is None for request in requests):
            chooser = LanguageChooser(model)
            for i, scores in enumerate(chooser.scores(features)[0]):
                if requests[i].language is None:
                    probabilities[i] = by_code(scores, self.tokenizer)
                    languages[i] = self.tokenizer.all_language_codes[scores.argmax()]
        befores = [self._before(request) for request in requests]
        begins = [self._begin(language, len(told)) for language, told in zip(languages, befores, strict=True)]
        prompts = [[*before, *begin] for before, begin in zip(befores, begins, strict=True)]
        forced = [self._forced(request.prefix) for request in requests]
        # rows of one batch have equally many tokens after `<|startoftranscript|>`: windows with a prefix go apart
        alike: dict[tuple[int, int], list[int]] = {}
        for i, (begin, prefix) in enumerate(zip(begins, forced, strict=True)):
            alike.setdefault((len(begin), len(prefix)), []).append(i)
        found: dict[int, tuple[Candidates, list[float]]] = {}
        no_speech = np.zeros(n_audio, np.float32)
        for (n_begin, _), members in alike.items():
            part = features if len(members) == n_audio else features[np.array(members)]
            sampled, no_speech[members] = self._sample(
                part, [prompts[i] for i in members], [forced[i] for i in members], n_begin, check_cancelled
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
                    language_probs=probabilities[i],
                    tokens=candidates[best],
                    text=text,
                    avg_logprob=scores[best] / (len(chosen[best]) + 1),
                    no_speech_prob=float(no_speech[i]),
                    temperature=options.temperature,
                    compression_ratio=compression_ratio(text),
                    is_cut=len(candidates[best]) >= self._limit(prompts[i], forced[i]),
                )
            )
        return results


@list_options(DecodingOptions)
def decode(
    model: Whisper, mel: FloatArray, options: DecodingOptions | None = None, **changes: Unpack[DecodeKeywords]
) -> DecodingResult | list[DecodingResult]:
    """Decode one window of 30 s, or a batch of windows.

    Args:
        model: The model, from `load_model`.
        mel: Log-mel spectrogram `(n_mels, 3000)` or `(batch, n_mels, 3000)`, as `log_mel_spectrogram` returns it; or the
            encoder's features `(1500, n_state)` or `(batch, 1500, n_state)`, as `model.embed_audio` returns them.
        options: The options. None is the defaults.
        **changes: Fields of DecodingOptions that differ from `options`.

    Returns:
        The result of the window, or a list of results for a batch.

    Raises:
        OptionError: An option is unknown, has a value that is not allowed, or conflicts with another.
    """
    if options is not None and not isinstance(options, DecodingOptions):
        raise OptionError(f"options must be a DecodingOptions, or None, not {shown(options)}")
    refuse_unknown("decoding options", changes, DecodingOptions.__dataclass_fields__)
    options = replace(options or DecodingOptions(), **changes)
    results = DecodingTask(model, options).run(mel[None] if mel.ndim == 2 else mel)
    return results[0] if mel.ndim == 2 else results
