"""What the browser's worker (static/worker.js) asks of Python: a model that is fed as it comes, and one transcription at a time."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import WhisperAprError
from ..formats.apr import AprStream
from ..inference.results import Segment, Transcription
from ..output import write
from ..recognizer import Recognizer
from ..tokenizer import LANGUAGES

PIECE = 64 << 10  # bytes that the worker hands over at a time


class Cancelled(WhisperAprError):
    """The page asked for an end."""


class Session:
    """A model, from its first byte to its last transcription."""

    def __init__(self, where: str) -> None:
        self.buffer = bytearray(PIECE)  # where the worker puts the next piece
        self._stream = AprStream(where)
        self._model: Recognizer | None = None
        self._result: Transcription | None = None

    def feed(self, n: int) -> None:
        """Take the first n bytes of `buffer`, the next of the model's file. Raises FormatError where they are damaged."""
        self._stream.feed(memoryview(self.buffer)[:n])

    def open(self) -> dict[str, Any]:
        """Make the model of what has come, which must be all of it, and tell what it is."""
        self._stream.finish()
        self._model = Recognizer(self._stream.checkpoint)
        _ = self._model.decoder
        languages = list(LANGUAGES.items())[: self._model.num_languages] if self._model.is_multilingual else []
        return {"multilingual": self._model.is_multilingual, "languages": languages}

    def transcribe(
        self,
        samples: Any,
        options: dict[str, Any],
        on_segment: Callable[[dict[str, Any]], None],
        on_progress: Callable[[float, float], None],
        is_cancelled: Callable[[], bool],
    ) -> dict[str, Any]:
        """Transcribe mono samples at 16 kHz. `is_cancelled` is asked before each token; Cancelled is raised where it says so."""
        if self._model is None:
            raise WhisperAprError("no model is open; load one first")

        def check_cancelled() -> None:
            if is_cancelled():
                raise Cancelled("the transcription was cancelled")

        def settled(segment: Segment) -> None:
            on_segment(segment.to_dict())

        self._result = self._model.transcribe(
            np.asarray(samples, np.float32),
            on_segment=settled,
            on_progress=lambda progress: on_progress(progress.done, progress.total),
            check_cancelled=check_cancelled,
            **options,
        )
        return self._result.to_dict()

    def write(self, format: str) -> str:
        """The last transcription as txt, srt, vtt and so on."""
        if self._result is None:
            raise WhisperAprError("nothing has been transcribed yet")
        file = io.StringIO()
        write(self._result, format, file)
        return file.getvalue()
