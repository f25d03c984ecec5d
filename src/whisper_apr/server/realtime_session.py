"""A realtime transcription session of OpenAI's API: events of the client in, events of the server out.

Each utterance is an item of the conversation. Its settled words are sent as deltas while it is spoken, and at its end
come `input_audio_buffer.committed`, `conversation.item.added` and the completed transcript. Utterances end at pauses
with the turn detection `server_vad`, otherwise at the client's `input_audio_buffer.commit`.
"""

import base64
import binascii
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ..errors import OptionError
from ..inference.live import LiveText
from ..inference.results import Word
from .errors import ApiError, bad_parameter
from .live_audio import LiveStream, LiveStreams
from .parameters import Checker
from .realtime_config import RATE, SessionConfig, updated, updated_beta

BYTES_PER_SECOND = 2 * RATE

_TRANSCRIPTION = "conversation.item.input_audio_transcription"

Send = Callable[[dict[str, Any]], Awaitable[None]]


class _Item:
    """An utterance whose text is not complete yet."""

    def __init__(self, start: float) -> None:
        self.id = f"item_{secrets.token_hex(8)}"
        self.start = start  # seconds of the session
        self.text = ""


class RealtimeSession:
    """A session. `begin` it, and pass the client's events to `handle`."""

    def __init__(self, checker: Checker, streams: LiveStreams, send: Send, *, is_beta: bool = False) -> None:
        """Make a session.

        Args:
            checker: Knows the model.
            streams: Opens live streams.
            send: Sends an event to the client.
            is_beta: The client uses the earlier form of the API until it says otherwise.
        """
        self._id = f"sess_{secrets.token_hex(8)}"
        self._checker = checker
        self._streams = streams
        self._send = send
        self._n_event = 0
        self._config = SessionConfig({"model": checker.model_id}, is_beta=is_beta)
        self._stream: LiveStream | None = None  # None before the first samples, and after a commit
        self._n_byte = 0  # received in the session
        self._stream_start = 0  # value of _n_byte when the stream began
        self._item: _Item | None = None
        self._last_item: str | None = None

    async def begin(self) -> None:
        """Send the first event."""
        await self._send_session("created")

    async def handle(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Handle events of the client in their order. Samples that follow each other are transcribed together."""
        samples: list[bytes] = []
        for event in events:
            try:
                if event.get("type") == "input_audio_buffer.append":
                    samples.append(_samples(event))
                    continue
                await self._push(samples)
                samples = []
                await self._handle(event)
            except (ApiError, OptionError) as error:
                await self.fail(error, event)
        await self._push(samples)

    async def fail(self, error: ApiError | OptionError, event: Mapping[str, Any]) -> None:
        """Send an error that an event of the client caused. The session goes on."""
        shown = error if isinstance(error, ApiError) else ApiError(400, str(error))
        event_id = event.get("event_id")
        await self._emit("error", error=shown.as_json()["error"] | {"event_id": event_id})

    async def _handle(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "session.update":
                await self._update(updated(self._config, event.get("session"), self._checker))
            case "transcription_session.update":
                await self._update(updated_beta(self._config, event.get("session"), self._checker))
            case "input_audio_buffer.commit":
                await self._commit()
            case "input_audio_buffer.clear":
                self._stream = self._item = None
                await self._emit("input_audio_buffer.cleared")
            case other:
                raise ApiError(400, f"unknown event {str(other)[:100]!r} in a transcription session", param="type")

    # ---- settings --------------------------------------------------------------------------------------------------

    async def _update(self, config: SessionConfig) -> None:
        if self._stream is not None and config.live_options() != self._config.live_options():
            await self._finish()
        self._config = config
        await self._send_session("updated")

    async def _send_session(self, what: str) -> None:
        prefix = "transcription_session" if self._config.is_beta else "session"
        await self._emit(f"{prefix}.{what}", session=self._config.as_json(self._id))

    # ---- audio -----------------------------------------------------------------------------------------------------

    async def _push(self, parts: Sequence[bytes]) -> None:
        data = b"".join(parts)
        if not data:
            return
        if self._stream is None:
            self._stream = self._streams.open(sampling_rate=RATE, **self._config.live_options())
            self._stream_start = self._n_byte
        self._n_byte += len(data)
        await self._report(await self._stream.push(data, "s16le", RATE))

    async def _commit(self) -> None:
        if self._stream is None:
            message = "the audio buffer is empty; append samples before you commit them"
            raise ApiError(400, message, code="input_audio_buffer_commit_empty")
        await self._finish()

    async def _finish(self) -> None:
        """Transcribe the rest of the stream. Its text since the last item is an item, even if it is empty."""
        assert self._stream is not None
        n_before = self._last_item
        await self._report(await self._stream.finish())
        if self._item is not None or self._last_item == n_before:
            await self._complete(self._n_byte / BYTES_PER_SECOND)
        self._stream = None

    async def _report(self, text: LiveText) -> None:
        """Send the events of the words and utterances that are new."""
        words, at = text.settled, 0
        if self._config.turn_detection is not None:
            for utterance in text.ended:
                await self._start(utterance.start)
                await self._add(words[at : utterance.n_settled])
                at = utterance.n_settled
                end = self._seconds(utterance.end)
                assert self._item is not None
                await self._emit(
                    "input_audio_buffer.speech_stopped", audio_end_ms=round(1000 * end), item_id=self._item.id
                )
                await self._complete(end)
            since = self._stream.speaking_since if self._stream is not None else None
            if since is not None:
                await self._start(since)
        await self._add(words[at:])

    def _seconds(self, of_stream: float) -> float:
        """Convert seconds of the stream to seconds of the session."""
        return self._stream_start / BYTES_PER_SECOND + of_stream

    # ---- items -----------------------------------------------------------------------------------------------------

    async def _start(self, seconds: float) -> None:
        """Begin an item, unless one has begun."""
        if self._item is None:
            self._item = _Item(self._seconds(seconds))
            start = round(1000 * self._item.start)
            await self._emit("input_audio_buffer.speech_started", audio_start_ms=start, item_id=self._item.id)

    async def _add(self, words: Sequence[Word]) -> None:
        """Add words to the current item."""
        if not words:
            return
        self._item = self._item or _Item(self._stream_start / BYTES_PER_SECOND)
        delta = "".join(word.word for word in words)
        if not self._item.text:
            delta = delta.lstrip()
        self._item.text += delta
        await self._emit(f"{_TRANSCRIPTION}.delta", item_id=self._item.id, content_index=0, delta=delta)

    async def _complete(self, end: float) -> None:
        """End the current item, at a second of the session."""
        item = self._item or _Item(self._stream_start / BYTES_PER_SECOND)
        previous, self._last_item, self._item = self._last_item, item.id, None
        await self._emit("input_audio_buffer.committed", item_id=item.id, previous_item_id=previous)
        content = [{"type": "input_audio", "transcript": None}]
        message = {"id": item.id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user"}
        name = "conversation.item.created" if self._config.is_beta else "conversation.item.added"
        await self._emit(name, item=message | {"content": content}, previous_item_id=previous)
        usage = {"type": "duration", "seconds": round(max(0.0, end - item.start), 3)}
        await self._emit(
            f"{_TRANSCRIPTION}.completed", item_id=item.id, content_index=0, transcript=item.text.strip(), usage=usage
        )

    async def _emit(self, kind: str, **fields: Any) -> None:
        self._n_event += 1
        await self._send({"type": kind, "event_id": f"event_{self._id[5:]}_{self._n_event}", **fields})


def _samples(event: Mapping[str, Any]) -> bytes:
    audio = event.get("audio")
    try:
        data = base64.b64decode(audio, validate=True) if isinstance(audio, str) else None
    except (ValueError, binascii.Error):
        data = None
    if data is None or len(data) % 2:
        raise bad_parameter("audio", "audio must be base64 of whole 16-bit samples")
    return data
