"""Detect the language of speech."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import OptionError
from ..model import Whisper
from ..model.layers import Window, WindowBatch
from ..option_values import shown
from ..tokenizer import Task, Tokenizer, get_tokenizer, to_language_code
from .search import check_logits

FloatArray = simd.FloatArray
IntArray = npt.NDArray[np.integer[Any]]

MAX_NO_SPEECH_PROB = 0.6  # a window with a higher no-speech probability is not used to detect the language


def check_model(model: object) -> None:
    """Raise OptionError if `model` is not a model."""
    if not isinstance(model, Whisper):
        raise OptionError(f"model must be what load_model returns, not {shown(model)}")


def tokenizer_of(model: Whisper, language: str | None = None, task: Task | None = None) -> Tokenizer:
    """Return the model's tokenizer for a language and task."""
    return get_tokenizer(
        model.is_multilingual,
        num_languages=model.num_languages,
        language=language,
        task=task,
        vocabulary=model.vocabulary,
        special_tokens=model.special_tokens,
    )


def as_batch(mel: FloatArray) -> FloatArray:
    """Return one window, or a batch of windows, as a batch. Raises OptionError if `mel` is neither."""
    if getattr(mel, "ndim", None) not in (2, 3):
        raise OptionError(
            "mel must be a spectrogram (n_mels, 3000) or (batch, n_mels, 3000), or its features, as an array, "
            f"not {shown(mel)}"
        )
    return mel[None] if mel.ndim == 2 else mel


def encode(model: Whisper, mel: FloatArray, check_cancelled: Callable[[], object] = lambda: None) -> FloatArray:
    """Return features `(batch, 1500, n_state)` of `mel` `(batch, n_mels, 3000)`, which may be features already."""
    is_features = mel.shape[-2:] == (model.dims.n_audio_ctx, model.dims.n_audio_state)
    return mel if is_features else model.encode(np.asarray(mel, np.float32), check_cancelled)


def start_probabilities(model: Whisper, features: FloatArray, tokenizer: Tokenizer) -> tuple[FloatArray, FloatArray]:
    """Return the probabilities before any text: of languages `(batch, n_language)`, of no speech `(batch,)`."""
    decoder = model.decoder
    logits = decoder(np.full((len(features), 1), tokenizer.sot), decoder.new_cache(features))[:, 0]
    check_logits(simd.logsumexp(logits))
    languages = simd.softmax(logits[:, list(tokenizer.all_language_tokens)])
    return languages, simd.softmax(logits)[:, tokenizer.no_speech]


def by_code(probabilities: FloatArray, tokenizer: Tokenizer) -> dict[str, float]:
    """Return the probabilities `(n_language,)` by the languages' codes."""
    return dict(zip(tokenizer.all_language_codes, map(float, probabilities), strict=True))


@overload
def detect_language(
    model: Whisper, mel: Window, tokenizer: Tokenizer | None = None
) -> tuple[int, dict[str, float]]: ...


@overload
def detect_language(
    model: Whisper, mel: WindowBatch, tokenizer: Tokenizer | None = None
) -> tuple[IntArray, list[dict[str, float]]]: ...


def detect_language(
    model: Whisper, mel: FloatArray, tokenizer: Tokenizer | None = None
) -> tuple[IntArray | int, list[dict[str, float]] | dict[str, float]]:
    """Detect the language spoken in one window, or in each of a batch.

    Args:
        model: A multilingual model.
        mel: Log-mel spectrogram `(n_mels, 3000)` or `(batch, n_mels, 3000)`, or its features
            `(1500, n_audio_state)` or `(batch, 1500, n_audio_state)`.
        tokenizer: The model's, if it was made already.

    Returns:
        The token of the most probable language, and the probability of each language by its code; for a batch, an array
        of tokens and a list of dictionaries.

    Raises:
        OptionError: The model is English-only, or an argument is of another type.
    """
    check_model(model)
    if not model.is_multilingual:
        raise OptionError("this model knows English only, so there is no language to detect; use a multilingual one")
    if tokenizer is not None and not isinstance(tokenizer, Tokenizer):
        raise OptionError(f"tokenizer must be what get_tokenizer returns, or None, not {shown(tokenizer)}")
    tokenizer = tokenizer or tokenizer_of(model)
    languages, _ = start_probabilities(model, encode(model, as_batch(mel)), tokenizer)
    tokens = np.array(tokenizer.all_language_tokens)[languages.argmax(axis=1)]
    probabilities = [by_code(row, tokenizer) for row in languages]
    return (int(tokens[0]), probabilities[0]) if mel.ndim == 2 else (tokens, probabilities)


def check_language(model: Whisper, language: str) -> str:
    """Return the code of a language, given by code or name. Raises OptionError if it is unknown or not in the model."""
    code = to_language_code(language)
    if not model.is_multilingual and code != "en":
        raise OptionError(f"this model knows English only, not {language!r}; use a multilingual one")
    if model.is_multilingual:
        tokenizer_of(model).to_language_token(code)
    return code


class LanguageDetector:
    """Detects the language of windows, among all languages of the model or some of them."""

    def __init__(self, model: Whisper, among: Sequence[str] | None = None) -> None:
        """Make a detector. Raises OptionError if `among` has a language that the model lacks."""
        self.model = model
        self.tokenizer = tokenizer_of(model)
        codes = self.tokenizer.all_language_codes
        wanted = {check_language(model, name) for name in among} if among is not None else set(codes)
        if not wanted:
            raise OptionError("languages is empty; name at least one language, or pass None for all of the model's")
        self.allowed = np.array([code in wanted for code in codes])

    def probabilities(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return probabilities of languages `(batch, n_language)`, 0 if not allowed, and of no speech `(batch,)`."""
        languages, no_speech = start_probabilities(self.model, features, self.tokenizer)
        languages = np.where(self.allowed, languages, 0)
        return languages / np.maximum(languages.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny), no_speech

    def detect(self, features: FloatArray) -> list[str]:
        """Return the code of each window's language."""
        return [self.tokenizer.all_language_codes[i] for i in self.probabilities(features)[0].argmax(axis=1)]

    def detect_recording(self, windows: Iterable[FloatArray], threshold: float) -> dict[str, float]:
        """Return the probability of each language in a recording, by code.

        That is the mean over the windows with speech, or the first window's if none has speech. As soon as a language
        exceeds the threshold in one window, that window's probabilities are returned.

        Args:
            windows: At least one, as features `(1, 1500, n_audio_state)`; computed one by one as needed.
            threshold: The probability that is enough.
        """
        with_speech: list[FloatArray] = []
        first: FloatArray | None = None
        for features in windows:
            probabilities, no_speech = self.probabilities(features)
            first = probabilities[0] if first is None else first
            if no_speech[0] <= MAX_NO_SPEECH_PROB:
                with_speech.append(probabilities[0])
                if probabilities[0].max() > threshold:
                    with_speech = [probabilities[0]]
                    break
        assert first is not None, "a recording has at least one window"
        return by_code(np.mean(with_speech, axis=0) if with_speech else first, self.tokenizer)
