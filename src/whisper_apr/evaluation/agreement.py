"""How closely a model follows another one when both read the same text (teacher forcing)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import simd
from ..audio import N_FRAMES, AudioLike, ReadingOptions
from ..errors import OptionError
from ..inference.audio_context import encode_window
from ..inference.decode import DecodingResult, DecodingTask, Request
from ..inference.fallback import is_silence
from ..inference.transcribe import Pipeline, TranscriptionJob
from ..inference.window_text import SeekWindow
from ..model import Whisper
from ..model.layers import FloatArray
from ..tokenizer import Tokenizer

# options of a transcription that say what is transcribed, and not how it is decoded
KEPT = ("language", "task", "vad_filter", "vad_parameters", "clip_timestamps", "chunk_length")
# the rest of the reference's transcription: greedy, and each window without the text before it
GREEDY = {"temperature": 0.0, "condition_on_previous_text": False}


@dataclass(frozen=True)
class TokenAgreement:
    """How a model's probabilities of the next token agree with the reference's, over a number of tokens.

    Attributes:
        n_token: Tokens of the reference's text.
        n_same: Those before which both models have the same most probable token.
        divergence: Sum of the Kullback-Leibler divergences KL(reference || model) before each token, in nats.
    """

    n_token: int = 0
    n_same: int = 0
    divergence: float = 0.0

    @property
    def top_1(self) -> float | None:
        """The share of tokens before which both models have the same most probable token, 0 to 1; None without any."""
        return self.n_same / self.n_token if self.n_token else None

    @property
    def mean_divergence(self) -> float | None:
        """The mean divergence in nats per token; None without tokens."""
        return self.divergence / self.n_token if self.n_token else None

    def __add__(self, other: "TokenAgreement") -> "TokenAgreement":
        return TokenAgreement(
            self.n_token + other.n_token, self.n_same + other.n_same, self.divergence + other.divergence
        )


@dataclass(frozen=True)
class Agreement:
    """The agreement before tokens of each kind.

    Attributes:
        text: Before tokens of text, and the end of a window's text.
        timestamps: Before timestamps.
    """

    text: TokenAgreement = field(default_factory=TokenAgreement)
    timestamps: TokenAgreement = field(default_factory=TokenAgreement)

    @property
    def total(self) -> TokenAgreement:
        """The agreement before tokens of both kinds."""
        return self.text + self.timestamps

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(self.text + other.text, self.timestamps + other.timestamps)


def check_comparable(reference: Whisper, model: Whisper, name: str) -> None:
    """Raise OptionError if a model does not read the same spectrograms and tokens as the reference."""
    for each in ("n_mels", "n_audio_ctx", "n_vocab", "n_text_ctx"):
        ours, theirs = getattr(model.dims, each), getattr(reference.dims, each)
        if ours != theirs:
            raise OptionError(
                f"{name} cannot be compared with the reference: its {each} is {ours} instead of {theirs}; "
                "choose a reference of the same kind"
            )


def compare(
    reference: Whisper,
    models: Mapping[str, Whisper],
    audio: AudioLike,
    reading: ReadingOptions,
    check_cancelled: Callable[[], object],
    options: Mapping[str, Any],
) -> dict[str, Agreement]:
    """Return the agreement of models with the reference on a recording.

    The reference transcribes the recording greedily at temperature 0, each window without the text before it. Every
    model then reads that text, and its logits before each token are compared with the reference's, without the rules
    that forbid tokens.

    Args:
        reference: The model whose text is read.
        models: The models, by name.
        audio: The recording.
        reading: How it is read.
        check_cancelled: Called before every token.
        options: Those of a transcription, of which `KEPT` are used.
    """
    found = dict.fromkeys(models, Agreement())
    pipeline = Pipeline(reference, check_cancelled, {name: options[name] for name in KEPT if name in options} | GREEDY)
    for window, features, result, tokenizer in decoded_windows(pipeline, audio, reading):
        if is_silence(result, pipeline.options):
            continue
        before, tokens = tokens_read(result, tokenizer)
        is_timestamp = np.array([tokenizer.is_timestamp(token) for token in tokens], bool)
        expected = next_logits(reference, features, before, tokens)
        for name, model in models.items():
            logits = next_logits(model, encode_window(model, window, N_FRAMES, check_cancelled), before, tokens)
            same, divergence = compare_logits(expected, logits)
            found[name] += Agreement(
                *(
                    TokenAgreement(int(kind.sum()), int(same[kind].sum()), float(divergence[kind].sum()))
                    for kind in (~is_timestamp, is_timestamp)
                )
            )
    return found


def decoded_windows(
    pipeline: Pipeline, audio: AudioLike, reading: ReadingOptions
) -> Iterator[tuple[SeekWindow, FloatArray, DecodingResult, Tokenizer]]:
    """Yield the windows of a recording without their features, and their features, results and tokenizers."""
    cancelled = pipeline.check_cancelled
    task = DecodingTask(pipeline.model, pipeline.decoder.attempts[0])
    for sequence in TranscriptionJob.open(pipeline, audio, reading).sequences():
        while (window := sequence.next_window()) is not None:
            features = encode_window(pipeline.model, window, N_FRAMES, cancelled)
            request = Request(window.prompt, sequence.tokenizer.language, window.prefix)
            (result,) = task.run_features(features[None], cancelled, [request])
            bare = SeekWindow(window.seek, window.size, window.mel, window.prompt)
            yield bare, features, result, sequence.tokenizer
            sequence.advance(window, result)
        if sequence.error is not None:
            raise sequence.error


def tokens_read(result: DecodingResult, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the tokens of a window that a model reads: those before its text, and the text with its end."""
    before = tokenizer.sot_sequence if tokenizer.has_timestamps else tokenizer.sot_sequence_including_notimestamps
    return list(before), list(result.tokens) if result.is_cut else [*result.tokens, tokenizer.eot]


def next_logits(model: Whisper, features: FloatArray, before: list[int], tokens: list[int]) -> FloatArray:
    """Return the logits before each token, `(n_token, n_vocab)`, after the tokens `before`."""
    read = np.array([[*before, *tokens[:-1]]])
    cache = model.decoder.new_cache(features[None])
    return model.decoder.logits(model.decoder.read(read, cache)[0, len(before) - 1 :])


def compare_logits(reference: FloatArray, logits: FloatArray) -> tuple[np.ndarray, np.ndarray]:
    """Compare two models' logits, both `(n_token, n_vocab)`.

    Returns:
        Whether both have the same most probable token, `(n_token,)` bool; and KL(reference || other) in nats,
        `(n_token,)` float64.
    """
    divergence = np.empty(len(reference))
    for i, (expected, found) in enumerate(zip(reference, logits, strict=True)):  # row by row, for less memory
        p, q = (row.astype(np.float64) - simd.logsumexp(row[None])[0] for row in (expected, found))
        divergence[i] = max(0.0, float(np.exp(p) @ (p - q)))
    return reference.argmax(axis=1) == logits.argmax(axis=1), divergence
