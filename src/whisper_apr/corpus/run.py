"""The driver: gives an engine the recordings that are not done, and writes what it returns."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import exp
from typing import Any

from .items import Item, digest, encodable
from .parquet import RECORD
from .shards import Record, ShardWriter, Totals
from .tasks import Divided, Done, Engine, Failed, Outcome, Task

TICK = 0.25  # seconds after which the progress is shown and old records are written, even if nothing has ended


@dataclass
class _Pending:
    """A recording that is being transcribed, in one or more parts.

    Attributes:
        item: The recording.
        divided: How it was divided; None for one that is transcribed as a whole.
        done: The parts that are done, by their numbers.
        n_part: How many there are.
        attempts: The most often that the recording or a part was tried.
        seconds: Time that it took the workers so far, with attempts that failed.
    """

    item: Item
    divided: Divided | None = None
    done: dict[int, Done] = field(default_factory=dict)
    n_part: int = 1
    attempts: int = 1
    seconds: float = 0.0


class Run:
    """A run over a corpus.

    Attributes:
        totals: Sums over the records of this run.
        n_skipped: Recordings that were done before.
    """

    def __init__(
        self,
        engine: Engine,
        writer: ShardWriter,
        *,
        retries: int,
        done: set[bytes],
        on_record: Callable[[Record], object] = lambda _: None,
        on_tick: Callable[[], object] = lambda: None,
    ) -> None:
        """Make a run.

        Args:
            engine: Runs the tasks.
            writer: Writes the records.
            retries: How often a task is tried again whose worker has ended, or that failed for want of memory, a
                connection and the like.
            done: Digests of the ids that are done.
            on_record: Called with each record.
            on_tick: Called a few times a second.
        """
        self.totals, self.n_skipped = Totals(), 0
        self._engine, self._writer = engine, writer
        self._retries, self._done = retries, done
        self._on_record, self._on_tick = on_record, on_tick
        self._next = deque[Task]()  # before other recordings: parts, and what is tried again
        self._pending: dict[str, _Pending] = {}  # by id
        self._n_submitted = 0

    def run(self, items: Iterable[Item]) -> None:
        """Transcribe recordings. What is complete is written even if an exception ends the run, such as by Ctrl-C.

        Args:
            items: The recordings; as many as the workers need are taken at a time.

        Raises:
            WhisperAprError: The workers cannot load the model, a shard cannot be written, or `items` cannot be read.
        """
        try:
            left = iter(items)
            while True:
                # as many wait as run, so that no worker waits for the driver
                while self._n_submitted < 2 * self._engine.n_worker and (task := self._next_task(left)) is not None:
                    self._n_submitted += 1
                    self._engine.submit(task)
                if not self._n_submitted:
                    break
                for task, outcome in self._engine.wait(TICK):
                    self._n_submitted -= 1
                    self._take(task, outcome)
                self._writer.tick()
                self._on_tick()
        finally:
            self._writer.commit()

    def _next_task(self, items: Iterator[Item]) -> Task | None:
        """Return the next task, or None if there is none at the moment."""
        if self._next:
            return self._next.popleft()
        for item in items:
            if digest(item.id) in self._done:
                self.n_skipped += 1
                continue
            self._pending[item.id] = _Pending(item)
            return Task(item)
        return None

    def _take(self, task: Task, outcome: Outcome) -> None:
        """Handle the outcome of a task."""
        pending = self._pending.get(task.item.id)
        if pending is None:  # another part has failed
            return
        pending.attempts = max(pending.attempts, task.attempt)
        pending.seconds += outcome.seconds
        if isinstance(outcome, Failed):
            if outcome.is_final or task.attempt > self._retries:
                self._finish(pending, failed_record(pending, outcome.reason))
            else:
                self._next.append(Task(task.item, task.part, task.attempt + 1))
        elif isinstance(outcome, Divided):
            pending.divided, pending.n_part = outcome, len(outcome.parts)
            self._next.extend(Task(task.item, part) for part in outcome.parts)
        else:
            pending.done[task.part.number if task.part else 0] = outcome
            if len(pending.done) == pending.n_part:
                self._finish(pending, done_record(pending))

    def _finish(self, pending: _Pending, record: Record) -> None:
        del self._pending[pending.item.id]
        if record["error"] is not None:  # its other parts are of no use
            self._next = deque(task for task in self._next if task.item.id != pending.item.id)
        self._writer.add(record)
        self.totals.add(record)
        self._on_record(record)


# ---- records --------------------------------------------------------------------------------------------------------


def done_record(pending: _Pending) -> Record:
    """Return the record of a recording whose parts are done."""
    parts = [pending.done[i] for i in range(pending.n_part)]
    about = pending.divided or parts[0]
    segments = [dict(segment) for part in parts for segment in part.segments]
    for i, segment in enumerate(segments):
        segment["id"] = i
    by_segment = [segment.pop("words", None) for segment in segments]
    words = [word for each in by_segment for word in each or ()]
    dropped = [each for part in parts for each in part.dropped or ()]
    warnings = dict.fromkeys(message for each in (about, *parts) for message in each.warnings)
    return _record(
        pending,
        duration=about.duration,
        language=about.language,
        language_probability=about.language_probability,
        text="".join(part.text for part in parts),
        segments=segments,
        words=words if any(each is not None for each in by_segment) else None,
        dropped=dropped if any(part.dropped is not None for part in parts) else None,
        confidence=confidence(segments),
        warnings=[encodable(message) for message in warnings],
    )


def failed_record(pending: _Pending, reason: str) -> Record:
    """Return the record of a recording that failed."""
    return _record(pending, error=encodable(reason))


def _record(pending: _Pending, **values: Any) -> Record:
    record: Record = dict.fromkeys(RECORD)
    item = pending.item
    record |= {"id": item.id, "source": encodable(item.name), "attempts": pending.attempts}
    return record | values | {"seconds": round(pending.seconds, 3)}


def confidence(segments: list[dict[str, Any]]) -> float | None:
    """Return the geometric mean of the tokens' probabilities, 0 to 1; None without text."""
    n = sum(len(segment["tokens"]) for segment in segments)
    return exp(sum(len(segment["tokens"]) * segment["avg_logprob"] for segment in segments) / n) if n else None


# ---- report ---------------------------------------------------------------------------------------------------------


def report(before: Totals, run: Run, seconds: float, engine: Engine) -> dict[str, Any]:
    """Return a report of a run, for JSON.

    Args:
        before: Totals of the records that were there before.
        run: The run.
        seconds: Its time.
        engine: The engine that it used.
    """
    now = run.totals
    languages = before.languages + now.languages
    loads = sorted(engine.load_seconds)
    return {
        "run": {
            "recordings": now.n_record,
            "failed": now.n_failed,
            "hours": round(now.audio_seconds / 3600, 4),
            "seconds": round(seconds, 1),
            "times_real_time": round(now.audio_seconds / seconds, 2) if seconds else None,
            "times_real_time_per_worker": round(now.audio_seconds / now.worker_seconds, 2)
            if now.worker_seconds
            else None,
            "workers": engine.n_worker,
            "model_load_seconds": round(loads[len(loads) // 2], 2) if loads else None,
        },
        "corpus": {
            "recordings": before.n_record + now.n_record,
            "failed": before.n_failed + now.n_failed,
            "hours": round((before.audio_seconds + now.audio_seconds) / 3600, 4),
            "languages": dict(languages.most_common()),
        },
    }
