"""Several recordings through one model at once: each weight is read once a step for all of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from ..audio import SAMPLE_RATE, AudioLike, ReadingOptions
from ..audio.samples import MIX, Channel
from ..errors import AudioError, OptionError
from ..model import Whisper
from ..option_values import boolean, function, optional, parse, shown, whole
from .journal import Journal
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
    **options: Any,
) -> Iterator[Result]:
    """Transcribe recordings, `batch_size` at once, and yield their results in their order.

    Each one's result is that of `transcribe(audio, **options)`. A recording is opened when its turn comes: `audios` may be a generator, and
    no more than `batch_size` are open at a time. `independent_windows` fills the batch with windows in place of recordings, which keeps it
    full where recordings are few or of unequal length; the results are then those of `transcribe(audio, batch_size=batch_size, **options)`.

    `on_segment` and `on_progress` are called with a recording's number, from 0, in the recordings' order; `check_cancelled` before each token:
    what it raises ends them all. Windows that are in the `journal` are not decoded again, and those that are decoded are kept in it.
    The other arguments are `transcribe`'s, and the same for all.

    A recording that cannot be read raises its AudioError in its turn; with `return_errors` that is yielded in the result's place, and the
    others go on. Raises OptionError at once for an option that is unknown or not allowed.
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
    engine = Pipeline(model, check_cancelled, options | ({"batch_size": batch_size} if independent_windows else {}))
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
