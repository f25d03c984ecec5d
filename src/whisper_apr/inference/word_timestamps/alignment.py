"""When each word is said, by what the decoder listens to while it writes it: openai-whisper's alignment, from tokens to times.

The decoder's alignment heads attend, for each token, to the place where it is spoken. Their weights are normalised over the tokens,
smoothed by a running median, and averaged; dynamic time warping then finds the way through tokens and time.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ... import simd
from ...audio import HOP_LENGTH, SAMPLE_RATE
from ...model import Whisper
from ...model.encoder import TIME_STRIDE
from ...tokenizer import Tokenizer

FloatArray = simd.FloatArray

MEDIAN_WIDTH = 7  # positions
POSITIONS_PER_SECOND = SAMPLE_RATE // HOP_LENGTH // TIME_STRIDE


@dataclass(frozen=True)
class WordTiming:
    """A word, its tokens, and its time in seconds from the window's beginning."""

    word: str
    tokens: tuple[int, ...]
    start: float
    end: float
    probability: float


@dataclass(frozen=True)
class AttentionAlignment:
    """What the alignment heads say of a window's text."""

    matrix: FloatArray  # (n_text + 1, n_position): how much each token, and the end, listens to each position
    probabilities: FloatArray  # (n_text,) of the tokens
    end: float | None = (
        None  # seconds from the window's beginning at which the text ends; None where it was not asked for
    )


def heads_of(model: Whisper) -> npt.NDArray[np.int64]:
    """The model's alignment heads `(n, 2)`, layer and head; where it names none, all of the last half of the layers."""
    if model.alignment_heads:
        return np.array(model.alignment_heads)
    dims = model.dims
    layers = range(dims.n_text_layer // 2, dims.n_text_layer)
    return np.array([(layer, head) for layer in layers for head in range(dims.n_text_head)])


def listen(
    model: Whisper,
    tokenizer: Tokenizer,
    text_tokens: list[int],
    features: FloatArray,
    n_position: int,
    finds_end: bool = False,
) -> AttentionAlignment:
    """Read the text once more, without timestamps, and keep what the alignment heads attend to in the first `n_position` positions.

    features is `(n_audio_ctx, n_audio_state)`. `finds_end` is for a text that may leave part of the sound out: attention as it is then
    says where the text ends, since normalised over tokens it is noise at positions that no token attends to.
    """
    begin = tokenizer.sot_sequence_including_notimestamps
    tokens = np.array([*begin, *text_tokens, tokenizer.eot])
    scores, states = model.decoder.cross_attention_scores(tokens, features, heads_of(model))
    first = len(begin) - 1
    logits = model.decoder.logits(states[first : first + len(text_tokens)])[:, : tokenizer.eot]
    probabilities = np.exp(logits[np.arange(len(text_tokens)), text_tokens] - simd.logsumexp(logits))
    weights = simd.softmax(scores[:, :, :n_position])
    end = int(jumps(_smoothed(weights)[first:-1])[-1]) / POSITIONS_PER_SECOND if finds_end else None
    weights -= weights.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.mean(weights * weights, axis=1, keepdims=True))
    weights /= np.maximum(deviation, np.finfo(np.float32).tiny)  # 0 where there is one position alone
    return AttentionAlignment(_smoothed(weights)[first:-1], probabilities, end)


def _smoothed(weights: FloatArray) -> FloatArray:
    """Average `(n_head, n_token, n_position)` over the heads, each row behind a running median."""
    matrix: FloatArray = simd.median_filter(weights, MEDIAN_WIDTH).mean(axis=0)
    return matrix


def jumps(matrix: FloatArray) -> npt.NDArray[np.int64]:
    """The position at which each row of the matrix begins, on the way that dynamic time warping takes through it."""
    rows, positions = simd.dtw(-matrix)
    return positions[np.flatnonzero(np.diff(rows, prepend=-1))]


def find_alignment(
    model: Whisper, tokenizer: Tokenizer, text_tokens: list[int], features: FloatArray, n_frames: int
) -> list[WordTiming]:
    """The words of a window's text with openai-whisper's times: over `n_frames` of its mel, whatever its segments say."""
    if not text_tokens:
        return []
    listening = listen(model, tokenizer, text_tokens, features, max(1, n_frames // TIME_STRIDE))
    times = jumps(listening.matrix) / POSITIONS_PER_SECOND
    words, word_tokens = tokenizer.split_to_word_tokens(text_tokens)
    ends = np.cumsum([len(tokens) for tokens in word_tokens])
    return [
        WordTiming(
            word, tuple(tokens), times[end - len(tokens)], times[end], mean(listening.probabilities, end, len(tokens))
        )
        for word, tokens, end in zip(words, word_tokens, ends, strict=True)
    ]


def mean(probabilities: FloatArray, end: int, n: int) -> float:
    return float(np.mean(probabilities[end - n : end]))


def merge_punctuations(words: list[WordTiming], prepended: str, appended: str) -> list[WordTiming]:
    """Punctuation that stands alone joins its word: an opening sign the one after it, a closing one the one before it.

    The word keeps its own time.
    """
    forward: list[WordTiming] = []
    for word in reversed(words):
        opening = word.word.startswith(" ") and word.word.strip() in prepended
        if opening and forward:
            after = forward[-1]
            forward[-1] = replace(after, word=word.word + after.word, tokens=word.tokens + after.tokens)
        else:
            forward.append(word)
    merged: list[WordTiming] = []
    for word in reversed(forward):
        if merged and not merged[-1].word.endswith(" ") and word.word in appended:
            before = merged[-1]
            merged[-1] = replace(before, word=before.word + word.word, tokens=before.tokens + word.tokens)
        else:
            merged.append(word)
    return merged


def spread(words: list[WordTiming], least: float, low: float, high: float) -> list[WordTiming]:
    """Hold words in order between `low` and `high` seconds, each at least `least` long, or its even share where that is less."""
    least = min(least, (high - low) / max(1, len(words)))
    starts, ends, at = [], [], low
    for word in words:
        starts.append(max(word.start, at))
        at = max(word.end, starts[-1] + least)
        ends.append(at)
    at = high
    for i in range(len(words) - 1, -1, -1):
        ends[i] = min(ends[i], at)
        starts[i] = at = max(low, min(starts[i], ends[i] - least))
    return [replace(word, start=start, end=end) for word, start, end in zip(words, starts, ends, strict=True)]
