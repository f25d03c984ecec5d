"""A recording of any length becomes segments, by openai-whisper's rules."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from ..audio import N_FRAMES, SAMPLE_RATE, pad_or_trim
from ..errors import OptionError
from ..model import Whisper
from ..tokenizer import Tokenizer
from .batch import Piece, decode_passages, quiet_cuts
from .fallback import Decoder
from .language import LanguageChooser, check_language, embed, tokenizer_of
from .options import prompt_tokens, split_options
from .passage import FRAMES_PER_SECOND, Context, Passage
from .recording import Source, Spectrogram, read_blocks
from .results import Segment, Transcription
from .speech import Spoken, only_speech, vad_options
from .words import add_words


@dataclass(frozen=True)
class Progress:
    """Where a transcription is: seconds of the recording."""

    done: float
    total: float


def _clips(clip_timestamps: str | Sequence[float], content_frames: int) -> list[tuple[int, int]]:
    """The stretches to transcribe, in frames."""
    try:
        seconds = (
            clip_timestamps.split(",") if isinstance(clip_timestamps, str) and clip_timestamps else clip_timestamps
        )
        points = [round(float(t) * FRAMES_PER_SECOND) for t in seconds] or [0]
    except (ValueError, OverflowError):
        raise OptionError(f"clip_timestamps must be seconds with commas between, not {clip_timestamps!r}") from None
    if any(a > b for a, b in pairwise(points)) or points[0] < 0:
        raise OptionError(f"clip_timestamps must not be negative and must not go back: {clip_timestamps}")
    if len(points) % 2:
        points.append(max(points[-1], content_frames))
    return [(a, min(b, content_frames)) for a, b in zip(points[::2], points[1::2], strict=True)]


class Heard:
    """What is known of a recording apart from its sound; its segments are numbered and timed here, and not kept."""

    def __init__(self, duration: float, tokenizer: Tokenizer, language: str, spoken: Spoken | None) -> None:
        self.duration = duration  # seconds
        self.tokenizer = tokenizer
        self.language = language  # a code
        self._spoken = spoken  # where only the speech was transcribed
        self._n_segment = 0

    def take(self, segment: Segment) -> Segment:
        """The recording's next segment, numbered, with the recording's times."""
        self._n_segment += 1
        return replace(self._spoken.restored(segment) if self._spoken else segment, id=self._n_segment - 1)

    def progress(self, frames: int) -> Progress:
        done = frames / FRAMES_PER_SECOND
        done = self._spoken.original(done, True) if self._spoken else done
        return Progress(min(done, self.duration), self.duration)

    def result(self, segments: Sequence[Segment]) -> Transcription:
        text = self.tokenizer.decode([token for segment in segments for token in segment.tokens])
        return Transcription(text=text, segments=tuple(segments), language=self.language)


class Engine:
    """A model and options, made ready for any number of recordings. OptionError for an option that is unknown or not allowed."""

    def __init__(self, model: Whisper, checkpoint: Callable[[], None], options: dict[str, Any]) -> None:
        self.model = model
        self.checkpoint = checkpoint
        self.options, attempts = split_options(options)
        self.decoder = Decoder(model, self.options, attempts)
        self.task, language = attempts[0].task, attempts[0].language
        self.chooser = LanguageChooser(model, self.options.languages) if model.is_multilingual else None
        self.language = None if language is None else check_language(model, language)
        # clips say what to transcribe: then there is nothing to leave out
        wanted = self.options.vad_filter and self.options.clip_timestamps in ("0", [0], (0,))
        self.vad = vad_options(self.options.vad_parameters) if wanted else None

    def decode(self, passages: Iterator[Passage], size: int) -> Iterator[tuple[Passage, list[Segment]]]:
        """See `decode_passages`."""
        # where the language is given, multilingual detects all the same: that is what it asks for
        chooser = self.chooser if self.options.multilingual else None
        aligner = partial(add_words, model=self.model, options=self.options) if self.options.word_timestamps else None
        return decode_passages(passages, size, self.decoder, self.checkpoint, chooser, aligner)


class Transcriber:
    """One recording's way through a model; `transcriber` makes it. Its language is known, its segments are not yet made."""

    def __init__(self, engine: Engine, audio: Source, sampling_rate: int = SAMPLE_RATE) -> None:
        self.engine = engine
        self.options = engine.options
        blocks = read_blocks(audio, sampling_rate)
        spoken = Spoken() if engine.vad else None
        if engine.vad and spoken:
            blocks = only_speech(blocks, engine.vad, spoken)
        self.spectrogram = Spectrogram(blocks, engine.model.dims.n_mels, engine.checkpoint)
        self.duration_after_vad = self.spectrogram.duration  # seconds that are left where `vad_filter` leaves some out
        self.duration = (
            spoken.n_samples / SAMPLE_RATE if spoken else self.spectrogram.duration
        )  # of the whole recording
        self.clips = _clips(self.options.clip_timestamps, self.spectrogram.content_frames)
        self.language_probabilities: dict[str, float] | None = None  # by code; None where the language was given
        language = engine.language
        if language is None and engine.chooser is not None:
            self.language_probabilities = self._detect(engine.chooser)
            language = max(self.language_probabilities, key=self.language_probabilities.__getitem__)
        self.language = language or "en"  # a code
        self.tokenizer = tokenizer_of(engine.model, self.language, engine.task)
        self.heard = Heard(self.duration, self.tokenizer, self.language, spoken)

    @property
    def language_probability(self) -> float:
        return 1.0 if self.language_probabilities is None else self.language_probabilities[self.language]

    def _detect(self, chooser: LanguageChooser) -> dict[str, float]:
        def windows() -> Iterator[Any]:
            for i in range(self.options.language_detection_segments):
                if i == 0 or i * N_FRAMES < self.spectrogram.content_frames:
                    mel = pad_or_trim(self.spectrogram.window(i * N_FRAMES, N_FRAMES), N_FRAMES)
                    yield embed(self.engine.model, mel[None], self.engine.checkpoint)

        return chooser.of_recording(windows(), self.options.language_detection_threshold)

    # ---- passages ------------------------------------------------------------------------------------------------

    def _context(self, is_first: bool) -> Context:
        options, tokenizer = self.options, self.tokenizer
        told = prompt_tokens(options.initial_prompt, tokenizer)
        always, before = (told, []) if options.carry_initial_prompt else ([], told)
        if not is_first:
            return Context(always, [], self.engine.decoder.prompt_room)
        # as faster-whisper cuts it: half of the text context stays free
        prefix = prompt_tokens(options.initial_prefix, tokenizer)[: self.engine.model.dims.n_text_ctx // 2 - 1]
        return Context(always, before, self.engine.decoder.prompt_room, prefix)

    def passages(self) -> Iterator[Passage]:
        """The whole recording in one; where windows are batched, pieces of at most 30 s that know nothing of each other."""
        n = self.spectrogram.content_frames
        make = partial(Passage, tokenizer=self.tokenizer, content_frames=n)
        if self.options.batch_size is None:
            yield make(self.spectrogram, self.clips, options=self.options, context=self._context(True))
            return
        alone = replace(self.options, condition_on_previous_text=False)
        for i, (clip, mel) in enumerate(quiet_cuts(self.spectrogram, self.clips)):
            yield make(Piece(clip[0], mel), [clip], options=alone, context=self._context(i == 0))

    def segments(self, on_progress: Callable[[Progress], None] | None = None) -> Iterator[Segment]:
        """The segments as they settle. May be called once."""
        for passage, segments in self.engine.decode(self.passages(), self.options.batch_size or 1):
            if passage.error is not None:
                raise passage.error
            yield from map(self.heard.take, segments)
            if on_progress is not None:
                on_progress(self.heard.progress(passage.seek))
        if on_progress is not None:
            on_progress(Progress(self.duration, self.duration))


def transcriber(
    model: Whisper,
    audio: Source,
    *,
    sampling_rate: int = SAMPLE_RATE,
    checkpoint: Callable[[], None] = lambda: None,
    **options: Any,
) -> Transcriber:
    """A recording made ready: its length and its language are known, and `segments()` yields its segments as they settle.

    The arguments are `transcribe`'s.
    """
    return Transcriber(Engine(model, checkpoint, options), audio, sampling_rate)


def transcribe(
    model: Whisper,
    audio: Source,
    *,
    sampling_rate: int = SAMPLE_RATE,
    on_segment: Callable[[Segment], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint: Callable[[], None] = lambda: None,
    **options: Any,
) -> Transcription:
    """A recording's segments, joined. See `whisper_apr.transcribe`, which is this and can print."""
    job = transcriber(model, audio, sampling_rate=sampling_rate, checkpoint=checkpoint, **options)
    segments = []
    for segment in job.segments(on_progress):
        segments.append(segment)
        if on_segment is not None:
            on_segment(segment)
    return job.heard.result(segments)
