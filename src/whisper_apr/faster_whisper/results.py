"""faster-whisper's results: dataclasses whose fields can be assigned, in its order.

All times are seconds from the beginning of the recording.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any

from ..inference import results
from ..inference.transcribe import TranscriptionJob


class _Record:
    def _asdict(self) -> dict[str, Any]:
        """Return the fields as a dictionary. Deprecated, as in faster-whisper: use `dataclasses.asdict`."""
        name = type(self).__name__
        warnings.warn(f"{name}._asdict is deprecated; use dataclasses.asdict", DeprecationWarning, stacklevel=2)
        return asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass
class Word(_Record):
    """A word with its times.

    `speaker` is no field, but an attribute: who speaks, with `speakers`, or the number of the word's channel, as text,
    for `channel="each"`; otherwise None.

    Attributes:
        start: Seconds at which the word begins.
        end: Seconds at which the word ends.
        word: The text, including the space before it if there is one.
        probability: Mean probability of the word's tokens, 0 to 1.
    """

    start: float
    end: float
    word: str
    probability: float

    def __post_init__(self) -> None:
        self.speaker: str | None = None


@dataclass
class Segment(_Record):
    """A stretch of a recording with its text.

    `language` and `speaker` are no fields, but attributes: the language code of the window if it can differ from the
    recording's, and who speaks, with `speakers`, or the number of the segment's channel, as text, for `channel="each"`;
    otherwise None.

    Attributes:
        id: Number of the segment, from 1.
        seek: First frame of the segment's window; a frame is 10 ms.
        start: Seconds at which the segment begins.
        end: Seconds at which the segment ends.
        text: The text, usually beginning with a space.
        tokens: Tokens of the text, including timestamp tokens.
        avg_logprob: Mean log-probability of the window's tokens.
        compression_ratio: Length of the window's text divided by its length after zlib compression.
        no_speech_prob: Probability that nobody speaks in the window, 0 to 1.
        words: Words with their times, or None without `word_timestamps`.
        temperature: Temperature at which the window was decoded; 0 is without sampling.
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: list[Word] | None
    temperature: float | None

    def __post_init__(self) -> None:
        self.language: str | None = None
        self.speaker: str | None = None


@dataclass
class TranscriptionOptions:
    """The options that a transcription used, under the names of `WhisperModel.transcribe`.

    `temperatures` are those of `temperature`, and `suppress_tokens` all tokens that are never chosen.
    """

    beam_size: int
    best_of: int
    patience: float
    length_penalty: float
    repetition_penalty: float
    no_repeat_ngram_size: int
    log_prob_threshold: float | None
    no_speech_threshold: float | None
    compression_ratio_threshold: float | None
    condition_on_previous_text: bool
    prompt_reset_on_temperature: float
    temperatures: list[float]
    initial_prompt: str | Iterable[int] | None
    prefix: str | Iterable[int] | None
    suppress_blank: bool
    suppress_tokens: tuple[int, ...] | list[int] | None
    without_timestamps: bool
    max_initial_timestamp: float | None
    word_timestamps: bool
    prepend_punctuations: str
    append_punctuations: str
    multilingual: bool
    max_new_tokens: int | None
    clip_timestamps: Any
    hallucination_silence_threshold: float | None
    hotwords: str | list[str] | None


@dataclass
class VadOptions:
    """Options of voice activity detection, whose fields can be assigned. `whisper_apr.VadOptions` describes them.

    Values are checked when a recording is transcribed with them.
    """

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_duration_ms: int = 0
    max_speech_duration_s: float = inf
    min_silence_duration_ms: int = 2000
    speech_pad_ms: int = 400


@dataclass
class TranscriptionInfo:
    """Properties of a recording that are known before its text.

    `dropped` is no field, but an attribute: with `hallucination_filter`, the text that was left out, as a list of
    `whisper_apr.DroppedText` that is complete when all segments were iterated over; otherwise None.

    Attributes:
        language: Language code, for example "en".
        language_probability: Probability of `language`, 0 to 1; 1 if the language was given.
        duration: Length of the recording in seconds.
        duration_after_vad: Seconds that are left after `vad_filter`.
        all_language_probs: Language codes and their probabilities, most probable first. None if the language was given.
        transcription_options: The options that are used.
        vad_options: The options of the voice activity filter, or None without `vad_filter`.
    """

    language: str
    language_probability: float
    duration: float
    duration_after_vad: float
    all_language_probs: list[tuple[str, float]] | None = field(repr=False)
    transcription_options: TranscriptionOptions = field(repr=False)
    vad_options: VadOptions | None

    def __post_init__(self) -> None:
        self.dropped: list[results.DroppedText] | None = None


def segment_of(found: results.Segment, number: int) -> Segment:
    """Return a segment of `transcribe` as faster-whisper's, with another number."""
    words = None if found.words is None else [_word_of(word) for word in found.words]
    segment = Segment(
        id=number,
        seek=found.seek,
        start=found.start,
        end=found.end,
        text=found.text,
        tokens=list(found.tokens),
        avg_logprob=found.avg_logprob,
        compression_ratio=found.compression_ratio,
        no_speech_prob=found.no_speech_prob,
        words=words,
        temperature=found.temperature,
    )
    segment.language, segment.speaker = found.language, found.speaker
    return segment


def _word_of(found: results.Word) -> Word:
    word = Word(found.start, found.end, found.word, found.probability)
    word.speaker = found.speaker
    return word


def by_likelihood(probabilities: dict[str, float] | None) -> list[tuple[str, float]] | None:
    """Return language codes and their probabilities, most probable first; None for None."""
    return None if probabilities is None else sorted(probabilities.items(), key=lambda item: -item[1])


def used_options(given: dict[str, Any], job: TranscriptionJob) -> TranscriptionOptions:
    """Return the options that a job uses, for its TranscriptionInfo."""
    options = job.pipeline.options
    used = {name: given[name] for name in TranscriptionOptions.__dataclass_fields__ if name in given} | {
        "temperatures": list(options.temperatures),
        "suppress_tokens": job.pipeline.decoder.suppressed_tokens,
        "multilingual": options.multilingual,
    }
    return TranscriptionOptions(**used)


def numbered_segments(job: TranscriptionJob, info: TranscriptionInfo, log_progress: bool) -> Iterator[Segment]:
    """Yield the segments that are not empty, numbered from 1 as in faster-whisper, and fill in `info.dropped`."""
    if log_progress:
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # starts no monitor thread
        with tqdm(total=round(job.duration, 2), unit="s") as bar:
            settled = job.segments(lambda progress: bar.update(progress.done - bar.n))
            yield from _numbered(settled)
    else:
        yield from _numbered(job.segments())
    info.dropped = job.info.dropped


def _numbered(segments: Iterator[results.Segment]) -> Iterator[Segment]:
    number = 0
    for segment in segments:
        if segment.text.strip():
            number += 1
            yield segment_of(segment, number)
