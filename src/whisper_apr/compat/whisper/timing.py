"""openai-whisper's `whisper.timing`: word times by cross-attention. What is a tensor there is an array here."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import simd
from ...audio import HOP_LENGTH, SAMPLE_RATE
from ...errors import OptionError
from ...inference.decode import DecodingResult
from ...inference.language import encode
from ...inference.options import APPENDED, PREPENDED, TranscribeOptions
from ...inference.results import Segment
from ...inference.window_text import SeekWindow
from ...inference.word_timestamps import openai_timing
from ...model import Whisper
from ...tokenizer import Tokenizer
from ._arrays import Array, as_array
from .audio import TOKENS_PER_SECOND

__all__ = [
    "HOP_LENGTH",
    "SAMPLE_RATE",
    "TOKENS_PER_SECOND",
    "WordTiming",
    "add_word_timestamps",
    "backtrace",
    "dtw",
    "dtw_cpu",
    "dtw_cuda",
    "find_alignment",
    "median_filter",
    "merge_punctuations",
]


def median_filter(x: Any, filter_width: int) -> Array:
    """Replace each element by the median of the `filter_width` elements around it, along the last axis."""
    return simd.median_filter(as_array(x), filter_width).view(Array)


def backtrace(trace: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the path `(2, n)` of steps from the last corner to the first: 0 is both, 1 a row, 2 a column.

    Args:
        trace: `(n_row + 1, n_column + 1)`; its first row and column are overwritten, as in openai-whisper.

    Raises:
        ValueError: A step is none of the three.
    """
    steps = as_array(trace)
    steps[0, :], steps[:, 0] = 2, 1
    i, j = steps.shape[0] - 1, steps.shape[1] - 1
    path = []
    while i > 0 or j > 0:
        path.append((i - 1, j - 1))
        step = steps[i, j]
        if step not in (0, 1, 2):
            raise ValueError(f"trace[{i}, {j}] must be 0, 1 or 2, not {step}")
        i -= step != 2
        j -= step != 1
    return np.array(path[::-1]).T


def dtw_cpu(x: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return rows and columns `(2, n)` of the cheapest path through a cost matrix (dynamic time warping)."""
    return np.stack(simd.dtw(as_array(x)))


dtw = dtw_cpu


def dtw_cuda(x: Any, BLOCK_SIZE: int = 1024) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Raise OptionError: there is no GPU support."""
    raise OptionError("dtw_cuda needs a GPU, which whisper_apr does not support; use dtw_cpu")


@dataclass
class WordTiming:
    """A word, its tokens, and its times in seconds from the start of the window."""

    word: str
    tokens: list[int]
    start: float
    end: float
    probability: float


def find_alignment(
    model: Whisper,
    tokenizer: Tokenizer,
    text_tokens: list[int],
    mel: Any,
    num_frames: int,
    *,
    medfilt_width: int = 7,
    qk_scale: float = 1.0,
) -> list[WordTiming]:
    """Return the words of a window's text with their times.

    Args:
        model: The model.
        tokenizer: For the language of the text.
        text_tokens: Tokens of the text, without timestamps.
        mel: Log-mel spectrogram of the window, `(n_mels, 3000)`.
        num_frames: Frames that are not padding.
        medfilt_width: 7; no other value is supported.
        qk_scale: 1; no other value is supported.

    Raises:
        OptionError: `medfilt_width` or `qk_scale` has another value.
    """
    if (medfilt_width, qk_scale) != (7, 1):
        raise OptionError(f"medfilt_width and qk_scale must be 7 and 1, not {medfilt_width} and {qk_scale}")
    if not text_tokens:
        return []
    features = encode(model, as_array(mel)[None])[0]
    found = openai_timing.find_alignment(model, tokenizer, list(text_tokens), features, num_frames)
    return [WordTiming(each.word, list(each.tokens), each.start, each.end, each.probability) for each in found]


def merge_punctuations(alignment: list[WordTiming], prepended: str, appended: str) -> None:
    """Merge punctuation marks with their words, in place; what is merged stays in the list without text and tokens."""
    following: WordTiming | None = None
    for word in reversed(alignment):
        if following is not None and word.word.startswith(" ") and word.word.strip() in prepended:
            following.word, following.tokens = word.word + following.word, word.tokens + following.tokens
            word.word, word.tokens = "", []
        else:
            following = word
    previous: WordTiming | None = None
    for word in alignment:
        if previous is not None and not previous.word.endswith(" ") and word.word in appended:
            previous.word, previous.tokens = previous.word + word.word, previous.tokens + word.tokens
            word.word, word.tokens = "", []
        else:
            previous = word


def add_word_timestamps(
    *,
    segments: list[Any],
    model: Whisper,
    tokenizer: Tokenizer,
    mel: Any,
    num_frames: int,
    prepend_punctuations: str = PREPENDED,
    append_punctuations: str = APPENDED,
    last_speech_timestamp: float,
    **kwargs: Any,
) -> None:
    """Add `words` to the segments of a window, dictionaries, and set their `start` and `end`.

    Args:
        segments: With `seek`, `start`, `end` and `tokens`.
        model: The model.
        tokenizer: For the language of the text.
        mel: Log-mel spectrogram of the window, `(n_mels, 3000)`.
        num_frames: Frames that are not padding.
        prepend_punctuations: Punctuation that belongs to the word after it.
        append_punctuations: Punctuation that belongs to the word before it.
        last_speech_timestamp: Seconds at which the text before the window ends.
        **kwargs: `medfilt_width` and `qk_scale`; see `find_alignment`.
    """
    if not segments:
        return
    if unknown := kwargs.keys() - {"medfilt_width", "qk_scale"}:
        raise OptionError(f"add_word_timestamps has no argument {', '.join(sorted(unknown))}")
    find_alignment(model, tokenizer, [], mel, num_frames, **kwargs)  # checks the two
    window = SeekWindow(segments[0]["seek"], num_frames, as_array(mel), ())
    features = encode(model, window.mel[None])[0]
    result = DecodingResult(features, tokenizer.language or "en")
    options = TranscribeOptions(
        word_timestamps=True, prepend_punctuations=prepend_punctuations, append_punctuations=append_punctuations
    )
    before = [Segment(0, s["seek"], s["start"], s["end"], "", s["tokens"], 0.0, 0.0, 0.0, 0.0) for s in segments]
    after = openai_timing.add_openai_words(
        before, window, result, tokenizer, last_speech_timestamp, False, model=model, options=options
    )
    for segment, timed in zip(segments, after, strict=True):
        segment["start"], segment["end"] = timed.start, timed.end
        segment["words"] = [word.to_dict() for word in timed.words or ()]
