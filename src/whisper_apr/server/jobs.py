"""A recording on its way through the scheduler: what the request asks for, and what it gets back."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from ..audio import AudioLike
from ..inference.results import Segment, Transcription
from .logprobs import TokenLogprob


class JobCancelled(Exception):
    """Raised in a thread of the scheduler to end work that nobody waits for any more."""


def without_frames(error: Exception) -> Exception:
    """Return an exception without its tracebacks, whose frames hold what was worked on, such as a batch's KV cache.

    An exception of a job is often in a reference cycle, as the job is in one of the frames and the exception among the
    job's events. The garbage collector may find it many requests later: it counts objects, not their bytes.
    """
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)


class Decoded(NamedTuple):
    """The next segments of a recording, and the log-probabilities of their tokens if they were asked for."""

    segments: list[Segment]
    logprobs: list[TokenLogprob]


class Job:
    """A recording to be transcribed. Made in the event loop, which receives the results; see `Scheduler.submit`."""

    def __init__(self, audio: AudioLike, options: Mapping[str, Any], *, with_logprobs: bool = False) -> None:
        """Make a job.

        Args:
            audio: The recording. It must stay open until the job's last event, or until it is cancelled.
            options: Those of `transcribe`.
            with_logprobs: Whether to compute the log-probability of each token.
        """
        self.audio = audio
        self.options = dict(options)
        self.with_logprobs = with_logprobs
        self.is_cancelled = False
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Decoded | Transcription | Exception] = asyncio.Queue()

    def cancel(self) -> None:
        """Ask the scheduler to stop working on the job. No further event may come."""
        self.is_cancelled = True

    def check_cancelled(self) -> None:
        """Raise JobCancelled if the job is cancelled."""
        if self.is_cancelled:
            raise JobCancelled

    def publish(self, event: Decoded | Transcription | Exception) -> None:
        """Send an event to the event loop, from any thread. A transcription or an exception is the last.

        The event should refer to nothing large: nobody takes it if the client has left; see `without_frames`.
        """
        with suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def events(self) -> AsyncIterator[Decoded | Transcription]:
        """Yield the segments as they are decoded, and at last the transcription. May be called once.

        Raises:
            AudioError: The recording cannot be read.
            OptionError: An option is not allowed.
        """
        while True:
            event = await self._events.get()
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Transcription):
                return
