"""Words with their times, truer than attention alone gives them: held within their segment, and moved to where the sound begins and ends.

openai-whisper aligns a window's text with all of the window; speech that begins late, or a pause between segments, then stretches
words by seconds. Here each segment's text is aligned within the segment's own times.
"""

from dataclasses import replace

import numpy as np

from ...model import Whisper
from ...model.encoder import TIME_STRIDE
from ...tokenizer import Tokenizer
from ..bounds import emptied
from ..decode import DecodingResult
from ..language import tokenizer_of
from ..options import TranscribeOptions
from ..results import Segment, Word
from ..windows import SeekWindow
from .alignment import (
    POSITIONS_PER_SECOND,
    AttentionAlignment,
    WordTiming,
    jumps,
    listen,
    mean,
    merge_punctuations,
    spread,
)
from .loudness import Loudness

MARGIN = 0.2  # seconds by which speech may go beyond a segment's own times, which are the model's guess
LEAST = 0.02  # seconds that each word has, where there are so many: a position of the encoder


def add_words(
    segments: list[Segment],
    window: SeekWindow,
    result: DecodingResult,
    tokenizer: Tokenizer,
    earliest: float,
    is_open: bool,
    *,
    model: Whisper,
    options: TranscribeOptions,
) -> list[Segment]:
    """Return a window's segments with their words; a segment begins and ends with its words, as openai-whisper's do.

    Segments must be in order and within the window. Every segment that has text has words, in order and within the window; none
    begins before `earliest` (seconds of the recording), where the words before the window end. `is_open`: the text stopped without a
    timestamp, so that the end of the last segment is not known, and the sound after its words may not be in the text.
    """
    tokenizer = tokenizer_of(model, result.language, tokenizer.task)
    texts = [[token for token in segment.tokens if token < tokenizer.eot] for segment in segments]
    tokens = [token for text in texts for token in text]
    if not tokens:
        return [replace(segment, words=()) for segment in segments]
    heard = listen(model, tokenizer, tokens, result.audio_features, max(1, window.size // TIME_STRIDE), is_open)
    loudness = Loudness(window.mel[:, : window.size])
    done, first, out = earliest - window.start, 0, []
    for i, (segment, text) in enumerate(zip(segments, texts, strict=True)):
        if not text:
            out.append(emptied(segment, window.start + done))
            continue
        start, end = segment.start - window.start, segment.end - window.start
        if heard.end is not None:  # then the window has one segment
            end = heard.end
        following = next(
            (s.start - window.start for s, t in zip(segments[i + 1 :], texts[i + 1 :], strict=True) if t), None
        )
        latest = window.duration if following is None else max(following, end)
        low = max(done, start - MARGIN)
        # the words before may have taken all of the segment's sound: then it takes what follows, while there is any
        high = min(max(min(latest, end + MARGIN), low + LEAST), window.duration)
        words = _align(heard, loudness, tokenizer, text, first, low, high)
        words = merge_punctuations(words, options.prepend_punctuations, options.append_punctuations)
        words = loudness.refine(words, low, high)
        if heard.end is not None and words[-1].end > high - LEAST:  # the sound goes on, without a pause
            high = min(high, max(low + LEAST, loudness.dip(heard.end)))
        words = spread(words, LEAST, low, high)
        done = words[-1].end
        first += len(text)
        out.append(_with_words(segment, words, window.start))
    return out


def _align(
    heard: AttentionAlignment,
    loudness: Loudness,
    tokenizer: Tokenizer,
    text: list[int],
    first: int,
    low: float,
    high: float,
) -> list[WordTiming]:
    """Return the words of tokens `first` and on, between `low` and `high` seconds of the window."""
    begin, end = round(low * POSITIONS_PER_SECOND), round(high * POSITIONS_PER_SECOND)
    begin = min(begin, heard.matrix.shape[1] - 1)
    matrix = heard.matrix[first : first + len(text), begin : max(end, begin + 1)]
    times = np.append(np.maximum(low, low + jumps(matrix) / POSITIONS_PER_SECOND), high)
    words, word_tokens = tokenizer.split_to_word_tokens(text)
    edges = np.cumsum([0, *map(len, word_tokens)])
    listening = np.maximum.reduceat(matrix, edges[:-1])
    times = loudness.divide(words, listening, times[edges], low, high)
    return [
        WordTiming(word, tuple(tokens), start, end, mean(heard.probabilities, first + int(edge), len(tokens)))
        for word, tokens, start, end, edge in zip(
            words, word_tokens, times[:-1].tolist(), times[1:].tolist(), edges[1:], strict=True
        )
    ]


def _with_words(segment: Segment, timings: list[WordTiming], offset: float) -> Segment:
    words = tuple(
        Word(t.word, round(offset + t.start, 2), round(offset + t.end, 2), t.probability) for t in timings if t.word
    )
    return replace(segment, words=words, start=words[0].start, end=words[-1].end)
