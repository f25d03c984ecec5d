"""The endpoints of OpenAI's audio API that take recordings."""

import asyncio
import math
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import AudioError, OptionError
from ..inference.results import Transcription
from .errors import NO_RETRY, ApiError, bad_parameter
from .jobs import Decoded, Job, JobCancelled
from .live_audio import LiveEngine
from .logprobs import TokenLogprob
from .metrics import Metrics
from .parameters import Checker, TranscriptionRequest
from .responses import EventWriter, response
from .scheduler import Scheduler
from .settings import Settings
from .uploads import drain, read_form

MAX_RETRY_AFTER = 60  # seconds; OpenAI's clients ignore longer ones
POLL = 0.1  # seconds
EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx passes on each event at once
]


class Admission:
    """Limits the requests that are uploaded, waiting or running at once."""

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit = limit
        self._metrics = metrics
        self.count = 0
        self.is_stopping = False

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count a request while it runs. Raises ApiError if there are too many, or the server is being stopped."""
        if self.is_stopping:
            raise ApiError(503, "the server is being stopped", headers={"Retry-After": "10"})
        if self.count >= self._limit:
            wait = min(MAX_RETRY_AFTER, max(1, math.ceil(self._metrics.seconds.mean)))
            raise ApiError(
                429,
                f"the server has {self._limit} requests already; try again in {wait} s",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(wait)},
            )
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1

    async def wait_until_idle(self, seconds: float) -> None:
        """Wait until no request runs, but not longer than some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.count:
                    await asyncio.sleep(POLL)


class Service:
    """What the endpoints share."""

    def __init__(self, settings: Settings, scheduler: Scheduler, metrics: Metrics) -> None:
        self.settings = settings
        self.scheduler = scheduler
        self.metrics = metrics
        self.checker = Checker(scheduler.model, settings.model_id)
        self.admission = Admission(settings.max_requests, metrics)
        self.live = LiveEngine(scheduler.model, settings.max_sessions, metrics)


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_left(until_left: Coroutine[Any, Any, None], work: Coroutine[Any, Any, None]) -> None:
    """Await `work`, and cancel it when `until_left` returns. Raises ClientDisconnect then."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(until_left)
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        await working
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


class AudioEndpoint:
    """An ASGI application that transcribes or translates an uploaded recording."""

    def __init__(self, service: Service, task: str) -> None:
        """Make the endpoint; `task` is "transcribe" or "translate"."""
        self._service = service
        self._task = task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Raises ApiError before anything is sent."""
        request = Request(scope, receive)
        answer = _Answer(request, send)
        try:
            with self._service.admission.enter():
                async with asyncio.timeout(self._service.settings.timeout):
                    await self._answer(request, answer)
        except ClientDisconnect:
            self._service.metrics.cancelled.add()
        except TimeoutError:
            limit = self._service.settings.timeout
            await answer.fail(ApiError(504, f"the request took more than {limit:g} s", headers=NO_RETRY))
        except ApiError as error:
            await drain(request)
            await answer.fail(error)

    async def _answer(self, request: Request, answer: "_Answer") -> None:
        async with self._form(request) as wanted:
            assert wanted.file is not None
            job = Job(wanted.file.file, wanted.options, with_logprobs=wanted.with_logprobs)
            try:
                await unless_left(_until_left(request.receive), self._transcribe(job, wanted, answer))
            except AudioError as error:
                raise bad_parameter("file", f"the file is not a recording that can be read: {error}") from None
            except OptionError as error:
                raise ApiError(400, str(error)) from None
            except JobCancelled:
                raise ApiError(503, "the server is being stopped") from None
            except (ApiError, ClientDisconnect):
                raise
            except Exception:  # the scheduler has logged it
                raise ApiError(500, "the transcription failed; the server's log has the reason") from None
            finally:
                job.cancel()

    @asynccontextmanager
    async def _form(self, request: Request) -> AsyncIterator[TranscriptionRequest]:
        """Read the request's form, and close its file at the end."""
        form = await read_form(request, self._service.settings.max_upload)
        try:
            yield self._service.checker.parse(self._task, form.multi_items(), self._service.settings.decoding)
        finally:
            await form.close()

    async def _transcribe(self, job: Job, wanted: TranscriptionRequest, answer: "_Answer") -> None:
        self._service.scheduler.submit(job)
        events, logprobs = EventWriter(wanted), list[TokenLogprob]()
        async for event in job.events():
            match event:
                case Decoded():
                    logprobs += event.logprobs
                    if wanted.is_streamed:
                        await answer.stream(events.delta(event))
                case Transcription() if wanted.is_streamed:
                    await answer.stream(events.done(event), more=False)
                case Transcription():
                    await answer.whole(response(event, wanted, logprobs))


class _Answer:
    """The response of one request: whole, or in events."""

    def __init__(self, request: Request, send: Send) -> None:
        self._request = request
        self._send = send
        self._is_started = False
        self._is_stream = False

    async def whole(self, response: Response) -> None:
        """Send a whole response."""
        self._is_started = True
        await response(self._request.scope, self._request.receive, self._send)

    async def stream(self, event: bytes, *, more: bool = True) -> None:
        """Send an event, and the head of the response before the first one."""
        if not self._is_started:
            self._is_started = self._is_stream = True
            await self._send({"type": "http.response.start", "status": 200, "headers": EVENT_STREAM})
        await self._send({"type": "http.response.body", "body": event, "more_body": more})

    async def fail(self, error: ApiError) -> None:
        """Send an error as the last event. Raises it if nothing was sent yet."""
        if not self._is_started:
            raise error
        if self._is_stream:
            await self.stream(EventWriter.error(error), more=False)
