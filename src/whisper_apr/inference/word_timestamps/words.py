"""Add word times that follow the sound: aligned within each segment, then moved to where the sound starts and ends.

openai-whisper aligns a window's text with the whole window; a late start of the speech, or a pause between segments,
can then stretch words by seconds. Here each segment's text is aligned within the segment's own times.
"""

from dataclasses import replace

import numpy as np

from ...model import Whisper
from ...model.encoder import TIME_STRIDE
from ...tokenizer import Tokenizer
from ..bounds import clear_segment
from ..decode import DecodingResult
from ..language import tokenizer_of
from ..options import TranscribeOptions
from ..record import changed
from ..results import Segment, Word
from ..window_text import SeekWindow
from .alignment import (
    POSITIONS_PER_SECOND,
    AttentionAlignment,
    AudioCache,
    FloatArray,
    WordTiming,
    align_attention,
    enforce_min_duration,
    jump_times,
    mean_probability,
    merge_punctuations,
    text_tokens,
)
from .loudness import Loudness

MARGIN = 0.2  # seconds by which words may exceed their segment's times, which are the model's estimate
MIN_DURATION = 0.02  # seconds of a word, if there is room: one position of the encoder
# Encoder positions by which the decoder attends to a word before it is spoken: it looks for the next word as soon as it
# has recognized the one before. Measured with base on 141 words of seven people in four languages: the mean error of
# the times is lower than without in five recordings of seven, by up to a third, and hardly higher in one. 1 to 3
# positions help.
ATTENTION_LEAD = 2


def add_words(
    segments: list[Segment],
    window: SeekWindow,
    result: DecodingResult,
    tokenizer: Tokenizer,
    previous_end: float,
    end_is_unknown: bool,
    *,
    model: Whisper,
    options: TranscribeOptions,
    audio_cache: AudioCache | None = None,
) -> list[Segment]:
    """Return the segments with their words; a segment starts and ends with its words. See `windows.Aligner`.

    The segments must be in order and within the window. Every segment that has text gets words, in order, within the
    window, and after `previous_end`. With `end_is_unknown`, the end of the only segment is found by the attention,
    since the sound after its words may not be in the text.
    """
    tokenizer = tokenizer_of(model, result.language, tokenizer.task)
    texts = text_tokens(segments, tokenizer)
    tokens = [token for text in texts for token in text]
    if not tokens:
        return [changed(segment, words=[]) for segment in segments]
    n_position = max(1, window.size // TIME_STRIDE)
    alignment = align_attention(
        model, tokenizer, tokens, result.audio_features, n_position, end_is_unknown, audio_cache=audio_cache
    )
    alignment = replace(alignment, matrix=_delayed(alignment.matrix))
    loudness = Loudness(window.mel[:, : window.size])
    done, first_token, timed = max(window.start, previous_end) - window.start, 0, []
    for i, (segment, text) in enumerate(zip(segments, texts, strict=True)):
        if not text:
            timed.append(clear_segment(segment, window.start + done))
            continue
        start, end = segment.start - window.start, segment.end - window.start
        if alignment.end is not None:  # then this is the only segment
            end = alignment.end
        next_start = next(
            (s.start - window.start for s, t in zip(segments[i + 1 :], texts[i + 1 :], strict=True) if t), None
        )
        latest = window.duration if next_start is None else max(next_start, end)
        low = max(done, start - MARGIN)
        # if the words before have taken all of the segment's time, it takes the time after it, while there is any
        high = min(max(min(latest, end + MARGIN), low + MIN_DURATION), window.duration)
        words = _align_segment(alignment, loudness, tokenizer, text, first_token, low, high)
        words = merge_punctuations(words, options.prepend_punctuations, options.append_punctuations)
        words = loudness.refine(words, low, high)
        if alignment.end is not None and words[-1].end > high - MIN_DURATION:  # the sound continues without a pause
            high = min(high, max(low + MIN_DURATION, loudness.quietest_time(alignment.end)))
        words = enforce_min_duration(words, MIN_DURATION, low, high)
        done = words[-1].end
        first_token += len(text)
        timed.append(_with_words(segment, words, window.start))
    return timed


def _delayed(matrix: FloatArray) -> FloatArray:
    """Return attention `(n_token, n_position)` at the positions where the words are spoken, see ATTENTION_LEAD."""
    n = min(ATTENTION_LEAD, matrix.shape[1] - 1)
    return np.pad(matrix[:, : matrix.shape[1] - n], ((0, 0), (n, 0)), mode="edge")


def _align_segment(
    alignment: AttentionAlignment,
    loudness: Loudness,
    tokenizer: Tokenizer,
    text: list[int],
    first_token: int,
    low: float,
    high: float,
) -> list[WordTiming]:
    """Return the words of `text`, which starts at token `first_token`, between `low` and `high` seconds."""
    begin, end = round(low * POSITIONS_PER_SECOND), round(high * POSITIONS_PER_SECOND)
    begin = min(begin, alignment.matrix.shape[1] - 1)
    matrix = alignment.matrix[first_token : first_token + len(text), begin : max(end, begin + 1)]
    times = np.append(np.maximum(low, low + jump_times(matrix)), high)
    words, word_tokens = tokenizer.split_to_word_tokens(text)
    edges = np.cumsum([0, *map(len, word_tokens)])
    attention = np.maximum.reduceat(matrix, edges[:-1])
    times = loudness.rebalance(words, attention, times[edges], low, high)
    return [
        WordTiming(
            word,
            tuple(tokens),
            start,
            end,
            mean_probability(alignment.probabilities, first_token + int(edge), len(tokens)),
        )
        for word, tokens, start, end, edge in zip(
            words, word_tokens, times[:-1].tolist(), times[1:].tolist(), edges[1:], strict=True
        )
    ]


def _with_words(segment: Segment, timings: list[WordTiming], offset: float) -> Segment:
    words = [
        Word(t.word, round(offset + t.start, 2), round(offset + t.end, 2), t.probability) for t in timings if t.word
    ]
    return changed(segment, words=words, start=words[0].start, end=words[-1].end)
