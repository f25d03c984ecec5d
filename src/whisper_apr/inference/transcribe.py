"""Transcribe a recording of any length, by the rules of openai-whisper's transcribe.py."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import merge
from typing import Any, Unpack

from ..audio import FRAMES_PER_SECOND, N_FRAMES, SAMPLE_RATE, AudioLike, ReadingOptions, pad_or_trim
from ..audio.samples import EACH, MIX, Channel
from ..errors import OptionError
from ..model import Whisper
from ..option_docs import list_options
from ..option_values import FloatLike, IntLike, boolean, function, optional, parse
from ..output import format_timestamp, prefix_speaker
from .audio_context import context_frames
from .audio_source import Blocks, open_channels
from .batch import BatchDecoder
from .decode import FloatArray
from .fallback import FallbackDecoder
from .journal import Journal
from .keywords import OptionKeywords
from .language import LanguageDetector, check_language, check_model, tokenizer_of
from .options import DecodingOptions, TranscribeOptions, prompt_tokens, split_options
from .prompts import PromptContext
from .recording_info import MultichannelInfo, RecordingInfo
from .results import Progress, Segment, Transcription
from .slices import slice_frames, split_clips
from .speaker_labels import speaker_labeler
from .spectrogram import Spectrogram
from .speech_evidence import SpeechEvidence
from .spoken_text import SpokenTextFilter
from .vad_filter import SpeechTimeMap, filter_speech
from .windows import EncodedWindow, TextFilter, WindowSequence
from .word_timestamps.openai_timing import add_openai_words
from .word_timestamps.words import add_words

_log = logging.getLogger(__name__)

MAX_CHANNELS = 8  # channels that are decoded in one batch, unless batch_size is given


def _clips(seconds: tuple[float, ...] | None, content_frames: int) -> list[tuple[int, int]]:
    """Return the clips in frames, without empty ones. See `TranscribeOptions.clips`."""
    points = [round(t * FRAMES_PER_SECOND) for t in seconds or (0.0,)]
    if len(points) % 2:
        points.append(content_frames)
    clips = [(start, min(end, content_frames)) for start, end in zip(points[::2], points[1::2], strict=True)]
    return [(start, end) for start, end in clips if start < end]


class Pipeline:
    """A model and checked options, ready to transcribe any number of recordings."""

    def __init__(self, model: Whisper, check_cancelled: Callable[[], object], options: dict[str, Any]) -> None:
        """Check the options and prepare the decoder.

        Args:
            model: The model.
            check_cancelled: Called before every token; an exception that it raises ends the transcription.
            options: Those of TranscribeOptions and DecodingOptions.

        Raises:
            OptionError: An option is unknown, not allowed, or not supported by the model.
        """
        check_model(model)
        self.model = model
        self.check_cancelled: Callable[[], object] = parse("check_cancelled", function, check_cancelled)
        self.options, attempts = split_options(options)
        self.decoder = FallbackDecoder(model, self.options, attempts)
        self.task, language = attempts[0].task, attempts[0].language
        self.detector = LanguageDetector(model, self.options.languages) if model.is_multilingual else None
        if self.detector is None and self.options.languages is not None and "en" not in self.options.languages:
            raise OptionError(f"this model knows English only, which is not among languages={self.options.languages}")
        self.language = None if language is None else check_language(model, language)
        self.vad = self.options.vad
        tokenizer = tokenizer_of(model)
        self.prompt = prompt_tokens("initial_prompt", self.options.initial_prompt, tokenizer, model.dims.n_vocab)
        # text only, since the result begins with it; cut as in faster-whisper, to leave half of the text context free
        prefix = prompt_tokens("initial_prefix", self.options.initial_prefix, tokenizer, tokenizer.eot)
        self.prefix = prefix[: model.dims.n_text_ctx // 2 - 1]

    def decode(
        self,
        sequences: Iterator[WindowSequence],
        size: int,
        journal: Journal | None = None,
        *,
        in_order: bool = True,
    ) -> Iterator[tuple[WindowSequence, list[Segment]]]:
        """Decode sequences in batches of `size` windows. See `BatchDecoder.run`."""
        # `multilingual` asks for detection in each window, even if a language is given
        detector = self.detector if self.options.multilingual else None
        batch = BatchDecoder(self.decoder, size, self.check_cancelled, detector, self._aligner(), journal, in_order)
        return batch.run(sequences)

    def _aligner(self) -> Callable[..., list[Segment]] | None:
        if not self.options.word_timestamps:
            return None
        add = add_openai_words if self.options.word_timing == "openai" else add_words
        return partial(add, model=self.model, options=self.options)

    def empty_sequence(self) -> WindowSequence:
        """Return a sequence without windows."""
        return WindowSequence(None, (), tokenizer_of(self.model), self.options, PromptContext((), (), 0), 0)


@dataclass(frozen=True)
class Continuation:
    """What is known of audio before it is transcribed, because it continues other audio or was transcribed before.

    Attributes:
        text: Tokens of the text before it, which prompt its first window.
        language: Its language, as a code; None to detect it, unless the options name it.
        draft: Tokens that the text of its first window is expected to begin with. They change only the time it takes.
        is_provisional: Its text is only a guess: decoded once, and dropped if it repeats itself.
    """

    text: tuple[int, ...] = ()
    language: str | None = None
    draft: tuple[int, ...] = ()
    is_provisional: bool = False


FROM_START = Continuation()  # nothing is known


class ChannelJob:
    """The transcription of one channel: its language is known, its segments are not decoded yet."""

    def __init__(self, pipeline: Pipeline, blocks: Blocks, continued: Continuation) -> None:
        self.pipeline = pipeline
        self._continued = continued
        self.options = pipeline.options
        labeler = speaker_labeler(blocks, self.options.speakers, pipeline.check_cancelled)
        time_map = SpeechTimeMap() if pipeline.vad else None
        if pipeline.vad and time_map:
            blocks = filter_speech(blocks, pipeline.vad, time_map)
        self.spectrogram = Spectrogram(blocks, pipeline.model.dims.n_mels, pipeline.check_cancelled)
        self._text_filter: TextFilter | None = None
        if self.options.hallucination_filter:
            self._text_filter = SpokenTextFilter(pipeline.model, SpeechEvidence(blocks, pipeline.check_cancelled))
        self.duration_after_vad = self.spectrogram.duration  # seconds that `vad_filter` leaves
        # seconds of the whole recording
        self.duration = time_map.n_samples / SAMPLE_RATE if time_map else self.spectrogram.duration
        self.clips = _clips(self.options.clips, self.spectrogram.content_frames)
        self.language_probabilities: dict[str, float] | None = None  # by code; None if the language was given
        self._first_window: EncodedWindow | None = None
        language = pipeline.language or continued.language
        if language is None and pipeline.detector is not None:
            self.language_probabilities = self._detect(pipeline.detector)
            language = max(self.language_probabilities, key=self.language_probabilities.__getitem__)
            _log.info("detected language %r with probability %.3f", language, self.language_probabilities[language])
        self.language = language or "en"  # a code
        self.tokenizer = tokenizer_of(pipeline.model, self.language, pipeline.task)
        self.info = RecordingInfo(
            *(self.duration, self.tokenizer, self.language, self.language_probability, time_map, labeler),
            keeps_dropped=self.options.hallucination_filter,
        )

    @property
    def language_probability(self) -> float:
        """Probability of the language, 1 if it was given."""
        return 1.0 if self.language_probabilities is None else self.language_probabilities[self.language]

    def _detect(self, detector: LanguageDetector) -> dict[str, float]:
        def windows() -> Iterator[FloatArray]:
            n, size = self.spectrogram.content_frames, self.options.window_frames
            for seek in range(0, self.options.language_detection_segments * size, size):
                if 0 < n <= seek:
                    return
                yield self._encode_for_detection(seek, min(size, n - seek))[None]

        return detector.detect_recording(windows(), self.options.language_detection_threshold)

    def _encode_for_detection(self, seek: int, size: int) -> FloatArray:
        """Return the features of a window with `size` frames of sound, `(n_ctx, n_audio_state)`."""
        pipeline = self.pipeline
        clip_end = next((end for start, end in self.clips if start == 0), 0)
        is_slice = seek == 0 and self.options.batch_size is not None and clip_end > 0
        if is_slice:  # the first slice, which then is not encoded again
            size = min(clip_end, self.options.window_frames)
            if size < clip_end:
                size = slice_frames(self.spectrogram.read(0, size))
        if self.options.audio_context == "auto":
            mel = pad_or_trim(self.spectrogram.read(seek, size), context_frames(size))
        elif is_slice:
            mel = pad_or_trim(self.spectrogram.read(seek, size), N_FRAMES)
        else:  # the silence after the recording is part of the window, as in openai-whisper
            mel = pad_or_trim(self.spectrogram.read(seek, self.options.window_frames), N_FRAMES)
        features: FloatArray = pipeline.model.encoder(mel[None], pipeline.check_cancelled)[0]
        if seek == 0 and (size == N_FRAMES or is_slice or self.options.audio_context == "auto"):
            self._first_window = EncodedWindow(seek, size, features)
        return features

    def _context(self, is_first: bool) -> PromptContext:
        pipeline = self.pipeline
        always, before = (pipeline.prompt, []) if self.options.carry_initial_prompt else ([], pipeline.prompt)
        if is_first:
            before = [*before, *self._continued.text]
            return PromptContext(always, before, pipeline.decoder.max_prompt_tokens, pipeline.prefix)
        return PromptContext(always, [], pipeline.decoder.max_prompt_tokens)

    def sequences(self) -> Iterator[WindowSequence]:
        """Yield the whole recording or, with `batch_size`, independent slices of at most 30 s, ordered by start."""
        n = self.spectrogram.content_frames
        make = partial(WindowSequence, tokenizer=self.tokenizer, content_frames=n)
        if self.options.batch_size is None:
            sequence = make(self.spectrogram, self.clips, options=self.options, context=self._context(True))
            sequence.encoded = self._first_window
            sequence.draft, sequence.is_provisional = self._continued.draft, self._continued.is_provisional
            sequence.text_filter = self._text_filter
            yield sequence
            return
        independent = replace(self.options, condition_on_previous_text=False)
        for part in split_clips(self.spectrogram, self.clips, self.options.window_frames):
            is_first = part.clip == 0 and part.start == self.clips[0][0]
            sequence = make(part, [(part.start, part.end)], options=independent, context=self._context(is_first))
            sequence.encoded = self._first_window if part.start == 0 else None
            sequence.text_filter = self._text_filter
            sequence.clip_number, sequence.ends_clip, sequence.next_start = part.clip, part.ends_clip, part.next_start
            yield sequence


class TranscriptionJob:
    """The transcription of one recording: its language is known, its segments are not decoded yet.

    With channel "each", every channel is transcribed separately and their segments are merged by time.

    Attributes:
        language: A code; if the channels differ, the most probable one.
        language_probability: Its probability, 1 if the language was given.
        language_probabilities: Of all languages by code; None if the language was given.
        duration: Seconds of the recording.
        duration_after_vad: Seconds that `vad_filter` leaves, of the channel with the most.
        info: Numbers and merges the segments.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        channels: Sequence[Blocks],
        *,
        is_each: bool = False,
        continued: Continuation = FROM_START,
    ) -> None:
        """Make a job, which reads each channel once.

        Args:
            pipeline: Model and options.
            channels: The audio to transcribe.
            is_each: `channels` are the channels of a recording, and segments are labeled with them.
            continued: What is known of the audio.
        """
        self.pipeline = pipeline
        self._channels = [ChannelJob(pipeline, blocks, continued) for blocks in channels]
        surest = max(self._channels, key=lambda channel: channel.language_probability)
        self.language = surest.language
        self.language_probability = surest.language_probability
        self.language_probabilities = surest.language_probabilities
        self.duration = max(channel.duration for channel in self._channels)
        self.duration_after_vad = max(channel.duration_after_vad for channel in self._channels)
        infos = [channel.info for channel in self._channels]
        self.info = MultichannelInfo(infos) if is_each else infos[0]

    @classmethod
    def open(
        cls,
        pipeline: Pipeline,
        audio: AudioLike,
        reading: ReadingOptions,
        *,
        allow_empty: bool = False,
        continued: Continuation = FROM_START,
    ) -> "TranscriptionJob":
        """Open a recording. Raises AudioError if it cannot be read, OptionError if `speakers` conflicts with "each"."""
        if pipeline.options.speakers is not None and reading.channel == EACH:
            raise OptionError("speakers conflicts with channel='each', with which each channel is a speaker")
        channels = open_channels(audio, reading, allow_empty=allow_empty)
        return cls(pipeline, channels, is_each=reading.channel == EACH, continued=continued)

    def sequences(self) -> Iterator[WindowSequence]:
        """Return the sequences of all channels, ordered by start. May be called once: they then own the audio."""
        infos = [channel.info for channel in self._channels]
        by_channel = [self._channel_sequences(index, channel) for index, channel in enumerate(self._channels)]
        self._channels = []
        return merge(*by_channel, key=lambda sequence: infos[sequence.channel].progress(sequence).done)

    def _channel_sequences(self, index: int, channel: ChannelJob) -> Iterator[WindowSequence]:
        """Yield the channel's sequences, at least one, and mark the last."""
        previous: WindowSequence | None = None
        for sequence in channel.sequences():
            sequence.channel = index
            if previous is not None:
                yield previous
            previous = sequence
        if previous is None:
            previous = self.pipeline.empty_sequence()
            previous.channel = index
        previous.is_last = True
        del channel  # releases the audio while the last sequence is decoded
        yield previous

    def segments(self, on_progress: Callable[[Progress], object] | None = None) -> Iterator[Segment]:
        """Yield the segments as they are decoded. May be called once.

        Args:
            on_progress: Called after each window.

        Raises:
            AudioError: The recording cannot be read to its end.
        """
        size = self.pipeline.options.batch_size or min(len(self._channels), MAX_CHANNELS)
        for sequence, segments in self.pipeline.decode(self.sequences(), size):
            if sequence.error is not None:
                raise sequence.error
            yield from self.info.add_segments(sequence, segments)
            if on_progress is not None:
                on_progress(self.info.progress(sequence))
        if on_progress is not None:
            on_progress(Progress(self.duration, self.duration))


def transcriber(
    model: Whisper,
    audio: AudioLike,
    *,
    sampling_rate: FloatLike = SAMPLE_RATE,
    channel: Channel = MIX,
    track: IntLike | None = None,
    strict: bool = False,
    allow_empty: bool = False,
    check_cancelled: Callable[[], object] = lambda: None,
    **options: Any,
) -> TranscriptionJob:
    """Open a recording, detect its language, and return a job whose `segments()` decodes it.

    Args:
        model: The model.
        audio: As for `transcribe`.
        sampling_rate: As for `transcribe`.
        channel: As for `transcribe`.
        track: As for `transcribe`.
        strict: As for `transcribe`.
        allow_empty: A recording without samples has no segments instead of raising AudioError.
        check_cancelled: As for `transcribe`.
        options: As for `transcribe`.
    """
    reading = ReadingOptions(sampling_rate, channel, track, strict)
    return TranscriptionJob.open(Pipeline(model, check_cancelled, options), audio, reading, allow_empty=allow_empty)


def _print(segment: Segment) -> None:
    text = prefix_speaker(segment.speaker, segment.text)
    print(f"[{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}] {text}", flush=True)


@list_options(TranscribeOptions, DecodingOptions)
def transcribe(
    model: Whisper,
    audio: AudioLike,
    *,
    verbose: bool | None = None,
    sampling_rate: FloatLike = SAMPLE_RATE,
    channel: Channel = MIX,
    track: IntLike | None = None,
    strict: bool = False,
    on_segment: Callable[[Segment], object] | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    check_cancelled: Callable[[], object] = lambda: None,
    **options: Unpack[OptionKeywords],
) -> Transcription:
    """Transcribe a recording of any length, which is read in blocks.

    Options and results are openai-whisper's. A segment's times may therefore lie beyond the end of the recording or of
    a clip, unless `clamp_times`, `word_timestamps` (with `word_timing="default"`), `vad_filter` or `batch_size` is
    given: then times are clamped, segments and words are in order without overlap, and text that begins after the end
    is dropped.

    Args:
        model: The model, from `load_model`.
        audio: A path, the bytes of a file, a binary file, samples `(n,)` or `(n, channel)`, or an iterable of blocks of
            samples; see `load_audio`.
        verbose: Whether to print segments as they are decoded, unless `on_segment` is given.
        sampling_rate: Rate of samples in Hz, 1000 to 1,000,000. Files state their own.
        channel: Number of the channel to transcribe, from 0; "mix" for the mean of all; "each" to transcribe every
            channel by itself. With "each", segments are in order of their start, and their `speaker` is the number of
            the channel, as text.
        track: Number of the file's audio track, from 0. None is the one that a player would choose.
        strict: Whether to raise AudioError for what is otherwise an AudioWarning.
        on_segment: Called with each segment as soon as it is final.
        on_progress: Called after each window with the progress, which never decreases.
        check_cancelled: Called before each token. What it raises ends the transcription; the model stays usable.
        **options: Fields of TranscribeOptions and of DecodingOptions, except `prompt`.

    Returns:
        The text, its segments and the language.

    Raises:
        AudioError: The recording cannot be read.
        OptionError: An option is unknown, has a value that is not allowed, or conflicts with another.
    """
    parse("verbose", optional(boolean), verbose)
    parse("on_segment", optional(function), on_segment)
    parse("on_progress", optional(function), on_progress)
    if verbose and on_segment is None:
        on_segment = _print
    reading = ReadingOptions(sampling_rate, channel, track, strict)
    job = TranscriptionJob.open(Pipeline(model, check_cancelled, dict(options)), audio, reading)
    segments = []
    for segment in job.segments(on_progress):
        segments.append(segment)
        if on_segment is not None:
            on_segment(segment)
    return job.info.result(segments)
