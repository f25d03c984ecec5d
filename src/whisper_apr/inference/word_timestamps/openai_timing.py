"""openai-whisper's own word times, for `word_timing="openai"`.

The rules and constants are those of openai-whisper's timing.py: `find_alignment` aligns the text with the whole window
by dynamic time warping over the cross-attention, and `add_word_timestamps` shortens words that are too long at the
borders of sentences and segments. The loudness of the sound is not used: words may begin before it, overlap, or end
after the recording.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...model import Whisper
from ...model.encoder import TIME_STRIDE
from ...simd import FloatArray
from ...tokenizer import Tokenizer
from ..decode import DecodingResult
from ..language import tokenizer_of
from ..options import TranscribeOptions
from ..record import changed
from ..results import Segment, Word
from ..window_text import SeekWindow
from .alignment import (
    AudioCache,
    WordTiming,
    align_attention,
    jump_times,
    mean_probability,
    merge_punctuations,
    text_tokens,
)

SENTENCE_END_MARKS = ".。!！?？"  # noqa: RUF001
MAX_MEDIAN_DURATION = 0.7  # seconds
MAX_SEGMENT_DIFFERENCE = 0.5  # seconds that a word may exceed its segment by before the segment's time is preferred


def add_openai_words(
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
    """Return the segments with openai-whisper's word times (its `add_word_timestamps`). See `windows.Aligner`."""
    tokenizer = tokenizer_of(model, result.language, tokenizer.task)
    texts = text_tokens(segments, tokenizer)
    tokens = [token for text in texts for token in text]
    timings = find_alignment(model, tokenizer, tokens, result.audio_features, window.size, audio_cache)
    median = _median_duration(timings)
    timings = _shorten_at_sentence_ends(timings, 2 * median)
    timings = merge_punctuations(timings, options.prepend_punctuations, options.append_punctuations)
    timed, next_timing = [], 0
    for segment, text in zip(segments, texts, strict=True):
        words: list[Word] = []
        n_token = 0
        while next_timing < len(timings) and n_token < len(text):
            timing = timings[next_timing]
            start, end = round(window.start + timing.start, 2), round(window.start + timing.end, 2)
            words.append(Word(timing.word, start, end, timing.probability))
            n_token += len(timing.tokens)
            next_timing += 1
        segment = _fit_to_segment(segment, words, median, previous_end)
        if words:
            previous_end = segment.end
        timed.append(segment)
    return timed


def find_alignment(
    model: Whisper,
    tokenizer: Tokenizer,
    text_tokens: list[int],
    features: FloatArray,
    n_frames: int,
    audio_cache: AudioCache | None = None,
) -> list[WordTiming]:
    """Return the words of a window's text, aligned with the first `n_frames` frames of its spectrogram.

    Args:
        model: Whose cross-attention is used.
        tokenizer: For the language of the text.
        text_tokens: Tokens of the text, without timestamps.
        features: `(n_audio_ctx, n_audio_state)`.
        n_frames: Frames of 10 ms that are not padding.
        audio_cache: As for `align_attention`.
    """
    if not text_tokens:
        return []
    n_position = max(1, n_frames // TIME_STRIDE)
    alignment = align_attention(model, tokenizer, text_tokens, features, n_position, audio_cache=audio_cache)
    times = jump_times(alignment.matrix).tolist()
    # with the end of text, as openai-whisper splits it; it is no word
    words, word_tokens = tokenizer.split_to_word_tokens([*text_tokens, tokenizer.eot])
    edges = np.cumsum([0, *map(len, word_tokens[:-1])]).tolist()
    return [
        WordTiming(word, tuple(tokens), times[i], times[j], mean_probability(alignment.probabilities, j, j - i))
        for word, tokens, i, j in zip(words, word_tokens, edges, edges[1:], strict=False)
    ]


def _median_duration(timings: Sequence[WordTiming]) -> float:
    """Return the median of the durations that are not 0, in seconds, but at most `MAX_MEDIAN_DURATION`."""
    durations = [timing.end - timing.start for timing in timings if timing.end != timing.start]
    return min(MAX_MEDIAN_DURATION, float(np.median(durations))) if durations else 0.0


def _shorten_at_sentence_ends(timings: Sequence[WordTiming], max_duration: float) -> list[WordTiming]:
    """Shorten end marks, and words after them, that are longer than `max_duration` seconds."""
    shortened = list(timings)
    for i in range(1, len(shortened)):
        timing = shortened[i]
        if not timing.end - timing.start > max_duration > 0:
            continue
        if timing.word in SENTENCE_END_MARKS:
            shortened[i] = replace(timing, end=timing.start + max_duration)
        elif shortened[i - 1].word in SENTENCE_END_MARKS:
            shortened[i] = replace(timing, start=timing.end - max_duration)
    return shortened


def _fit_to_segment(segment: Segment, words: list[Word], median: float, previous_end: float) -> Segment:
    """Return the segment with its words, the first and the last of which are shortened where they are too long.

    Args:
        segment: With the times of its timestamps.
        words: May be empty.
        median: The usual duration of a word, in seconds.
        previous_end: End of the segment before, in seconds.
    """
    if not words:
        return changed(segment, words=[])
    max_duration = 2 * median
    first = words[0]
    if first.end - previous_end > 4 * median and (
        first.end - first.start > max_duration or (len(words) > 1 and words[1].end - first.start > 2 * max_duration)
    ):
        # the first two words after a pause
        if len(words) > 1 and words[1].end - words[1].start > max_duration:
            boundary = max(words[1].end / 2, words[1].end - max_duration)
            first = changed(first, end=boundary)
            words[1] = changed(words[1], start=boundary)
        first = changed(first, start=max(0.0, first.end - max_duration))
    start, end = segment.start, segment.end
    if start < first.end and start - MAX_SEGMENT_DIFFERENCE > first.start:
        first = changed(first, start=max(0.0, min(first.end - median, start)))
    else:
        start = first.start
    words[0] = first
    last = words[-1]
    if end > last.start and end + MAX_SEGMENT_DIFFERENCE < last.end:
        words[-1] = changed(last, end=max(last.start + median, end))
    else:
        end = last.end
    return changed(segment, words=words, start=start, end=end)
