"""Results in the formats of OpenAI's audio API, and server-sent events."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from string import ascii_uppercase
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from ..inference.results import Segment, Transcription
from ..tokenizer import LANGUAGES
from .errors import ApiError
from .jobs import Decoded
from .logprobs import TokenLogprob
from .parameters import TranscriptionRequest

_SEGMENT_ITEMS = (
    *("id", "seek", "start", "end", "text", "tokens", "temperature"),
    *("avg_logprob", "compression_ratio", "no_speech_prob"),
)


def _as_json(value: Any) -> Any:
    """Return a number as JSON can hold it: 0 in place of NaN and infinity."""
    return value if not isinstance(value, float) or math.isfinite(value) else 0.0


def _logprobs_json(logprobs: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    return [{"token": each.token, "bytes": list(each.data), "logprob": each.logprob} for each in logprobs]


def _usage(result: Transcription) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(result.duration)}


def _json(result: Transcription, request: TranscriptionRequest, logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
    """Return the body of `json`, which is also that of the last event of a stream."""
    body: dict[str, Any] = {"text": result.text.strip()}
    if "languages" in request.options:
        body["languages"] = [{"code": result.language}]
    if request.with_logprobs:
        body["logprobs"] = _logprobs_json(logprobs)
    return body | {"usage": _usage(result)}


def _verbose_json(result: Transcription, request: TranscriptionRequest) -> dict[str, Any]:
    language = "en" if request.task == "translate" else result.language
    body: dict[str, Any] = {
        "task": request.task,
        "language": LANGUAGES.get(language, language),
        "duration": result.duration,
        "text": result.text.strip(),
    }
    if "segment" in request.granularities:
        body["segments"] = [{key: _as_json(segment[key]) for key in _SEGMENT_ITEMS} for segment in result.segments]
    if "word" in request.granularities:
        body["words"] = [{"word": each.word.strip(), "start": each.start, "end": each.end} for each in result.words]
    if result.dropped is not None:
        body["dropped"] = [{key: _as_json(value) for key, value in each.items()} for each in result.dropped]
    return body | {"usage": _usage(result)}


def _speaker_label(speaker: str | None) -> str:
    """Return a speaker's name in OpenAI's API: A, B, ... Z, AA, AB, ... for speakers that are not known."""
    match = re.fullmatch(r"SPEAKER_(\d+)", speaker or "")
    if not match:
        return speaker or "unknown"
    number, letters = int(match[1]) + 1, ""
    while number:
        number, letter = divmod(number - 1, 26)
        letters = ascii_uppercase[letter] + letters
    return letters


def _speaker_segments(segments: Iterable[Segment]) -> list[dict[str, Any]]:
    return [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{segment.id}",
            "start": segment.start,
            "end": segment.end,
            "text": segment.text.strip(),
            "speaker": _speaker_label(segment.speaker),
        }
        for segment in segments
    ]


def _diarized_json(result: Transcription) -> dict[str, Any]:
    return {
        "task": "transcribe",
        "duration": result.duration,
        "text": result.text.strip(),
        "segments": _speaker_segments(result.segments),
        "usage": _usage(result),
    }


def response(result: Transcription, request: TranscriptionRequest, logprobs: Sequence[TokenLogprob]) -> Response:
    """Return a transcription in the format that a request asks for."""
    match request.response_format:
        case "text":
            return PlainTextResponse(result.text.strip() + "\n")
        case "srt":
            return Response(result.to_srt(), media_type="application/x-subrip; charset=utf-8")
        case "vtt":
            return Response(result.to_vtt(), media_type="text/vtt; charset=utf-8")
        case "verbose_json":
            return JSONResponse(_verbose_json(result, request))
        case "diarized_json":
            return JSONResponse(_diarized_json(result))
    return JSONResponse(_json(result, request, logprobs))


# ---- server-sent events ---------------------------------------------------------------------------------------------


def without_leading_space(text: str, is_first: bool) -> tuple[str, bool]:
    """Return a part of a text, without leading space if no text came before, and whether that still holds."""
    text = text.lstrip() if is_first else text
    return text, is_first and not text


def _event(body: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(body, ensure_ascii=False, allow_nan=False)}\n\n".encode()


class EventWriter:
    """Writes a transcription as server-sent events: a text's parts as they are decoded, and then the whole text."""

    def __init__(self, request: TranscriptionRequest) -> None:
        self._request = request
        self._is_first = True
        self._logprobs: list[TokenLogprob] = []

    def delta(self, decoded: Decoded) -> bytes:
        """Return the events for the next segments. The deltas, joined, are the whole text."""
        self._logprobs += decoded.logprobs
        text = "".join(segment.text for segment in decoded.segments)
        text, self._is_first = without_leading_space(text, self._is_first)
        if not text:
            return b""
        body: dict[str, Any] = {"type": "transcript.text.delta", "delta": text}
        if self._request.with_logprobs:
            body["logprobs"] = _logprobs_json(decoded.logprobs)
        events = _event(body)
        if self._request.response_format == "diarized_json":
            events += b"".join(map(_event, _speaker_segments(decoded.segments)))
        return events

    def done(self, result: Transcription) -> bytes:
        """Return the last event, which has all that the whole response would have."""
        if self._request.response_format == "verbose_json":
            body = _verbose_json(result, self._request)
        elif self._request.response_format == "diarized_json":
            body = _diarized_json(result)
        else:
            body = _json(result, self._request, self._logprobs)
        return _event({"type": "transcript.text.done", **body})

    @staticmethod
    def error(error: ApiError) -> bytes:
        """Return the event for an error after the first event."""
        return _event(error.as_json())
