"""Align text with sound by the decoder's cross-attention, as openai-whisper's timing.py does.

For each token, the alignment heads attend to the place where it is spoken. Their weights are normalized over the
tokens, smoothed over time by a median filter of width 7, and averaged over the heads; dynamic time warping then finds
the monotonic path through tokens and positions with the greatest sum of weights. The path is not constrained to a band.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ... import simd
from ...audio import FRAMES_PER_SECOND
from ...model import Whisper
from ...model.decoder_cache import DecoderCache
from ...model.encoder import TIME_STRIDE
from ...tokenizer import Tokenizer
from ..results import Segment

FloatArray = simd.FloatArray
AudioCache = Callable[[FloatArray], DecoderCache]  # features `(n_ctx, n_audio_state)` -> one row without tokens

MEDIAN_FILTER_WIDTH = 7  # encoder positions
POSITIONS_PER_SECOND = FRAMES_PER_SECOND // TIME_STRIDE  # of the encoder: 50


@dataclass(frozen=True)
class WordTiming:
    """A word, its tokens, and its times in seconds from the start of the window."""

    word: str
    tokens: tuple[int, ...]
    start: float
    end: float
    probability: float


@dataclass(frozen=True)
class AttentionAlignment:
    """The averaged, normalized attention of a window's text."""

    matrix: FloatArray  # (n_text + 1, n_position): attention of each token, and of the end of text, to each position
    probabilities: FloatArray  # (n_text,) of the tokens
    end: float | None = None  # seconds from the start of the window at which the text ends, if `find_end`


def alignment_heads(model: Whisper) -> npt.NDArray[np.int64]:
    """Return layer and head of the model's alignment heads, `(n, 2)`; by default all of the last half of the layers."""
    if model.alignment_heads:
        return np.array(model.alignment_heads)
    dims = model.dims
    layers = range(dims.n_text_layer // 2, dims.n_text_layer)
    return np.array([(layer, head) for layer in layers for head in range(dims.n_text_head)])


def align_attention(
    model: Whisper,
    tokenizer: Tokenizer,
    text_tokens: list[int],
    features: FloatArray,
    n_position: int,
    find_end: bool = False,
    filter_width: int = MEDIAN_FILTER_WIDTH,
    audio_cache: AudioCache | None = None,
) -> AttentionAlignment:
    """Run the decoder over a text without timestamps and return the attention of its alignment heads.

    Args:
        model: The model.
        tokenizer: For the language and task of the text.
        text_tokens: The text, without timestamps.
        features: The window's, `(n_audio_ctx, n_audio_state)`.
        n_position: Encoder positions to align with; later ones are padding.
        find_end: Also find where the text ends, for a text that may not cover all of the sound. The attention before
            normalization is used for it: normalized over tokens, positions that no token attends to are noise.
        filter_width: Width of the median filter, in encoder positions.
        audio_cache: Returns the features' keys and values; None to compute them.
    """
    sot_sequence = tokenizer.sot_sequence_including_notimestamps
    tokens = np.array([*sot_sequence, *text_tokens, tokenizer.eot])
    cache = (audio_cache or model.decoder.audio_cache)(features)
    scores, states = model.decoder.cross_attention_scores(tokens, cache, alignment_heads(model))
    first = len(sot_sequence) - 1
    logits = model.decoder.logits(states[first : first + len(text_tokens)])
    total = simd.logsumexp(logits[:, tokenizer.text_ids])
    probabilities = np.exp(logits[np.arange(len(text_tokens)), text_tokens] - total)
    weights = simd.softmax(scores[:, :, :n_position])
    end = float(jump_times(_average_heads(weights, filter_width)[first:-1])[-1]) if find_end else None
    weights -= weights.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.mean(weights * weights, axis=1, keepdims=True))
    weights /= np.maximum(deviation, np.finfo(np.float32).tiny)  # a single position has no deviation
    return AttentionAlignment(_average_heads(weights, filter_width)[first:-1], probabilities, end)


def _average_heads(weights: FloatArray, filter_width: int) -> FloatArray:
    """Smooth `(n_head, n_token, n_position)` over the positions and average it over the heads."""
    matrix: FloatArray = simd.median_filter(weights, filter_width).mean(axis=0)
    return matrix


def jump_times(matrix: FloatArray) -> npt.NDArray[np.float64]:
    """Return the time at which the dynamic time warping path enters each row of `(n_token, n_position)`, in seconds."""
    rows, positions = simd.dtw(-matrix)
    times: npt.NDArray[np.float64] = positions[np.flatnonzero(np.diff(rows, prepend=-1))] / POSITIONS_PER_SECOND
    return times


def text_tokens(segments: Sequence[Segment], tokenizer: Tokenizer) -> list[list[int]]:
    """Return each segment's tokens without timestamps and other special tokens."""
    return [[token for token in segment.tokens if tokenizer.is_text(token)] for segment in segments]


def mean_probability(probabilities: FloatArray, end: int, n: int) -> float:
    """Return the mean of the `n` probabilities before index `end`."""
    return float(np.mean(probabilities[end - n : end]))


def merge_punctuations(words: list[WordTiming], prepended: str, appended: str) -> list[WordTiming]:
    """Merge punctuation marks with their words, whose times do not change.

    Args:
        words: In order, each with the space before it.
        prepended: Marks that belong to the word after them.
        appended: Marks that belong to the word before them.
    """
    forward: list[WordTiming] = []
    for word in reversed(words):
        is_prepended = word.word.startswith(" ") and word.word.strip() in prepended
        if is_prepended and forward:
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


def enforce_min_duration(words: list[WordTiming], duration: float, low: float, high: float) -> list[WordTiming]:
    """Return words in order between `low` and `high`, each at least `duration` long, or an even share.

    All times are in seconds from the start of the window.
    """
    duration = min(duration, (high - low) / max(1, len(words)))
    starts, ends, at = [], [], low
    for word in words:
        starts.append(max(word.start, at))
        at = max(word.end, starts[-1] + duration)
        ends.append(at)
    at = high
    for i in range(len(words) - 1, -1, -1):
        ends[i] = min(ends[i], at)
        starts[i] = at = max(low, min(starts[i], ends[i] - duration))
    return [replace(word, start=start, end=end) for word, start, end in zip(words, starts, ends, strict=True)]
