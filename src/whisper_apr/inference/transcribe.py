"""A recording of any length becomes segments, by openai-whisper's rules."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from heapq import merge
from typing import Any, Unpack

from ..audio import N_FRAMES, SAMPLE_RATE, AudioLike, ReadingOptions, pad_or_trim
from ..audio.samples import EACH, MIX, Channel
from ..errors import OptionError
from ..model import Whisper
from ..option_docs import list_options
from ..option_values import boolean, function, optional, parse
from ..output import format_timestamp, prefix_speaker
from .audio_source import Blocks, open_channels
from .batch import decode_sequences, quiet_cuts
from .fallback import FallbackDecoder
from .journal import Journal
from .keywords import OptionKeywords
from .language import LanguageChooser, check_language, embed, tokenizer_of
from .options import DecodingOptions, TranscribeOptions, prompt_tokens, split_options
from .recording_info import MultichannelInfo, RecordingInfo
from .results import Progress, Segment, Transcription
from .spectrogram import Spectrogram
from .vad_filter import SpeechTimeMap, only_speech
from .windows import FRAMES_PER_SECOND, Context, WindowSequence
from .word_timestamps.words import add_words

_log = logging.getLogger(__name__)

ROWS = 8  # channels that are decoded at once, where no batch_size is given


def _clips(seconds: tuple[float, ...] | None, content_frames: int) -> list[tuple[int, int]]:
    """Return the clips to transcribe, in frames: those that have any sound. See `TranscribeOptions.clips`."""
    points = [round(t * FRAMES_PER_SECOND) for t in seconds or (0.0,)]
    if len(points) % 2:
        points.append(content_frames)
    clips = [(start, min(end, content_frames)) for start, end in zip(points[::2], points[1::2], strict=True)]
    return [(start, end) for start, end in clips if start < end]


class Pipeline:
    """A model and options, made ready for any number of recordings. OptionError for an option that is unknown or not allowed."""

    def __init__(self, model: Whisper, check_cancelled: Callable[[], None], options: dict[str, Any]) -> None:
        self.model = model
        self.check_cancelled: Callable[[], None] = parse("check_cancelled", function, check_cancelled)
        self.options, attempts = split_options(options)
        self.decoder = FallbackDecoder(model, self.options, attempts)
        self.task, language = attempts[0].task, attempts[0].language
        self.chooser = LanguageChooser(model, self.options.languages) if model.is_multilingual else None
        if self.chooser is None and self.options.languages is not None and "en" not in self.options.languages:
            raise OptionError(f"this model knows English only, which is not among languages={self.options.languages}")
        self.language = None if language is None else check_language(model, language)
        self.vad = self.options.vad
        tokenizer = tokenizer_of(model)
        self.prompt = prompt_tokens("initial_prompt", self.options.initial_prompt, tokenizer, model.dims.n_vocab)
        # a result begins with it: it can be text only. As faster-whisper cuts it, half of the text context stays free
        prefix = prompt_tokens("initial_prefix", self.options.initial_prefix, tokenizer, tokenizer.eot)
        self.prefix = prefix[: model.dims.n_text_ctx // 2 - 1]

    def decode(
        self, passages: Iterator[WindowSequence], size: int, journal: Journal | None = None
    ) -> Iterator[tuple[WindowSequence, list[Segment]]]:
        """See `decode_passages`."""
        # where the language is given, multilingual detects all the same: that is what it asks for
        chooser = self.chooser if self.options.multilingual else None
        aligner = partial(add_words, model=self.model, options=self.options) if self.options.word_timestamps else None
        return decode_sequences(passages, size, self.decoder, self.check_cancelled, chooser, aligner, journal)

    def nothing(self) -> WindowSequence:
        """Return a passage with nothing in it."""
        return WindowSequence(None, (), tokenizer_of(self.model), self.options, Context((), (), 0), 0)


class ChannelJob:
    """One channel's way through a model. Its language is known, its segments are not yet made."""

    def __init__(self, engine: Pipeline, blocks: Blocks) -> None:
        self.engine = engine
        self.options = engine.options
        spoken = SpeechTimeMap() if engine.vad else None
        if engine.vad and spoken:
            blocks = only_speech(blocks, engine.vad, spoken)
        self.spectrogram = Spectrogram(blocks, engine.model.dims.n_mels, engine.check_cancelled)
        self.duration_after_vad = self.spectrogram.duration  # seconds that are left where `vad_filter` leaves some out
        self.duration = (
            spoken.n_samples / SAMPLE_RATE if spoken else self.spectrogram.duration
        )  # of the whole recording
        self.clips = _clips(self.options.clips, self.spectrogram.content_frames)
        self.language_probabilities: dict[str, float] | None = None  # by code; None where the language was given
        language = engine.language
        if language is None and engine.chooser is not None:
            self.language_probabilities = self._detect(engine.chooser)
            language = max(self.language_probabilities, key=self.language_probabilities.__getitem__)
            _log.info("detected language %r with probability %.3f", language, self.language_probabilities[language])
        self.language = language or "en"  # a code
        self.tokenizer = tokenizer_of(engine.model, self.language, engine.task)
        self.heard = RecordingInfo(self.duration, self.tokenizer, self.language, self.language_probability, spoken)

    @property
    def language_probability(self) -> float:
        return 1.0 if self.language_probabilities is None else self.language_probabilities[self.language]

    def _detect(self, chooser: LanguageChooser) -> dict[str, float]:
        def windows() -> Iterator[Any]:
            for i in range(self.options.language_detection_segments):
                if i == 0 or i * N_FRAMES < self.spectrogram.content_frames:
                    mel = pad_or_trim(self.spectrogram.window(i * N_FRAMES, N_FRAMES), N_FRAMES)
                    yield embed(self.engine.model, mel[None], self.engine.check_cancelled)

        return chooser.of_recording(windows(), self.options.language_detection_threshold)

    # ---- passages ------------------------------------------------------------------------------------------------

    def _context(self, is_first: bool) -> Context:
        engine = self.engine
        always, before = (engine.prompt, []) if self.options.carry_initial_prompt else ([], engine.prompt)
        if is_first:
            return Context(always, before, engine.decoder.prompt_room, engine.prefix)
        return Context(always, [], engine.decoder.prompt_room)

    def passages(self) -> Iterator[WindowSequence]:
        """Yield the whole recording as one; where windows are batched, pieces of at most 30 s that know nothing of each other.

        They come by the time at which they begin.
        """
        n = self.spectrogram.content_frames
        make = partial(WindowSequence, tokenizer=self.tokenizer, content_frames=n)
        if self.options.batch_size is None:
            yield make(self.spectrogram, self.clips, options=self.options, context=self._context(True))
            return
        alone = replace(self.options, condition_on_previous_text=False)
        for piece in quiet_cuts(self.spectrogram, self.clips):
            is_first = piece.clip == 0 and piece.start == self.clips[0][0]
            passage = make(piece, [(piece.start, piece.end)], options=alone, context=self._context(is_first))
            passage.place, passage.ends_place, passage.next_start = piece.clip, piece.ends_clip, piece.next_start
            yield passage


class TranscriptionJob:
    """A recording's way through a model; `transcriber` makes it. Its language is known, its segments are not yet made.

    Of channel "each", every channel is a recording of its own, and they are merged by time; otherwise there is one.
    """

    def __init__(self, engine: Pipeline, channels: Sequence[Blocks], *, is_each: bool = False) -> None:
        """`channels` are what is to be transcribed; with `is_each`, they are the channels of a recording, and named in its segments."""
        self.engine = engine
        self._channels = [ChannelJob(engine, blocks) for blocks in channels]
        surest = max(self._channels, key=lambda channel: channel.language_probability)
        self.language = surest.language  # a code; where the channels' differ, the one that is the most certain
        self.language_probability = surest.language_probability
        self.language_probabilities = surest.language_probabilities  # by code; None where the language was given
        self.duration = max(channel.duration for channel in self._channels)  # seconds of the whole recording
        # seconds that are left where `vad_filter` leaves some out, of the channel with the most
        self.duration_after_vad = max(channel.duration_after_vad for channel in self._channels)
        heard = [channel.heard for channel in self._channels]
        self.heard = MultichannelInfo(heard) if is_each else heard[0]

    @classmethod
    def open(
        cls, engine: Pipeline, audio: AudioLike, reading: ReadingOptions, *, allow_empty: bool = False
    ) -> "TranscriptionJob":
        """Make a job of a recording."""
        channels = open_channels(audio, reading, allow_empty=allow_empty)
        return cls(engine, channels, is_each=reading.channel == EACH)

    def passages(self) -> Iterator[WindowSequence]:
        """Yield the channels' passages by the time at which they begin."""
        heard = [channel.heard for channel in self._channels]
        by_channel = [self._passages(number, channel) for number, channel in enumerate(self._channels)]
        self._channels = []  # the sound is let go with the passages
        return merge(*by_channel, key=lambda passage: heard[passage.channel].progress(passage).done)

    def _passages(self, number: int, channel: ChannelJob) -> Iterator[WindowSequence]:
        """Yield a channel's passages, at least one, of which the last says so."""
        before: WindowSequence | None = None
        for passage in channel.passages():
            passage.channel = number
            if before is not None:
                yield before
            before = passage
        if before is None:
            before = self.engine.nothing()
            before.channel = number
        before.is_last = True
        del channel
        yield before

    def segments(self, on_progress: Callable[[Progress], None] | None = None) -> Iterator[Segment]:
        """Yield the segments as they settle. May be called once."""
        n_row = self.engine.options.batch_size or min(len(self._channels), ROWS)
        for passage, segments in self.engine.decode(self.passages(), n_row):
            if passage.error is not None:
                raise passage.error
            yield from self.heard.settle(passage, segments)
            if on_progress is not None:
                on_progress(self.heard.progress(passage))
        if on_progress is not None:
            on_progress(Progress(self.duration, self.duration))


def transcriber(
    model: Whisper,
    audio: AudioLike,
    *,
    sampling_rate: float = SAMPLE_RATE,
    channel: Channel = MIX,
    track: int | None = None,
    strict: bool = False,
    allow_empty: bool = False,
    check_cancelled: Callable[[], None] = lambda: None,
    **options: Any,
) -> TranscriptionJob:
    """Make a recording ready: its length and its language are known, and `segments()` yields its segments as they settle.

    With `allow_empty`, a recording without samples has no segments; otherwise it raises AudioError. The other arguments
    are `transcribe`'s.
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
    sampling_rate: float = SAMPLE_RATE,
    channel: Channel = MIX,
    track: int | None = None,
    strict: bool = False,
    on_segment: Callable[[Segment], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
    **options: Unpack[OptionKeywords],
) -> Transcription:
    """Transcribe a recording of any length, which is read in blocks.

    Options and results are openai-whisper's. A segment's times may therefore lie beyond the end of the recording or of
    a clip, unless `clamp_times`, `word_timestamps`, `vad_filter` or `batch_size` is given: then times are clamped,
    segments and words are in order without overlap, and text that begins after the end is dropped.

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
    return job.heard.result(segments)
