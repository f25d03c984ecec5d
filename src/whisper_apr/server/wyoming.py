"""Speech to text for Home Assistant, by the Wyoming protocol (https://github.com/OHF-Voice/wyoming).

A client sends `transcribe`, then `audio-start`, chunks of samples and `audio-stop`, and is answered with the parts of
the text as they are decoded (`transcript-start`, `transcript-chunk`, `transcript-stop`) and with the whole
(`transcript`). The protocol has no keys.
"""

import asyncio
import json
import logging
import socket
import tempfile
import warnings
import wave
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.requests import ClientDisconnect

from .. import __version__
from ..errors import AudioError, OptionError
from ..inference.results import Transcription
from ..tokenizer import LANGUAGES
from .endpoints import Service, unless_left
from .errors import ApiError, bad_parameter
from .jobs import Decoded, Job, JobCancelled
from .parameters import MAX_KEYWORDS
from .responses import without_leading_space

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # wyoming imports audioop
    from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
    from wyoming.error import Error
    from wyoming.event import Event, async_write_event
    from wyoming.info import AsrModel, AsrProgram, Attribution, Info
    from wyoming.ping import Pong

_log = logging.getLogger(__name__)

MAX_LINE = 64 << 10  # bytes of an event's first line
MAX_DATA = 1 << 20  # bytes of an event's further data
MAX_PAYLOAD = 16 << 20  # bytes of samples in an event
POLL = 0.1  # seconds
MEMORY = 1 << 20  # bytes of a recording that are kept in memory; larger ones are in a temporary file

ATTRIBUTION = Attribution("OpenAI", "https://github.com/openai/whisper")


class ProtocolError(Exception):
    """Raised for what is no event of the protocol; the connection is closed."""


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """Read the next event, or return None at the end of the connection.

    wyoming's own function allocates as many bytes as the client says.

    Raises:
        ProtocolError: The event is damaged, or too large.
    """
    try:
        line = await reader.readline()
        if not line:
            return None
        head = json.loads(line)
        data = head.get("data") or {}
        if n_data := _size(head, "data_length", MAX_DATA):
            data = {**data, **json.loads(await reader.readexactly(n_data))}
        payload = None
        if n_payload := _size(head, "payload_length", MAX_PAYLOAD):
            payload = await reader.readexactly(n_payload)
        if not isinstance(head["type"], str):
            raise ProtocolError("an event has no type")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, asyncio.IncompleteReadError) as error:
        raise ProtocolError(f"damaged event: {error!r}") from None
    return Event(head["type"], data, payload)


def _size(head: Mapping[str, Any], name: str, most: int) -> int:
    size = head.get(name) or 0
    if not isinstance(size, int) or not 0 <= size <= most:
        raise ProtocolError(f"{name} must be at most {most}")
    return size


class WyomingServer:
    """Serves the Wyoming protocol on a port of its own."""

    def __init__(self, service: Service, listening: socket.socket) -> None:
        self._service = service
        self._listening = listening
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._deadline: float | None = None  # by the event loop's clock, after which running requests are ended

    async def start(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._connected, sock=self._listening, limit=MAX_LINE)

    def begin_stop(self) -> None:
        """Close the port and the connections without a request. The first call begins the server's time to stop."""
        if self._server is None or self._deadline is not None:
            return
        self._deadline = asyncio.get_running_loop().time() + self._service.settings.stop_timeout
        self._service.admission.is_stopping = True
        self._server.close()
        for task, connection in self._connections.items():
            if not connection.is_busy:
                task.cancel()

    async def stop(self) -> None:
        """Close the port and all connections. Requests that still run are given the rest of the time to stop."""
        self.begin_stop()
        if self._deadline is not None:
            await self._service.admission.wait_until_idle(self._deadline - asyncio.get_running_loop().time())
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = Connection(self._service, reader, writer)
        self._connections[task] = connection
        try:
            await connection.run()
        except ClientDisconnect:
            self._service.metrics.cancelled.add()
        except (ProtocolError, OSError) as error:
            _log.info("closed a Wyoming connection: %s", error)
        except asyncio.CancelledError:  # by `stop`; asyncio would log it as a failure
            pass
        finally:
            del self._connections[task]
            writer.close()


class Connection:
    """A client's connection, which may ask for several transcriptions, one after another."""

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._service = service
        self._reader = reader
        self._writer = writer
        self._options: dict[str, Any] = {}
        self._recording: Recording | None = None
        self.is_busy = False  # whether a request runs

    async def run(self) -> None:
        """Answer events until the client leaves or the server stops. Raises ProtocolError for what is no event."""
        admission = self._service.admission
        try:
            while not admission.is_stopping and (event := await read_event(self._reader)) is not None:
                try:
                    await self._handle(event)
                except (ApiError, AudioError, OptionError) as error:
                    await self._write(Error(str(error), getattr(error, "code", None)))
        finally:
            self._close_recording()

    async def _write(self, answer: Any) -> None:
        await async_write_event(answer.event(), self._writer)

    async def _handle(self, event: Event) -> None:
        match event.type:
            case "describe":
                await self._write(self._info())
            case "ping":
                await self._write(Pong(event.data.get("text")))
            case "transcribe":
                self._options = self._checked(event.data)
            case "audio-start":
                self._close_recording()
                self._recording = Recording(event.data, self._service.settings.max_upload)
            case "audio-chunk":
                if self._recording is None:
                    self._recording = Recording(event.data, self._service.settings.max_upload)
                self._recording.write(event.payload or b"")
            case "audio-stop" if self._recording is not None:
                self.is_busy = True
                try:
                    await self._transcribe(self._recording)
                finally:
                    self.is_busy = False
                    self._close_recording()

    def _close_recording(self) -> None:
        if self._recording is not None:
            self._recording.close()
            self._recording = None

    def _info(self) -> Info:
        languages = [code for code in self._service.checker.languages() if code in LANGUAGES]
        shared: dict[str, Any] = {"attribution": ATTRIBUTION, "installed": True, "version": __version__}
        model = AsrModel(name=self._service.settings.model_id, description="Whisper", languages=languages, **shared)
        program = AsrProgram(
            name="whisper_apr",
            description="Whisper on a CPU",
            models=[model],
            supports_transcript_streaming=True,
            **shared,
        )
        return Info(asr=[program])

    def _checked(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that a `transcribe` event asks for. Raises ApiError or OptionError."""
        options: dict[str, Any] = {}
        if data.get("name"):
            self._service.checker.check_model_id(str(data["name"]))
        if data.get("language"):
            options["language"] = self._service.checker.language(str(data["language"]))
        words = [*(data.get("transcript_names") or ()), *(data.get("transcript_terms") or ())]
        if words:
            options["hotwords"] = tuple(map(str, words[:MAX_KEYWORDS]))
        return options

    async def _transcribe(self, recording: "Recording") -> None:
        service = self._service
        with service.admission.enter():
            options = {**service.settings.decoding, "task": "transcribe", **self._options}
            job = Job(recording.finish(), options)
            try:
                async with asyncio.timeout(service.settings.timeout):
                    await unless_left(self._until_left(), self._answer(job))
            except TimeoutError:
                raise ApiError(504, f"the request took more than {service.settings.timeout:g} s") from None
            except JobCancelled:
                raise ApiError(503, "the server is being stopped") from None
            finally:
                job.cancel()

    async def _until_left(self) -> None:
        """Return when the client has left."""
        while not self._reader.at_eof():
            await asyncio.sleep(POLL)

    async def _answer(self, job: Job) -> None:
        self._service.scheduler.submit(job)
        await self._write(TranscriptStart(language=job.options.get("language")))
        is_first = True
        async for event in job.events():
            if isinstance(event, Decoded):
                text = "".join(segment.text for segment in event.segments)
                text, is_first = without_leading_space(text, is_first)
                if text:
                    await self._write(TranscriptChunk(text))
            elif isinstance(event, Transcription):
                await self._write(Transcript(event.text.strip(), language=event.language))
                await self._write(TranscriptStop())


class Recording:
    """Samples that arrive in chunks, as a WAV file in memory or in a temporary file."""

    def __init__(self, data: Mapping[str, Any], max_bytes: int) -> None:
        """Begin a recording.

        Args:
            data: Of the event: rate in Hz, width in bytes, number of channels.
            max_bytes: Most bytes of samples.

        Raises:
            ApiError: The event has not such numbers.
        """
        limits = {"rate": (1000, 768_000), "width": (1, 4), "channels": (1, 32)}
        for name, (low, high) in limits.items():
            value = data.get(name)
            if not isinstance(value, int) or not low <= value <= high:
                raise bad_parameter(name, f"{name} of the audio must be from {low} to {high}, not {str(value)[:100]}")
        self._left = max_bytes
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY)  # noqa: SIM115  # closed by `close`
        self._wav = wave.open(self._file, "wb")  # noqa: SIM115  # closed by `finish`
        self._wav.setparams((data["channels"], data["width"], data["rate"], 0, "NONE", "not compressed"))

    def write(self, samples: bytes) -> None:
        """Append samples. Raises ApiError if the recording is too long."""
        self._left -= len(samples)
        if self._left < 0:
            raise ApiError(413, "the recording is too long", code="request_too_large")
        self._wav.writeframesraw(samples)

    def finish(self) -> Any:
        """Return the file, positioned at its beginning."""
        self._wav.close()
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Remove the file."""
        with suppress(wave.Error):  # nothing was written
            self._wav.close()
        self._file.close()
