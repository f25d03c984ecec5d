"""Transcribe the recordings of concurrent requests in common batches.

A job takes two steps. One of a few threads opens the recording, which reads it once and detects its language. Then a
single thread, the engine, decodes one window of every open recording per batch (`BatchDecoder`); a job joins and leaves
between two batches. Jobs whose options differ in what concerns a whole batch are in different batches, by turns.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from ..audio import ReadingOptions
from ..errors import WhisperAprError
from ..inference.hotwords import hotword_prompt
from ..inference.recording_info import RecordingInfo
from ..inference.results import Segment
from ..inference.transcribe import Pipeline, TranscriptionJob
from ..inference.windows import WindowSequence
from ..model import Whisper
from .jobs import Decoded, Job, JobCancelled, without_frames
from .logprobs import TokenLogprob, token_logprobs
from .metrics import Metrics

_log = logging.getLogger(__name__)

N_OPENING = 2  # threads that open recordings
OPEN_PER_PLACE = 2  # recordings that are open at once, for each place in a batch

# options that concern the opening of a recording, or that a window of the batch has by itself
_OF_ONE_RECORDING = frozenset({"language", "languages", "initial_prompt", "speakers", "vad_filter", "vad_parameters"})


@dataclass
class _OpenJob:
    """A job whose recording is open."""

    job: Job
    info: RecordingInfo
    sequence: WindowSequence
    segments: list[Segment] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)  # of segments that are not published yet


class _Waiting(Iterator[WindowSequence]):
    """The sequences that wait for a batch. It ends if there are none, and goes on when others have arrived."""

    def __init__(self) -> None:
        self._sequences: deque[WindowSequence] = deque()

    def add(self, sequence: WindowSequence) -> None:
        """Append a sequence."""
        self._sequences.append(sequence)

    def __next__(self) -> WindowSequence:
        if not self._sequences:
            raise StopIteration
        return self._sequences.popleft()


class _Batch:
    """Jobs whose windows are decoded together, since their options agree in what concerns the whole batch."""

    def __init__(self, pipeline: Pipeline, size: int) -> None:
        self.jobs: dict[int, _OpenJob] = {}  # by the sequences' number `recording`
        self._waiting = _Waiting()
        self._decoded = pipeline.decode(self._waiting, size, in_order=False)

    def add(self, number: int, opened: _OpenJob) -> None:
        """Add a job. Its sequence joins before the next batch."""
        opened.sequence.recording = number
        self.jobs[number] = opened
        self._waiting.add(opened.sequence)

    def check_cancelled(self) -> None:
        """Raise JobCancelled if all jobs are cancelled."""
        if all(opened.job.is_cancelled for opened in self.jobs.values()):
            raise JobCancelled

    def step(self) -> tuple[_OpenJob, list[Segment]] | None:
        """Return a job's next segments, decoding a batch if no segments are left; None if all jobs have ended."""
        for each in self.jobs.values():
            if each.job.is_cancelled:
                each.sequence.cancel()
        for sequence, segments in self._decoded:
            opened = self.jobs.get(sequence.recording)
            if opened is not None:
                return opened, segments
            # A job that is cancelled between two lists of segments ends with the first.
        return None


class Scheduler:
    """Transcribes recordings in threads of its own. `start` it before the first job, and `stop` it at the end."""

    def __init__(self, model: Whisper, batch_size: int, metrics: Metrics) -> None:
        """Make a scheduler.

        Args:
            model: The model.
            batch_size: Most windows in a batch.
            metrics: Counts what is decoded.
        """
        self.model = model
        self._batch_size = batch_size
        self._metrics = metrics
        self._opening = ThreadPoolExecutor(N_OPENING, thread_name_prefix="open")
        self._places = threading.Semaphore(OPEN_PER_PLACE * batch_size)
        self._engine = threading.Thread(target=self._run, name="engine", daemon=True)
        self._changed = threading.Condition()
        self._opened: deque[_OpenJob] = deque()  # not in a batch yet
        self._is_stopping = False
        self._batches: dict[str, _Batch] = {}  # by what their jobs have in common; only the engine's thread uses it
        self._n_job = 0

    def start(self) -> None:
        """Start the engine."""
        self._engine.start()

    def stop(self) -> None:
        """End all jobs at the next token, and wait for the threads."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._engine.join()
        self._places.release(N_OPENING)  # for jobs that wait to be opened, which end at once
        self._opening.shutdown()
        for each in self._opened:  # while the engine ended
            self._fail(JobCancelled(), each.job)

    def pipeline(self, job: Job) -> Pipeline:
        """Return the model with a job's options. Raises OptionError if one is not allowed."""
        return Pipeline(self.model, partial(self._check_cancelled, job.check_cancelled), job.options)

    def submit(self, job: Job) -> None:
        """Transcribe a job's recording. Raises OptionError at once if one of its options is not allowed."""
        self._opening.submit(self._open, self.pipeline(job), job)

    def _check_cancelled(self, check: Callable[[], object]) -> None:
        if self._is_stopping:
            raise JobCancelled
        check()

    # ---- opening ---------------------------------------------------------------------------------------------------

    def _open(self, pipeline: Pipeline, job: Job) -> None:
        """Open a job's recording, and hand it over to the engine."""
        self._places.acquire()
        try:
            pipeline.check_cancelled()
            opened = self._opened_job(pipeline, job)
        except Exception as error:
            self._places.release()
            self._fail(error, job)
            return
        self._metrics.audio_seconds.add(opened.info.duration)
        with self._changed:
            self._opened.append(opened)
            self._changed.notify()

    def _opened_job(self, pipeline: Pipeline, job: Job) -> _OpenJob:
        transcription = TranscriptionJob.open(pipeline, job.audio, ReadingOptions())
        (sequence,) = transcription.sequences()  # one channel, not divided
        opened = _OpenJob(job, transcription.info, sequence)
        if job.with_logprobs:
            hotwords = hotword_prompt(pipeline.decoder.attempts[0].hotwords, sequence.tokenizer)
            compute = partial(token_logprobs, self.model, sequence.tokenizer, hotwords)
            sequence.on_decoded = lambda *window: opened.logprobs.extend(compute(*window))
        return opened

    def _fail(self, error: Exception, *jobs: Job) -> None:
        if not isinstance(error, WhisperAprError | JobCancelled):
            _log.error("a transcription failed", exc_info=error)
        error = without_frames(error)
        for job in jobs:
            job.publish(error)

    # ---- the engine ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._wait_for_jobs():
            for key, batch in list(self._batches.items()):
                self._step(key, batch)

    def _wait_for_jobs(self) -> bool:
        """Move open jobs into batches; without any job, wait for one. Returns False when the engine is to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._opened or self._batches or self._is_stopping)
            is_stopping = self._is_stopping
            if not is_stopping:
                opened, self._opened = self._opened, deque()
        if is_stopping:
            for batch in self._batches.values():
                self._end(batch, JobCancelled())
            return False
        for each in opened:
            self._batch_for(each.job).add(self._n_job, each)
            self._n_job += 1
        return True

    def _batch_for(self, job: Job) -> _Batch:
        """Return the batch that a job with these options joins."""
        shared = {name: value for name, value in job.options.items() if name not in _OF_ONE_RECORDING}
        key = repr(sorted(shared.items()))
        if key not in self._batches:
            batch: _Batch | None = None

            def check() -> None:
                assert batch is not None
                self._check_cancelled(batch.check_cancelled)

            batch = self._batches[key] = _Batch(Pipeline(self.model, check, shared), self._batch_size)
        return self._batches[key]

    def _step(self, key: str, batch: _Batch) -> None:
        """Decode the batch's next windows, and publish what was decoded."""
        try:
            found = batch.step()
        except Exception as error:
            del self._batches[key]
            self._end(batch, error)
            return
        if found is None:
            del self._batches[key]
            return
        opened, segments = found
        self._publish(opened, segments)
        if opened.sequence.ended:
            del batch.jobs[opened.sequence.recording]
            self._places.release()

    def _publish(self, opened: _OpenJob, segments: list[Segment]) -> None:
        """Send segments to the job's request and, at the end, the result or the error."""
        job, sequence = opened.job, opened.sequence
        if job.is_cancelled:
            job.publish(JobCancelled())
            return
        numbered = opened.info.add_segments(sequence, segments)
        opened.segments += numbered
        if numbered:
            self._metrics.segments.add(len(numbered))
            logprobs, opened.logprobs = opened.logprobs, []
            job.publish(Decoded(numbered, logprobs))
        if sequence.error is not None:
            self._fail(sequence.error, job)
        elif sequence.ended:
            job.publish(opened.info.result(opened.segments))

    def _end(self, batch: _Batch, error: Exception) -> None:
        """End all jobs of a batch that failed, or whose jobs are all cancelled."""
        self._fail(error, *(opened.job for opened in batch.jobs.values()))
        for _ in batch.jobs:
            self._places.release()
        batch.jobs.clear()
