"""One window of audio, or a batch of them, becomes tokens."""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import simd
from ..audio import CHUNK_LENGTH
from ..errors import OptionError
from ..model import Whisper
from ..tokenizer import TASKS, Task, Tokenizer, get_tokenizer
from .rules import Rule, SuppressBlank, SuppressTokens, TimestampRules
from .search import BeamSearch, GreedySearch, Search, rank

FloatArray = simd.FloatArray
IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class DecodingOptions:
    """How a window is decoded; names and defaults are openai-whisper's."""

    task: Task = "transcribe"  # or "translate": into English
    language: str | None = None  # detected where None
    temperature: float = 0.0
    sample_len: int | None = None  # tokens at most; half of the text context where None
    best_of: int | None = None  # samples to choose from, at a temperature above 0
    beam_size: int | None = None  # beams, at temperature 0
    patience: float | None = None  # a beam search goes on until patience * beam_size sequences have ended
    length_penalty: float | None = None  # see search.rank
    prompt: str | Sequence[int] | None = None  # text that came before
    prefix: str | Sequence[int] | None = None  # text that the window begins with
    suppress_tokens: str | Iterable[int] | None = "-1"  # -1: what is not speech
    suppress_blank: bool = True
    without_timestamps: bool = False
    max_initial_timestamp: float | None = 1.0  # seconds
    seed: int | None = None  # of the samples: the same seed gives the same text


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


def compression_ratio(text: str) -> float:
    """How much shorter zlib makes a text; one that repeats itself has a high ratio."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def embed(model: Whisper, mel: FloatArray) -> FloatArray:
    """Features of `mel`, which may be features already: `(batch, 1500, n_audio_state)`."""
    is_features = mel.shape[-2:] == (model.dims.n_audio_ctx, model.dims.n_audio_state)
    return mel if is_features else model.embed_audio(mel)


def tokenizer_of(model: Whisper, language: str | None = None, task: Task | None = None) -> Tokenizer:
    return get_tokenizer(model.is_multilingual, num_languages=model.num_languages, language=language, task=task)


def language_scores(
    model: Whisper, features: FloatArray, tokenizer: Tokenizer
) -> tuple[IntArray, list[dict[str, float]]]:
    """Features `(batch, 1500, n_audio_state)` -> the likeliest language's token `(batch,)`, and each one's probability by code."""
    logits = model.logits(np.full((len(features), 1), tokenizer.sot), features)[:, 0]
    languages = np.array(tokenizer.all_language_tokens)
    scores = simd.softmax(logits[:, languages])
    codes = tokenizer.all_language_codes
    return languages[scores.argmax(axis=1)], [dict(zip(codes, map(float, row), strict=True)) for row in scores]


def detect_language(
    model: Whisper, mel: FloatArray, tokenizer: Tokenizer | None = None
) -> tuple[IntArray | int, list[dict[str, float]] | dict[str, float]]:
    """The language of mel (or features), for one window or a batch: its token, and each language's probability.

    Raises OptionError for an English-only model.
    """
    if not model.is_multilingual:
        raise OptionError("this model knows English only, and no language to detect; name a multilingual one")
    features = embed(model, mel[None] if mel.ndim == 2 else mel)
    tokens, probabilities = language_scores(model, features, tokenizer or tokenizer_of(model))
    return (int(tokens[0]), probabilities[0]) if mel.ndim == 2 else (tokens, probabilities)


def _check(options: DecodingOptions) -> None:
    if options.task not in TASKS:
        raise OptionError(f"task must be 'transcribe' or 'translate', not {options.task!r}")
    if options.beam_size is not None and options.best_of is not None:
        raise OptionError("beam_size and best_of cannot be given together")
    if options.temperature == 0 and options.best_of is not None:
        raise OptionError("best_of chooses among samples: it needs a temperature above 0")
    if options.patience is not None and options.beam_size is None:
        raise OptionError("patience needs beam_size")
    if options.length_penalty is not None and not 0 <= options.length_penalty <= 1:
        raise OptionError(f"length_penalty must be between 0 and 1, not {options.length_penalty}")
    if options.temperature < 0:
        raise OptionError(f"temperature must not be negative, not {options.temperature}")
    for name in ("beam_size", "best_of", "sample_len"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise OptionError(f"{name} must be at least 1, not {value}")


class DecodingTask:
    """A model, a tokenizer and options, made ready to decode windows."""

    def __init__(self, model: Whisper, options: DecodingOptions) -> None:
        _check(options)
        self.model = model
        self.options = options
        self.tokenizer = tokenizer = tokenizer_of(model, options.language or "en", options.task)
        self.n_ctx = model.dims.n_text_ctx
        self.sample_len = options.sample_len or self.n_ctx // 2
        self.n_group = options.beam_size or options.best_of or 1
        self.sot_sequence = (
            tokenizer.sot_sequence_including_notimestamps if options.without_timestamps else tokenizer.sot_sequence
        )
        self.initial_tokens = self._initial_tokens()
        self.sample_begin = len(self.initial_tokens)
        self.sot_index = self.initial_tokens.index(tokenizer.sot)
        self.rules = self._rules()

    def _initial_tokens(self) -> tuple[int, ...]:
        """`<|startofprev|> prompt <|startoftranscript|> ... prefix`, each part cut so that half of the context stays free."""
        tokenizer, options = self.tokenizer, self.options
        tokens = list(self.sot_sequence)
        if options.prefix:
            prefix = (
                tokenizer.encode(" " + options.prefix.strip())
                if isinstance(options.prefix, str)
                else list(options.prefix)
            )
            room = max(0, self.n_ctx // 2 - self.sample_len)
            tokens += prefix[-room:]  # all of it where no room is left, as openai-whisper does
        if options.prompt:
            prompt = (
                tokenizer.encode(" " + options.prompt.strip())
                if isinstance(options.prompt, str)
                else list(options.prompt)
            )
            tokens = [tokenizer.sot_prev, *prompt[-(self.n_ctx // 2 - 1) :], *tokens]
        return tuple(tokens)

    def _suppressed(self) -> tuple[int, ...]:
        wanted = self.options.suppress_tokens
        try:
            tokens = [int(t) for t in (wanted.split(",") if isinstance(wanted, str) else wanted or [])]
        except ValueError:
            raise OptionError(f"suppress_tokens must be token numbers with commas between, not {wanted!r}") from None
        special = self.tokenizer
        if -1 in tokens:
            tokens = [t for t in tokens if t >= 0] + list(special.non_speech_tokens)
        tokens += [
            special.transcribe,
            special.translate,
            special.sot,
            special.sot_prev,
            special.sot_lm,
            special.no_speech,
        ]
        wrong = [t for t in tokens if not 0 <= t < self.model.dims.n_vocab]
        if wrong:
            raise OptionError(
                f"suppress_tokens names {wrong[0]}, but tokens go from 0 to {self.model.dims.n_vocab - 1}"
            )
        return tuple(sorted(set(tokens)))

    def _rules(self) -> list[Rule]:
        options, rules = self.options, list[Rule]()
        if options.suppress_blank:
            rules.append(SuppressBlank(self.tokenizer, self.sample_begin))
        if options.suppress_tokens:
            rules.append(SuppressTokens(self._suppressed()))
        if not options.without_timestamps:
            precision = CHUNK_LENGTH / self.model.dims.n_audio_ctx
            latest = options.max_initial_timestamp
            rules.append(
                TimestampRules(self.tokenizer, self.sample_begin, None if latest is None else round(latest / precision))
            )
        return rules

    def _search(self) -> Search:
        options, eot = self.options, self.tokenizer.eot
        if options.beam_size is not None:
            return BeamSearch(options.beam_size, eot, 1.0 if options.patience is None else options.patience)
        return GreedySearch(options.temperature, eot, options.seed)

    def _sample(
        self, features: FloatArray, prompts: np.ndarray, search: Search, checkpoint: Callable[[], None]
    ) -> tuple[np.ndarray, FloatArray, FloatArray]:
        """Tokens, their summed log-probabilities, and the probability that nobody speaks."""
        decoder, no_speech = self.model.decoder, self.tokenizer.no_speech
        cache = decoder.new_cache(features, self.n_group)
        tokens = np.repeat(prompts, self.n_group, axis=0)
        sums = np.zeros(len(tokens), np.float32)
        no_speech_probs = np.full(len(tokens), np.nan, np.float32)
        for step in range(self.sample_len):
            checkpoint()
            if step == 0:
                both = decoder(tokens, cache, (self.sot_index, -1))
                no_speech_probs = simd.softmax(both[:, 0])[:, no_speech]
                logits = np.ascontiguousarray(both[:, 1])
            else:
                logits = decoder(tokens[:, -1:], cache)[:, 0]
            for rule in self.rules:
                rule.apply(logits, tokens)
            tokens, completed = search.update(tokens, logits, sums, cache)
            if completed or tokens.shape[1] > self.n_ctx:
                break
        return tokens, sums, no_speech_probs

    def run(self, mel: FloatArray, checkpoint: Callable[[], None] = lambda: None) -> list[DecodingResult]:
        """mel or features of a batch -> a result for each. `checkpoint` is called before every token; what it raises ends the run."""
        tokenizer, options, model = self.tokenizer, self.options, self.model
        features = embed(model, mel)
        n_audio = len(features)
        prompts = np.tile(np.array(self.initial_tokens), (n_audio, 1))
        languages = [options.language or "en"] * n_audio
        probabilities: list[dict[str, float]] | list[None] = [None] * n_audio
        if options.language is None and model.is_multilingual:
            found, scores_of = language_scores(model, features, tokenizer)
            probabilities, languages = scores_of, [max(row, key=row.__getitem__) for row in scores_of]
            prompts[:, self.sot_index + 1] = found
        search = self._search()
        tokens, sums, no_speech_probs = self._sample(features, prompts, search, checkpoint)
        grouped = tokens.reshape(n_audio, self.n_group, -1)
        candidates, scores = search.finish(grouped, sums.reshape(n_audio, self.n_group))
        results = []
        for i in range(n_audio):
            sampled = [
                sequence[self.sample_begin : sequence.index(tokenizer.eot, self.sample_begin)]
                for sequence in candidates[i]
            ]
            best = rank(sampled, scores[i], options.length_penalty)
            text = tokenizer.decode(sampled[best]).strip()
            results.append(
                DecodingResult(
                    audio_features=features[i],
                    language=languages[i],
                    language_probs=probabilities[i],
                    tokens=sampled[best],
                    text=text,
                    avg_logprob=scores[i][best] / (len(sampled[best]) + 1),
                    no_speech_prob=float(no_speech_probs[i * self.n_group]),
                    temperature=options.temperature,
                    compression_ratio=compression_ratio(text),
                )
            )
        return results


def decode(
    model: Whisper, mel: FloatArray, options: DecodingOptions | None = None, **changes: object
) -> DecodingResult | list[DecodingResult]:
    """Decode mel `(n_mels, 3000)`, or a batch of windows, or features in their place; a batch gives a list.

    Raises OptionError for options that contradict each other or that the model does not know.
    """
    options = options or DecodingOptions()
    try:
        options = replace(options, **changes)  # type: ignore[arg-type]
    except TypeError:
        raise OptionError(f"unknown decoding options: {', '.join(sorted(changes))}") from None
    results = DecodingTask(model, options).run(mel[None] if mel.ndim == 2 else mel)
    return results[0] if mel.ndim == 2 else results
