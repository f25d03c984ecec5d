"""What a worker does: it loads the model once, and transcribes one recording, or a part of one, after the other."""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import dropwhile, takewhile
from math import ceil
from time import perf_counter
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from .. import simd
from ..audio import FRAMES_PER_SECOND, ReadingOptions
from ..audio.samples import EACH
from ..audio.sources import RandomAccessBytes, SplicedFile
from ..errors import AudioError, AudioWarning, OptionError, WhisperAprError
from ..formats.urls import is_url, normalize_url, redact_url
from ..inference.results import Segment
from ..inference.transcribe import FROM_START, Continuation, Pipeline, TranscriptionJob
from ..inference.windows import WindowSequence
from ..recognizer import load_model
from .items import Item
from .tasks import NO_LIMIT, Divided, Done, Failed, Outcome, Part, Task, TimeLimit

BLOCK = 1 << 20  # bytes of a download that are copied at a time
STALLED = 60.0  # seconds without data after which a download has failed
MAX_WARNINGS = 20  # of a recording, that are recorded


@dataclass(frozen=True)
class Settings:
    """How workers transcribe.

    Attributes:
        model: Name or path of the model.
        model_dir: Folder of downloaded models, as for `load_model`.
        compute_type: As for `load_model`.
        backend: Instruction set of the kernels; None for the fastest.
        threads: Threads of each worker.
        options: Those of `transcribe`. They have a `batch_size`, so that windows do not depend on each other.
        reading: How recordings are read.
        split: Frames of a part of a long recording; None to transcribe every recording as a whole.
        max_download: Most bytes of a recording that is downloaded.
        time_limit: Of a task.
    """

    model: str
    model_dir: str | None = None
    compute_type: Any = "default"
    backend: str | None = None
    threads: int = 1
    options: dict[str, Any] = field(default_factory=lambda: {"batch_size": 8})
    reading: ReadingOptions = field(default_factory=ReadingOptions)
    split: int | None = 3600 * FRAMES_PER_SECOND
    max_download: int = 4 << 30
    time_limit: TimeLimit = NO_LIMIT

    @property
    def can_divide(self) -> bool:
        """Whether the text of a recording is that of its parts, one after the other.

        Speakers are those of the whole recording, channels are merged by time, and clips may overlap.
        """
        whole_recording = self.options.get("speakers") is not None or self.options.get("clip_timestamps") is not None
        return self.split is not None and self.reading.channel != EACH and not whole_recording

    def __call__(self, check_cancelled: Callable[[], object] = lambda: None) -> "Worker":
        """Return a worker; see there."""
        return Worker(self, check_cancelled)


class _TookTooLong(Exception):
    """The time for a task is over."""


class Worker:
    """Transcribes recordings with a model."""

    def __init__(self, settings: Settings, check_cancelled: Callable[[], object]) -> None:
        """Load the model.

        Args:
            settings: How to transcribe.
            check_cancelled: Called before every token; an exception that it raises ends a transcription.

        Raises:
            WhisperAprError: The model cannot be loaded, or an option does not fit it.
        """
        if settings.backend is not None:
            simd.use_backend(settings.backend)
        simd.set_num_threads(settings.threads)
        self._settings = settings
        self._model = load_model(settings.model, download_root=settings.model_dir, compute_type=settings.compute_type)
        self._check_driver = check_cancelled
        self._started = perf_counter()  # of the task
        self._pipelines: dict[str | None, Pipeline] = {}  # by the language that is given
        self._pipeline(None)  # checks the options

    def __call__(self, task: Task) -> Outcome:
        """Do a task. Errors of recordings and of the system are outcomes."""
        self._started = started = perf_counter()

        def failed(reason: object, is_final: bool) -> Failed:
            return Failed(str(reason), is_final, perf_counter() - started)

        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", AudioWarning)
                outcome = self._transcribe(task)
        except (AudioError, OptionError) as error:
            return failed(error, is_final=True)
        except WhisperAprError as error:
            return failed(error, is_final=False)
        except _TookTooLong:
            return failed(f"{task.item.name}: {self._settings.time_limit.reason}", is_final=False)
        except MemoryError:
            return failed("the memory of the worker does not suffice", is_final=False)
        except OSError as error:  # of the network, for example
            return failed(f"{task.item.name}: {error.strerror or error}", is_final=False)
        except Exception as error:  # a fault of ours must not end a run of days
            return failed(f"{task.item.name}: {type(error).__name__}: {error}", is_final=False)
        messages = dict.fromkeys(str(each.message) for each in caught)
        about = {"warnings": tuple(messages)[:MAX_WARNINGS], "seconds": perf_counter() - started}
        return type(outcome)(**(vars(outcome) | about))

    def _check_cancelled(self) -> None:
        self._check_driver()
        if self._settings.time_limit.is_over(self._started):
            raise _TookTooLong

    def _pipeline(self, language: str | None) -> Pipeline:
        """Return the model with the options, and a language unless they name one."""
        if language not in self._pipelines:
            given = {} if language is None or self._settings.options.get("language") else {"language": language}
            options = self._settings.options | given
            self._pipelines[language] = Pipeline(self._model, self._check_cancelled, options)
        return self._pipelines[language]

    def _transcribe(self, task: Task) -> Done | Divided:
        settings, part = self._settings, task.part
        pipeline = self._pipeline(task.item.language)
        continued = FROM_START if part is None else Continuation(language=part.language)
        with opened(task.item, settings.max_download, self._check_cancelled) as source:
            job = TranscriptionJob.open(pipeline, source, settings.reading, continued=continued)
            about = job.duration, job.language, job.language_probability
            length = job.duration_after_vad * FRAMES_PER_SECOND
            if part is None and settings.can_divide and settings.split and length > settings.split:
                return Divided(divide(length, settings.split, job.language), *about)
            segments: list[Segment] = []
            sequences = job.sequences() if part is None else _of_part(job.sequences(), part)
            for sequence, new in pipeline.decode(sequences, pipeline.options.batch_size or 1):
                if sequence.error is not None:
                    raise sequence.error
                segments += job.info.add_segments(sequence, new)
            result = job.info.result(segments)
            dropped = None if result.dropped is None else [dict(each) for each in result.dropped]
            return Done(result.text, [plain(each) for each in segments], *about, dropped)


def divide(length: float, size: int, language: str) -> tuple[Part, ...]:
    """Return the parts of a recording, of about equal length.

    Args:
        length: Frames of the recording.
        size: Most frames of a part.
        language: Code of the recording's language.
    """
    n = ceil(length / size)
    starts = [round(length * i / n) for i in range(n)]
    return tuple(Part(i, starts[i], starts[i + 1] if i + 1 < n else None, language) for i in range(n))


def _of_part(sequences: Iterator[WindowSequence], part: Part) -> Iterator[WindowSequence]:
    """Yield the sequences that begin in a part. The recording is cut into the same ones whatever the parts are."""
    after = dropwhile(lambda sequence: sequence.seek < part.start, sequences)
    return takewhile(lambda sequence: part.end is None or sequence.seek < part.end, after)


def plain(segment: Segment) -> dict[str, Any]:
    """Return a segment as plain dictionaries, which other programs can unpickle."""
    found = dict(segment)
    if segment.words is not None:
        found["words"] = [dict(word) for word in segment.words]
    return found


# ---- sources --------------------------------------------------------------------------------------------------------


class _Member(SplicedFile):
    """A recording in a tar, as a file of its own, with the name that messages use."""

    name = ""


@contextmanager
def opened(
    item: Item, max_download: int, check_cancelled: Callable[[], object] = lambda: None
) -> Iterator[str | IO[bytes]]:
    """Open a recording: a path as it is, a member of a tar as a file, a URL as a temporary file.

    Args:
        item: The recording.
        max_download: Most bytes of a download.
        check_cancelled: Called for each block of a download; an exception that it raises is passed on.

    Raises:
        AudioError: It does not exist, or is too large.
        OSError: It cannot be downloaded now.
    """
    if is_url(item.source):
        with tempfile.TemporaryFile() as file:
            _download(item.source, file, max_download, check_cancelled)
            yield file
    elif item.offset is not None:
        with _open(item) as tar:
            member = _Member(RandomAccessBytes(tar, item.name), [(item.offset, item.offset + item.size)])
            member.name = item.name
            yield member  # type: ignore[misc]  # it has the methods of IO[bytes] that are used
    else:
        yield item.source


def _open(item: Item) -> IO[bytes]:
    try:
        return open(item.source, "rb")
    except OSError as error:
        raise AudioError(f"{item.name}: {error.strerror or error}") from error


def _response(request: Request) -> Any:
    try:
        return urlopen(request, timeout=STALLED)
    except HTTPError as error:
        error.close()
        if 400 <= error.code < 500 and error.code not in (408, 429):  # not a timeout, nor too many requests
            raise AudioError(
                f"{redact_url(request.full_url)}: the server answers {error.code} {error.reason}"
            ) from error
        raise


def _download(url: str, file: IO[bytes], limit: int, check_cancelled: Callable[[], object]) -> None:
    """Copy what a URL stands for to a file, and go back to its beginning."""
    request = Request(normalize_url(url), headers={"User-Agent": "whisper-apr"})
    size = 0
    with _response(request) as response:
        expected = response.length
        while block := response.read1(BLOCK):  # what has come, so that a slow server is noticed
            check_cancelled()
            size += len(block)
            if size > limit:
                raise AudioError(f"{redact_url(url)}: it has more than {limit >> 20} MiB; see --max-download")
            file.write(block)
    if expected is not None and size < expected:
        raise OSError(f"the transfer broke off after {size} of {expected} bytes")
    file.seek(0, os.SEEK_SET)
