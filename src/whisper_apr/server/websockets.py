"""The WebSockets: OpenAI's realtime transcription sessions, and plain samples for words."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from ..errors import AudioError, OptionError
from ..inference.live import LiveText
from ..inference.results import Word
from .endpoints import Service
from .errors import ApiError, bad_parameter
from .jobs import JobCancelled
from .live_audio import SAMPLE_BYTES, Inbox, LiveStream, LiveStreams
from .realtime_session import RealtimeSession

SUBPROTOCOL = "realtime"  # OpenAI's clients in a browser ask for it

# codes of RFC 6455, section 7.4.1
NORMAL, GOING_AWAY, UNSUPPORTED, POLICY, FAILED = 1000, 1001, 1003, 1008, 1011


class LiveSockets:
    """The endpoints of live sessions."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def realtime(self, socket: WebSocket) -> None:
        """Run a realtime transcription session of OpenAI's API."""
        try:
            self._check_intent(socket.query_params)
            with self._service.live.session() as streams:
                offered = socket.scope.get("subprotocols", ())
                await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
                is_beta = "realtime=v1" in socket.headers.get("openai-beta", "")
                session = RealtimeSession(self._service.checker, streams, socket.send_json, is_beta=is_beta)
                await _served(socket, self._converse(socket, session, streams))
        except ApiError as error:
            await socket.send_denial_response(error.response())

    def _check_intent(self, query: Mapping[str, str]) -> None:
        """Raise ApiError if the client does not want a transcription session."""
        if "model" in query:
            self._service.checker.check_model_id(query["model"])
        if query.get("intent", "transcription" if "model" in query else "") != "transcription":
            raise bad_parameter(
                "intent", "this server has transcription sessions only; connect with intent=transcription"
            )

    async def _converse(self, socket: WebSocket, session: RealtimeSession, streams: LiveStreams) -> None:
        await session.begin()
        async with Inbox(lambda: _received(socket, streams)).filling() as inbox:
            while True:
                messages = await inbox.take()
                await session.handle([_object(message) for message in messages if message is not None])
                if None in messages:
                    return

    async def live(self, socket: WebSocket) -> None:
        """Transcribe raw samples: binary messages in, settled and tentative words out as JSON.

        The text message "end" asks for the last words, after which the connection is closed.
        """
        try:
            with self._service.live.session() as streams:
                options = _live_options(socket.query_params)
                try:
                    stream = streams.open(sampling_rate=options["rate"], **options["decoding"])
                except OptionError as error:
                    raise ApiError(400, str(error)) from None
                await socket.accept()
                await _served(socket, _words(socket, stream, options, streams))
        except ApiError as error:
            await socket.send_denial_response(error.response())


async def _served(socket: WebSocket, work: Any) -> None:
    """Await `work`, and close the connection; errors are sent before that."""
    code, reason = NORMAL, ""
    try:
        await work
    except (WebSocketDisconnect, OSError):
        return  # the client left
    except JobCancelled:
        code, reason = GOING_AWAY, "the server is being stopped"
    except AudioError as error:
        code, reason = UNSUPPORTED, str(error)
    except Exception:
        code, reason = FAILED, "the server failed; its log has the reason"
        raise
    finally:
        if socket.application_state.name == socket.client_state.name == "CONNECTED":
            await socket.close(code, reason[:120])  # a frame holds 123 bytes


async def _received(socket: WebSocket, streams: LiveStreams) -> str | bytes | None:
    """Return the next message, or None if the client has left; then its work is cancelled."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        streams.is_cancelled = True
        return None
    data: str | bytes | None = message.get("bytes")
    return data if data is not None else str(message.get("text", ""))


def _object(line: str | bytes) -> Mapping[str, Any]:
    """Parse a JSON object; anything else is an event without a type."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    return event if isinstance(event, dict) else {}


# ---- plain samples --------------------------------------------------------------------------------------------------


def _live_options(query: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that a URL's query asks for. Raises ApiError."""
    kinds: dict[str, Any] = {"rate": float, "format": str, "language": str, "task": str, "prompt": str, "step": float}
    given: dict[str, Any] = {"rate": 16_000.0, "format": "s16le"}
    for name, value in query.items():
        if name not in kinds:
            raise bad_parameter(name[:100], f"unknown parameter {name[:100]!r}; there are {', '.join(kinds)}")
        try:
            given[name] = kinds[name](value)
        except ValueError:
            raise bad_parameter(name, f"{name} must be a number, not {value[:100]!r}") from None
    if given["format"] not in SAMPLE_BYTES:
        raise bad_parameter("format", f"format must be {' or '.join(SAMPLE_BYTES)}, not {given['format'][:100]!r}")
    names = {"language": "language", "task": "task", "prompt": "initial_prompt", "step": "step"}
    return {
        "rate": given["rate"],
        "format": given["format"],
        "decoding": {option: given[name] for name, option in names.items() if name in given},
    }


def _word(word: Word) -> dict[str, Any]:
    return {"word": word.word, "start": word.start, "end": word.end, "probability": word.probability}


async def _words(socket: WebSocket, stream: LiveStream, options: Mapping[str, Any], streams: LiveStreams) -> None:
    """Send the words of the samples that arrive, until the message "end"."""
    before: list[dict[str, Any]] = []

    async def send(text: LiveText, **more: Any) -> None:
        nonlocal before
        tentative = list(map(_word, text.tentative))
        if text.settled or tentative != before or more:
            before = tentative
            await socket.send_json({"settled": list(map(_word, text.settled)), "tentative": tentative, **more})

    size, rest = SAMPLE_BYTES[options["format"]], b""
    async with Inbox(lambda: _received(socket, streams)).filling() as inbox:
        has_ended = False
        while not has_ended:
            messages = await inbox.take()
            data = rest + b"".join(message for message in messages if isinstance(message, bytes))
            whole = len(data) // size * size
            rest = data[whole:]
            if whole:
                await send(await stream.push(data[:whole], options["format"], options["rate"]))
            has_ended = not {"end", None}.isdisjoint(messages)
    await send(await stream.finish(), final=True)
