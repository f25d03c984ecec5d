"""The keyword arguments of the public functions, for type checkers and editors.

Functions that take options declare `**options: Unpack[...]` of one of these dictionaries. The names and types repeat
the fields of DecodingOptions, TranscribeOptions and ReadingOptions, which document them and hold the defaults;
tests/test_option_signatures.py compares the two.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from ..audio import VadOptions
from ..audio.samples import Channel
from ..option_values import FloatLike, IntLike
from ..tokenizer import Task
from .known_text import SegmentUnit
from .options import AudioContext, SpeakersLike, WordTiming
from .results import Progress, Segment


class WindowKeywords(TypedDict, total=False):
    """Fields of DecodingOptions that are the same for all windows of a recording."""

    task: Task
    language: str | None
    sample_len: IntLike | None
    best_of: IntLike | None
    beam_size: IntLike | None
    patience: FloatLike | None
    length_penalty: FloatLike | None
    length_exponent: FloatLike | None
    prefix: str | Iterable[IntLike] | None
    suppress_tokens: str | Iterable[IntLike] | None
    suppress_blank: bool
    without_timestamps: bool
    max_initial_timestamp: FloatLike | None
    fp16: bool
    repetition_penalty: FloatLike
    no_repeat_ngram_size: IntLike
    hotwords: str | Sequence[str] | None
    hotword_bias: FloatLike
    seed: IntLike | None


class DecodeKeywords(WindowKeywords, total=False):
    """Keyword arguments of `decode`: the fields of DecodingOptions."""

    temperature: FloatLike
    prompt: str | Iterable[IntLike] | None


class SpeechKeywords(WindowKeywords, total=False):
    """Options that apply to recordings and to live speech."""

    temperature: FloatLike | Iterable[FloatLike]
    compression_ratio_threshold: FloatLike | None
    logprob_threshold: FloatLike | None
    no_speech_threshold: FloatLike | None
    condition_on_previous_text: bool
    prompt_reset_on_temperature: FloatLike
    chunk_length: FloatLike
    initial_prompt: str | Iterable[IntLike] | None
    carry_initial_prompt: bool
    word_timing: WordTiming
    clamp_times: bool
    prepend_punctuations: str
    append_punctuations: str
    hallucination_silence_threshold: FloatLike | None
    languages: Sequence[str] | None
    multilingual: bool
    language_detection_segments: IntLike
    language_detection_threshold: FloatLike
    vad_filter: bool
    vad_parameters: VadOptions | Mapping[str, Any] | None
    audio_context: AudioContext


class LiveKeywords(SpeechKeywords, total=False):
    """Options of LiveTranscriber besides its own."""

    batch_size: IntLike | None


class RecordingKeywords(SpeechKeywords, total=False):
    """Options for recordings except `batch_size`, which differs between `transcribe` and `transcribe_many`."""

    word_timestamps: bool
    hallucination_filter: bool
    initial_prefix: str | Iterable[IntLike] | None
    clip_timestamps: str | Iterable[FloatLike | Mapping[str, FloatLike]] | None
    speakers: SpeakersLike | None


class OptionKeywords(RecordingKeywords, total=False):
    """All fields of TranscribeOptions, and those of DecodingOptions that are the same for all windows."""

    batch_size: IntLike | None


class ReadingKeywords(TypedDict, total=False):
    """Fields of ReadingOptions."""

    sampling_rate: FloatLike
    channel: Channel
    track: IntLike | None
    strict: bool


class TranscribeKeywords(OptionKeywords, ReadingKeywords, total=False):
    """Keyword arguments of `transcribe`."""

    verbose: bool | None
    on_segment: Callable[[Segment], object] | None
    on_progress: Callable[[Progress], object] | None
    check_cancelled: Callable[[], object]


class AlignKeywords(ReadingKeywords, total=False):
    """Keyword arguments of `align`."""

    language: str | None
    segments: SegmentUnit
    on_progress: Callable[[Progress], object] | None
    check_cancelled: Callable[[], object]
