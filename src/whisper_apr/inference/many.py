"""Several recordings through one model at once: each weight is read once a step for all of them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..audio import SAMPLE_RATE
from ..errors import AudioError, OptionError
from ..model import Whisper
from .language import tokenizer_of
from .passage import Context, Passage
from .recording import Source
from .results import Segment, Transcription
from .transcribe import Engine, Heard, Progress, Transcriber

Result = Transcription | AudioError


@dataclass
class _Recording:
    """A recording of which passages are at work. Its sound is theirs, and let go with them."""

    index: int
    heard: Heard | None = None  # None where it could not be opened
    segments: list[Segment] = field(default_factory=list)


def transcribe_many(
    model: Whisper,
    audios: Iterable[Source],
    *,
    batch_size: int = 8,
    independent_windows: bool = False,
    return_errors: bool = False,
    sampling_rate: int = SAMPLE_RATE,
    on_segment: Callable[[int, Segment], None] | None = None,
    on_progress: Callable[[int, Progress], None] | None = None,
    checkpoint: Callable[[], None] = lambda: None,
    **options: Any,
) -> Iterator[Result]:
    """Transcribe recordings, `batch_size` at once, and yield their results in their order.

    Each one's result is that of `transcribe(audio, **options)`. A recording is opened when its turn comes: `audios` may be a generator, and
    no more than `batch_size` are open at a time. `independent_windows` fills the batch with windows in place of recordings, which keeps it
    full where recordings are few or of unequal length; the results are then those of `transcribe(audio, batch_size=batch_size, **options)`.

    `on_segment` and `on_progress` are called with a recording's number, from 0, in the recordings' order; `checkpoint` before each token:
    what it raises ends them all. The other arguments are `transcribe`'s, and the same for all.

    A recording that cannot be read raises its AudioError in its turn; with `return_errors` that is yielded in the result's place, and the
    others go on. Raises OptionError at once for an option that is unknown or not allowed.
    """
    if batch_size < 1:
        raise OptionError(f"batch_size must be at least 1, not {batch_size}")
    engine = Engine(model, checkpoint, options | ({"batch_size": batch_size} if independent_windows else {}))
    found = _results(engine, audios, batch_size, sampling_rate, on_segment, on_progress)
    return found if return_errors else map(_raised, found)


def _raised(result: Result) -> Transcription:
    if isinstance(result, AudioError):
        raise result
    return result


def _passages(
    engine: Engine, audios: Iterable[Source], sampling_rate: int, order: deque[tuple[_Recording, bool]]
) -> Iterator[Passage]:
    """The recordings' passages; for each, whose it is and whether it is that one's last is put in `order`."""
    for index, audio in enumerate(audios):
        recording = _Recording(index)
        before: Passage | None = None
        try:
            job = Transcriber(engine, audio, sampling_rate)
            recording.heard = job.heard
            for passage in job.passages():
                if before is not None:
                    order.append((recording, False))
                    yield before
                before = passage
            del job
        except AudioError as error:
            if before is not None:
                order.append((recording, False))
                yield before
            before = _unreadable(engine, error)
        order.append((recording, True))
        yield before or _unreadable(engine)


def _unreadable(engine: Engine, error: AudioError | None = None) -> Passage:
    """A passage with nothing in it."""
    model = engine.model
    passage = Passage(None, (), tokenizer_of(model), engine.options, Context((), (), 0), 0)
    passage.error = error
    return passage


def _results(
    engine: Engine,
    audios: Iterable[Source],
    batch_size: int,
    sampling_rate: int,
    on_segment: Callable[[int, Segment], None] | None,
    on_progress: Callable[[int, Progress], None] | None,
) -> Iterator[Result]:
    order: deque[tuple[_Recording, bool]] = deque()
    error: AudioError | None = None  # the first of the recording whose turn it is
    for passage, segments in engine.decode(_passages(engine, audios, sampling_rate, order), batch_size):
        (recording, is_last), heard = order[0], order[0][0].heard
        error = error or passage.error
        if heard is not None:
            for segment in map(heard.take, segments):
                recording.segments.append(segment)
                if on_segment is not None:
                    on_segment(recording.index, segment)
            if on_progress is not None:
                on_progress(recording.index, heard.progress(passage.seek))
        if not passage.ended:
            continue
        order.popleft()
        if not is_last:
            continue
        if error is None and heard is not None:
            if on_progress is not None:
                on_progress(recording.index, Progress(heard.duration, heard.duration))
            yield heard.result(recording.segments)
        elif error is not None:
            yield error
        error = None
