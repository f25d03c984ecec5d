"""The keyword arguments of the public functions, for type checkers and editors.

Functions that take options declare `**options: Unpack[...]` of one of these dictionaries. The names and types repeat
the fields of DecodingOptions, TranscribeOptions and ReadingOptions, which document them and hold the defaults;
tests/test_options.py compares the two.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from ..audio import VadOptions
from ..audio.samples import Channel
from ..tokenizer import Task
from .options import WordTiming
from .results import Progress, Segment


class WindowKeywords(TypedDict, total=False):
    """Fields of DecodingOptions that are the same for all windows of a recording."""

    task: Task
    language: str | None
    sample_len: int | None
    best_of: int | None
    beam_size: int | None
    patience: float | None
    length_penalty: float | None
    prefix: str | Sequence[int] | None
    suppress_tokens: str | Iterable[int] | None
    suppress_blank: bool
    without_timestamps: bool
    max_initial_timestamp: float | None
    fp16: bool
    repetition_penalty: float
    no_repeat_ngram_size: int
    hotwords: str | Sequence[str] | None
    hotword_bias: float
    seed: int | None


class DecodeKeywords(WindowKeywords, total=False):
    """Keyword arguments of `decode`: the fields of DecodingOptions."""

    temperature: float
    prompt: str | Sequence[int] | None


class SpeechKeywords(WindowKeywords, total=False):
    """Options that apply to recordings and to live speech."""

    temperature: float | Sequence[float]
    compression_ratio_threshold: float | None
    logprob_threshold: float | None
    no_speech_threshold: float | None
    condition_on_previous_text: bool
    initial_prompt: str | Sequence[int] | None
    carry_initial_prompt: bool
    word_timestamps: bool
    word_timing: WordTiming
    clamp_times: bool
    prepend_punctuations: str
    append_punctuations: str
    hallucination_silence_threshold: float | None
    languages: Sequence[str] | None
    multilingual: bool
    language_detection_segments: int
    language_detection_threshold: float
    vad_filter: bool
    vad_parameters: VadOptions | Mapping[str, Any] | None


class LiveKeywords(SpeechKeywords, total=False):
    """Options of LiveTranscriber besides its own."""

    batch_size: int | None


class RecordingKeywords(SpeechKeywords, total=False):
    """Options for recordings except `batch_size`, which differs between `transcribe` and `transcribe_many`."""

    initial_prefix: str | Sequence[int] | None
    clip_timestamps: str | Sequence[float | Mapping[str, float]] | None


class OptionKeywords(RecordingKeywords, total=False):
    """All fields of TranscribeOptions, and those of DecodingOptions that are the same for all windows."""

    batch_size: int | None


class ReadingKeywords(TypedDict, total=False):
    """Fields of ReadingOptions."""

    sampling_rate: float
    channel: Channel
    track: int | None
    strict: bool


class TranscribeKeywords(OptionKeywords, ReadingKeywords, total=False):
    """Keyword arguments of `transcribe`."""

    verbose: bool | None
    on_segment: Callable[[Segment], None] | None
    on_progress: Callable[[Progress], None] | None
    check_cancelled: Callable[[], None]
