"""What the driver asks of workers, what they return, and the interface of the engines between them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from .items import Item


@dataclass(frozen=True)
class Part:
    """A part of a long recording: the windows that begin in it.

    Attributes:
        number: Its place among the recording's parts, from 0.
        start: First frame, of 10 ms.
        end: The frame after the last; None to the end of the recording.
        language: Code of the recording's language.
    """

    number: int
    start: int
    end: int | None
    language: str


@dataclass(frozen=True)
class Task:
    """A recording, or a part of one, for a worker to transcribe.

    Attributes:
        item: The recording.
        part: The part; None for the whole, which the worker divides if it is long.
        attempt: How often it is tried, with this time.
    """

    item: Item
    part: Part | None = None
    attempt: int = 1


@dataclass(frozen=True)
class Done:
    """The text of a recording, or of a part.

    Attributes:
        text: The text.
        segments: Items of the segments, with their words.
        duration: Seconds of the whole recording.
        language: Code of its language.
        language_probability: 1 if the language was given.
        dropped: Items of the text that `hallucination_filter` left out; None without it.
        warnings: What is doubtful about the recording.
        seconds: Time that it took the worker.
    """

    text: str
    segments: list[dict[str, Any]]
    duration: float
    language: str
    language_probability: float
    dropped: list[dict[str, Any]] | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Divided:
    """A recording is long, and its parts are tasks of their own. Attributes are those of `Done`."""

    parts: tuple[Part, ...]
    duration: float
    language: str
    language_probability: float
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Failed:
    """A task failed.

    Attributes:
        reason: What is wrong.
        is_final: Whether it would fail again: the recording is damaged, for example.
        seconds: Time that it took the worker.
    """

    reason: str
    is_final: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class TimeLimit:
    """How long a worker may take for a task.

    It looks at the time itself, between two tokens. One that cannot, since it waits for a program or a server, is
    ended by its engine a little later.

    Attributes:
        seconds: The time; None for any.
        grace: Seconds after it at which the engine ends the worker.
    """

    seconds: float | None = None
    grace: float = 10.0

    def is_over(self, since: float, *, with_grace: bool = False) -> bool:
        """Return whether the time of a task is over that began at `since`, by `perf_counter`."""
        return self.seconds is not None and perf_counter() - since > self.seconds + with_grace * self.grace

    @property
    def reason(self) -> str:
        """Why a task failed whose time is over."""
        return f"it took a worker more than {self.seconds:g} s; see --time-limit"


Outcome = Done | Divided | Failed
NO_LIMIT = TimeLimit()
Work = Callable[[Task], Outcome]
# Makes what does the work, in the worker's process, from a function that it calls before every token and that may raise
# an exception to end it. It must be possible to pickle, and raises WhisperAprError if it cannot.
MakeWork = Callable[[Callable[[], object]], Work]


class Engine(Protocol):
    """Runs tasks on workers.

    A worker that ends in the middle of a task is replaced, and the outcome of the task is a `Failed`. So it is with a
    worker that is ended because its task took too long, see `TimeLimit`.

    Attributes:
        n_worker: Workers, each of which does one task at a time.
        load_seconds: Time that loading the model took each worker that has started.
    """

    n_worker: int
    load_seconds: list[float]

    def submit(self, task: Task) -> None:
        """Queue a task."""

    def wait(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Return the tasks that have ended, as soon as there are any, or an empty list after some seconds.

        Raises:
            WhisperAprError: Workers cannot be started, because the model cannot be loaded, for example.
        """

    def close(self) -> None:
        """End the workers at once, also those that are busy."""


@dataclass
class StartFailures:
    """Counts workers that end while they start, to give up when none ever starts.

    Attributes:
        limit: Such workers, one after the other, after which it makes no sense to go on.
    """

    limit: int = 3
    n_failed: int = field(default=0, init=False)

    def add(self, reason: str) -> None:
        """Count one. Raises WhisperAprError if there are too many."""
        from ..errors import WhisperAprError

        self.n_failed += 1
        if self.n_failed >= self.limit:
            raise WhisperAprError(
                f"{self.n_failed} workers in a row ended before they had loaded the model, the last because {reason}; "
                "if the memory does not suffice, use fewer --workers"
            )

    def reset(self) -> None:
        """Forget those counted, because a worker has started."""
        self.n_failed = 0
