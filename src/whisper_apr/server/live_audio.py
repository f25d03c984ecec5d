"""Live transcription in a thread, for WebSockets: samples in, texts out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import numpy as np

from ..inference.live import LiveText, LiveTranscriber
from ..model import Whisper
from .errors import ApiError
from .jobs import JobCancelled
from .metrics import Metrics

R = TypeVar("R")

N_THREADS = 2  # that transcribe for all sessions
INBOX_BYTES = 4 << 20
DTYPES: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}  # by ffmpeg's names
SAMPLE_BYTES = {name: dtype.itemsize for name, dtype in DTYPES.items()}


class LiveEngine:
    """Threads that transcribe for live sessions, whose number is limited."""

    def __init__(self, model: Whisper, max_sessions: int, metrics: Metrics) -> None:
        self.model = model
        self.metrics = metrics
        self.count = 0
        self._max_sessions = max_sessions
        self._threads = ThreadPoolExecutor(N_THREADS, thread_name_prefix="live")
        self._is_stopping = False

    @contextmanager
    def session(self) -> Iterator["LiveStreams"]:
        """Begin a session. Raises ApiError if there are too many."""
        if self.count >= self._max_sessions:
            raise ApiError(
                429,
                f"the server has {self._max_sessions} live sessions already; try again later",
                code="rate_limit_exceeded",
                headers={"Retry-After": "10"},
            )
        self.count += 1
        streams = LiveStreams(self)
        try:
            yield streams
        finally:
            streams.is_cancelled = True
            self.count -= 1

    def stop(self) -> None:
        """End all work at the next token, and wait for the threads."""
        self._is_stopping = True
        self._threads.shutdown(cancel_futures=True)

    async def run(self, function: Callable[[], R], streams: "LiveStreams") -> R:
        """Call a function in one of the threads."""

        def call() -> R:
            self.check_cancelled(streams)
            return function()

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def check_cancelled(self, streams: "LiveStreams") -> None:
        """Raise JobCancelled if a session has ended, or the server is being stopped."""
        if streams.is_cancelled or self._is_stopping:
            raise JobCancelled


class LiveStreams:
    """The streams of one session, one after another."""

    def __init__(self, engine: LiveEngine) -> None:
        self._engine = engine
        self.is_cancelled = False

    def open(self, **options: Any) -> "LiveStream":
        """Begin a stream. Raises OptionError if an option of LiveTranscriber is not allowed."""
        transcriber = LiveTranscriber(
            self._engine.model, check_cancelled=lambda: self._engine.check_cancelled(self), **options
        )
        return LiveStream(self._engine, self, transcriber)


class LiveStream:
    """Samples that arrive, and their text."""

    def __init__(self, engine: LiveEngine, streams: LiveStreams, transcriber: LiveTranscriber) -> None:
        self._engine = engine
        self._streams = streams
        self._transcriber = transcriber

    async def push(self, data: bytes, sample_format: str, rate: float) -> LiveText:
        """Transcribe the next samples, mono, in one of DTYPES. The last sample must be complete."""
        samples = np.frombuffer(data, DTYPES[sample_format])
        self._engine.metrics.audio_seconds.add(len(samples) / rate)
        return await self._engine.run(lambda: self._transcriber.push(samples), self._streams)

    async def finish(self) -> LiveText:
        """Transcribe the rest."""
        return await self._engine.run(self._transcriber.finish, self._streams)

    @property
    def speaking_since(self) -> float | None:
        """Seconds at which the current utterance begins, or None in a pause."""
        return self._transcriber.speaking_since


class Inbox:
    """Receives messages while others are processed: at most `max_bytes`, and one message more."""

    def __init__(self, receive: Callable[[], Awaitable[str | bytes | None]], max_bytes: int = INBOX_BYTES) -> None:
        """Make an inbox.

        Args:
            receive: Returns the next message, or None at the end.
            max_bytes: Size at which no more is received until the messages are taken.
        """
        self._receive = receive
        self._max_bytes = max_bytes
        self._messages: list[str | bytes | None] = []
        self._size = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def filling(self) -> AsyncIterator["Inbox"]:
        """Receive messages until the end of the `with` block."""
        task = asyncio.create_task(self._fill())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _fill(self) -> None:
        message: str | bytes | None = ""
        while message is not None:
            try:
                message = await self._receive()
            except Exception:  # the connection is broken
                message = None
            async with self._changed:
                self._messages.append(message)
                self._size += len(message or "")
                self._changed.notify()
                await self._changed.wait_for(lambda: self._size <= self._max_bytes)

    async def take(self) -> list[str | bytes | None]:
        """Wait for a message, and return all that have arrived; None is the last."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._messages)
            messages, self._messages, self._size = self._messages, [], 0
            self._changed.notify()
            return messages
