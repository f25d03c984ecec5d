"""The functions of faster_whisper.transcribe that use no model, and those that its classes share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ...faster_whisper import Segment, TranscriptionOptions
from ...inference import results
from ...inference.decode import compression_ratio
from ._engine import StorageView, WhisperGenerationResult
from .tokenizer import Tokenizer
from .vad import SpeechTimestampsMap


def restore_speech_timestamps(
    segments: Iterable[Segment], speech_chunks: Sequence[Mapping[str, int]], sampling_rate: int
) -> Iterator[Segment]:
    """Yield segments of joined speech with times in the recording; they are changed.

    Args:
        segments: The segments.
        speech_chunks: The stretches of speech that were joined.
        sampling_rate: Of their samples, in Hz.
    """
    times = SpeechTimestampsMap(speech_chunks, sampling_rate)
    for segment in segments:
        for word in segment.words or ():
            index = times.get_chunk_index((word.start + word.end) / 2)  # one stretch for both times
            word.start, word.end = (times.get_original_time(time, index) for time in (word.start, word.end))
        if segment.words:
            segment.start, segment.end = segment.words[0].start, segment.words[-1].end
        else:
            segment.start = times.get_original_time(segment.start)
            segment.end = times.get_original_time(segment.end, is_end=True)
        yield segment


def get_ctranslate2_storage(segment: Any) -> StorageView:
    """Return an array as a StorageView."""
    return StorageView.from_array(np.ascontiguousarray(segment))


def get_compression_ratio(text: str) -> float:
    """Return the ratio of a text's size to its size compressed by zlib."""
    return compression_ratio(text)


def get_suppressed_tokens(tokenizer: Tokenizer, suppress_tokens: Iterable[int]) -> tuple[int, ...]:
    """Return the tokens that are never chosen, sorted.

    Args:
        tokenizer: The vocabulary.
        suppress_tokens: Tokens; -1 stands for symbols that are not speech.
    """
    given = list(suppress_tokens)
    symbols = tokenizer.non_speech_tokens if -1 in given else ()
    special = [tokenizer.transcribe, tokenizer.translate, tokenizer.sot]
    special += [tokenizer.sot_prev, tokenizer.sot_lm, tokenizer.no_speech]
    return tuple(sorted({token for token in chain(given, symbols, special) if token >= 0}))


def merge_punctuations(alignment: list[dict[str, Any]], prepended: str, appended: str) -> None:
    """Move punctuation to the word that it belongs to; its own entry keeps an empty word.

    Args:
        alignment: Words as `WhisperModel.find_alignment` returns them; they are changed.
        prepended: Marks that belong to the word after them.
        appended: Marks that belong to the word before them.
    """

    def move(source: dict[str, Any], target: dict[str, Any], *, before: bool) -> None:
        for key in ("word", "tokens"):
            target[key] = source[key] + target[key] if before else target[key] + source[key]
            source[key] = type(source[key])()

    following = len(alignment) - 1
    for i in range(len(alignment) - 2, -1, -1):
        word = alignment[i]["word"]
        if word.startswith(" ") and word.strip() in prepended:
            move(alignment[i], alignment[following], before=True)
        else:
            following = i
    previous = 0
    for i in range(1, len(alignment)):
        if not alignment[previous]["word"].endswith(" ") and alignment[i]["word"] in appended:
            move(alignment[i], alignment[previous], before=False)
        else:
            previous = i


# ---- used by the classes --------------------------------------------------------------------------------------------


def mean_logprob(result: WhisperGenerationResult, length_penalty: float) -> float:
    """Return the mean log-probability of a result's tokens; its score was divided by `length_penalty`."""
    size = len(result.sequences_ids[0])
    return float(result.scores[0] * size**length_penalty / (size + 1))


def needs_fallback(attempt: tuple[WhisperGenerationResult, float, float, float], options: TranscriptionOptions) -> bool:
    """Return whether a window is to be decoded again, at a higher temperature.

    Args:
        attempt: The result, its mean log-probability, the temperature and the compression ratio.
        options: The options, of which the thresholds count.
    """
    result, score, _, ratio = attempt
    is_repetitive = options.compression_ratio_threshold is not None and ratio > options.compression_ratio_threshold
    is_improbable = options.log_prob_threshold is not None and score < options.log_prob_threshold
    is_silent = options.no_speech_threshold is not None and result.no_speech_prob > options.no_speech_threshold
    return (is_repetitive or is_improbable) and not (is_silent and is_improbable)


def as_segment(entry: Mapping[str, Any]) -> results.Segment:
    """Return a dictionary of "seek", "start", "end" and "tokens" as a segment."""
    return results.Segment(
        0, entry["seek"], entry["start"], entry["end"], "", tuple(entry["tokens"]), 0.0, 0.0, 0.0, 0.0
    )


def set_words(entry: dict[str, Any], timed: results.Segment) -> None:
    """Set a dictionary's "words", "start" and "end" to those of a segment. Words without a text are left out."""
    entry["words"] = [
        {"word": word.word, "start": word.start, "end": word.end, "probability": word.probability}
        for word in timed.words or ()
        if word.word
    ]
    entry["start"], entry["end"] = timed.start, timed.end
