"""Which language is spoken."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import OptionError
from ..model import Whisper
from ..tokenizer import Task, Tokenizer, get_tokenizer, to_language_code
from .search import require_numbers

FloatArray = simd.FloatArray
IntArray = npt.NDArray[np.integer[Any]]

SPEECH_THRESHOLD = 0.6  # a window with a no-speech probability above it says nothing of the language


def tokenizer_of(model: Whisper, language: str | None = None, task: Task | None = None) -> Tokenizer:
    return get_tokenizer(
        model.is_multilingual,
        num_languages=model.num_languages,
        language=language,
        task=task,
        vocabulary=model.vocabulary,
    )


def embed(model: Whisper, mel: FloatArray, check_cancelled: Callable[[], None] = lambda: None) -> FloatArray:
    """Features of `mel`, which may be features already: `(batch, 1500, n_audio_state)`."""
    is_features = mel.shape[-2:] == (model.dims.n_audio_ctx, model.dims.n_audio_state)
    return mel if is_features else model.encoder(np.asarray(mel, np.float32), check_cancelled)


def scores_at_start(model: Whisper, features: FloatArray, tokenizer: Tokenizer) -> tuple[FloatArray, FloatArray]:
    """What the model says before any text: each language's probability `(batch, n_language)`, and that nobody speaks `(batch,)`."""
    logits = model.logits(np.full((len(features), 1), tokenizer.sot), features)[:, 0]
    require_numbers(simd.logsumexp(logits))
    languages = simd.softmax(logits[:, list(tokenizer.all_language_tokens)])
    return languages, simd.softmax(logits)[:, tokenizer.no_speech]


def by_code(probabilities: FloatArray, tokenizer: Tokenizer) -> dict[str, float]:
    return dict(zip(tokenizer.all_language_codes, map(float, probabilities), strict=True))


def detect_language(
    model: Whisper, mel: FloatArray, tokenizer: Tokenizer | None = None
) -> tuple[IntArray | int, list[dict[str, float]] | dict[str, float]]:
    """The language of mel (or features), for one window or a batch: its token, and each language's probability.

    Raises OptionError for an English-only model.
    """
    if not model.is_multilingual:
        raise OptionError("this model knows English only, and no language to detect; name a multilingual one")
    tokenizer = tokenizer or tokenizer_of(model)
    scores, _ = scores_at_start(model, embed(model, mel[None] if mel.ndim == 2 else mel), tokenizer)
    tokens = np.array(tokenizer.all_language_tokens)[scores.argmax(axis=1)]
    probabilities = [by_code(row, tokenizer) for row in scores]
    return (int(tokens[0]), probabilities[0]) if mel.ndim == 2 else (tokens, probabilities)


def check_language(model: Whisper, language: str) -> str:
    """A language's code, given by code or name. OptionError where it is unknown or the model lacks it."""
    code = to_language_code(language)
    if not model.is_multilingual and code != "en":
        raise OptionError(f"this model knows English only, not {language!r}; name a multilingual one")
    if model.is_multilingual:
        tokenizer_of(model).to_language_token(code)
    return code


class LanguageChooser:
    """Detects the language of windows, among all that the model knows or among some."""

    def __init__(self, model: Whisper, among: Sequence[str] | None = None) -> None:
        self.model = model
        self.tokenizer = tokenizer_of(model)
        codes = self.tokenizer.all_language_codes
        wanted = {check_language(model, name) for name in among} if among is not None else set(codes)
        if not wanted:
            raise OptionError("languages names no language to choose among")
        self.allowed = np.array([code in wanted for code in codes])

    def scores(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Each window's probabilities of the languages, 0 for those that are not to be chosen, and its no-speech probability."""
        scores, no_speech = scores_at_start(self.model, features, self.tokenizer)
        scores = np.where(self.allowed, scores, 0)
        return scores / np.maximum(scores.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny), no_speech

    def best(self, features: FloatArray) -> list[str]:
        """Each window's language."""
        return [self.tokenizer.all_language_codes[i] for i in self.scores(features)[0].argmax(axis=1)]

    def of_recording(self, windows: Iterable[FloatArray], threshold: float) -> dict[str, float]:
        """The probabilities over several windows, given one by one as features `(1, 1500, n_state)`: the mean of those in which somebody
        speaks (of the first, where nobody does). It ends as soon as one window's language is likelier than the threshold."""
        heard: list[FloatArray] = []
        first: FloatArray | None = None
        for features in windows:
            scores, no_speech = self.scores(features)
            first = scores[0] if first is None else first
            if no_speech[0] <= SPEECH_THRESHOLD:
                heard.append(scores[0])
                if scores[0].max() > threshold:
                    heard = [scores[0]]
                    break
        assert first is not None, "a recording has at least one window"
        return by_code(np.mean(heard, axis=0) if heard else first, self.tokenizer)
