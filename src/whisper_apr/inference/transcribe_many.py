"""Several recordings through one model at once: each weight is read once a step for all of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from typing import Literal, Unpack, overload

from ..audio import SAMPLE_RATE, AudioLike, ReadingOptions
from ..audio.samples import MIX, Channel
from ..errors import AudioError, OptionError
from ..model import Whisper
from ..option_docs import list_options
from ..option_values import boolean, function, optional, parse, shown, whole
from .journal import Journal
from .keywords import ReadingKeywords, RecordingKeywords
from .options import DecodingOptions, TranscribeOptions
from .recording_info import RecordingInfo
from .results import Progress, Segment, Transcription
from .transcribe import Pipeline, TranscriptionJob
from .windows import WindowSequence

Result = Transcription | AudioError


@dataclass
class _Recording:
    """A recording of which passages are at work. Its sound is theirs, and let go with them."""

    heard: RecordingInfo | None = None  # None where it could not be opened
    segments: list[Segment] = field(default_factory=list)
    error: AudioError | None = None  # the first
    n_open: int = 0  # passages that have not ended
    is_whole: bool = False  # whether there are no more passages to come


class TranscribeManyKeywords(RecordingKeywords, ReadingKeywords, total=False):
    """Keyword arguments of `transcribe_many` besides `return_errors`."""

    batch_size: int
    independent_windows: bool
    on_segment: Callable[[int, Segment], None] | None
    on_progress: Callable[[int, Progress], None] | None
    check_cancelled: Callable[[], None]
    journal: Journal | None


@overload
def transcribe_many(
    model: Whisper,
    audios: Iterable[AudioLike],
    *,
    return_errors: Literal[False] = False,
    **options: Unpack[TranscribeManyKeywords],
) -> Iterator[Transcription]: ...


@overload
def transcribe_many(
    model: Whisper, audios: Iterable[AudioLike], *, return_errors: bool, **options: Unpack[TranscribeManyKeywords]
) -> Iterator[Transcription | AudioError]: ...


@list_options(TranscribeOptions, DecodingOptions)
def transcribe_many(
    model: Whisper,
    audios: Iterable[AudioLike],
    *,
    batch_size: int = 8,
    independent_windows: bool = False,
    return_errors: bool = False,
    sampling_rate: float = SAMPLE_RATE,
    channel: Channel = MIX,
    track: int | None = None,
    strict: bool = False,
    on_segment: Callable[[int, Segment], None] | None = None,
    on_progress: Callable[[int, Progress], None] | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
    journal: Journal | None = None,
    **options: Unpack[RecordingKeywords],
) -> Iterator[Result]:
    """Transcribe several recordings together and yield their results in order.

    Every result equals that of `transcribe(model, audio, **options)`. A recording is opened when a place in the batch
    is
    free: `audios` may be a generator, and at most `batch_size` recordings are open.

    Args:
        model: The model, from `load_model`.
        audios: The recordings, each as `transcribe` takes it.
        batch_size: Number of windows decoded at once, each of another recording unless `independent_windows` is given.
        independent_windows: Whether to fill the batch with windows of the same recording, which keeps it full if
            recordings are few or of different lengths. Every result then equals that of
            `transcribe(model, audio, batch_size=batch_size, **options)`.
        return_errors: Whether to yield the AudioError of a recording that cannot be read, in place of its result, and
            go on with the others. Otherwise it is raised.
        sampling_rate: Rate of samples in Hz, 1000 to 1,000,000. Files state their own.
        channel: Number of the channel to transcribe, from 0; "mix" for the mean of all; "each" to transcribe every
            channel by itself. See `transcribe`.
        track: Number of the files' audio track, from 0. None is the one that a player would choose.
        strict: Whether to raise AudioError for what is otherwise an AudioWarning.
        on_segment: Called with the number of the recording, from 0, and each segment as soon as it is final.
        on_progress: Called with the number of the recording and its progress, which never decreases.
        check_cancelled: Called before each token. What it raises ends all transcriptions; the model stays usable.
        journal: Windows decoded in an earlier run, which are not decoded again; windows decoded now are added to it.
        **options: Fields of TranscribeOptions and of DecodingOptions, except `prompt`.

    Yields:
        The transcription of each recording, or its AudioError with `return_errors`.

    Raises:
        AudioError: A recording cannot be read, and `return_errors` is not given.
        OptionError: An option is unknown, has a value that is not allowed, or conflicts with another. It is raised at
            once, before the first result is asked for.
    """
    if isinstance(audios, str | bytes | PathLike) or not isinstance(audios, Iterable):
        raise OptionError(f"audios must be a sequence or an iterator of recordings, not {shown(audios)}")
    batch_size = parse("batch_size", whole(1), batch_size)
    independent_windows = parse("independent_windows", boolean, independent_windows)
    return_errors = parse("return_errors", boolean, return_errors)
    parse("on_segment", optional(function), on_segment)
    parse("on_progress", optional(function), on_progress)
    if journal is not None and not isinstance(journal, Journal):
        raise OptionError(f"journal must be a Journal, or None, not {shown(journal)}")
    in_windows = {"batch_size": batch_size} if independent_windows else {}
    engine = Pipeline(model, check_cancelled, {**options, **in_windows})
    reading = ReadingOptions(sampling_rate, channel, track, strict)
    found = _results(engine, audios, batch_size, reading, on_segment, on_progress, journal)
    return found if return_errors else map(_raised, found)


def _raised(result: Result) -> Transcription:
    if isinstance(result, AudioError):
        raise result
    return result


def _passages(
    engine: Pipeline, audios: Iterable[AudioLike], reading: ReadingOptions, recordings: dict[int, _Recording]
) -> Iterator[WindowSequence]:
    """Yield the recordings' passages, each with its recording's number in `recordings`."""
    for number, audio in enumerate(audios):
        recording = recordings[number] = _Recording()
        before: WindowSequence | None = None
        try:
            job = TranscriptionJob.open(engine, audio, reading)
            recording.heard = job.heard
            for passage in job.passages():
                passage.recording = number
                recording.n_open += 1
                if before is not None:
                    yield before
                before = passage
            del job
        except AudioError as error:
            recording.error = error
        if before is None:
            before = engine.nothing()
            before.recording = number
            recording.n_open = 1
        recording.is_whole = True
        yield before


def _results(
    engine: Pipeline,
    audios: Iterable[AudioLike],
    batch_size: int,
    reading: ReadingOptions,
    on_segment: Callable[[int, Segment], None] | None,
    on_progress: Callable[[int, Progress], None] | None,
    journal: Journal | None,
) -> Iterator[Result]:
    recordings: dict[int, _Recording] = {}  # whose passages have not all ended
    for passage, segments in engine.decode(_passages(engine, audios, reading, recordings), batch_size, journal):
        number, recording = passage.recording, recordings[passage.recording]
        heard = recording.heard
        recording.error = recording.error or passage.error
        recording.n_open -= passage.ended
        if heard is not None:
            for segment in heard.settle(passage, segments):
                recording.segments.append(segment)
                if on_segment is not None:
                    on_segment(number, segment)
            if on_progress is not None:
                on_progress(number, heard.progress(passage))
        if recording.n_open or not recording.is_whole:
            continue
        del recordings[number]
        if recording.error is not None:
            yield recording.error
            continue
        assert heard is not None, "what could not be opened has an error"
        if on_progress is not None:
            on_progress(number, Progress(heard.duration, heard.duration))
        yield heard.result(recording.segments)
