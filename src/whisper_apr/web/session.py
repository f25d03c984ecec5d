"""The Python side of the browser's worker (static/worker.js): a model that is downloaded in pieces, and its results.

The worker puts a piece of the model's file into `Session.buffer` and calls `feed`, until the file is complete; then it
calls `open` once, and `transcribe` and `write` as often as it likes.
"""

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

PIECE = 64 << 10  # most bytes of the model's file that the worker feeds at a time


class Cancelled(WhisperAprError):
    """The page cancelled the transcription."""


class Session:
    """A model in the browser, and the last transcription made with it.

    Attributes:
        buffer: PIECE bytes, into which the worker writes the next piece of the model's file.
    """

    def __init__(self, source: str) -> None:
        """Prepare to read a model.

        Args:
            source: The name or URL of the model's file, for error messages.
        """
        self.buffer = bytearray(PIECE)
        self._stream = AprStream(source)
        self._model: Recognizer | None = None
        self._result: Transcription | None = None

    def feed(self, n: int) -> None:
        """Read the next `n` bytes of the model's file from the start of `buffer`. Raises FormatError if damaged."""
        self._stream.feed(memoryview(self.buffer)[:n])

    def open(self) -> dict[str, Any]:
        """Create the model, once the whole file was fed.

        Returns:
            `multilingual`, a bool, and `languages`, a list of (code, name), empty for an English-only model.

        Raises:
            FormatError: The file is incomplete.
        """
        self._stream.finish()
        self._model = Recognizer(self._stream.checkpoint)
        _ = self._model.decoder  # built now, so that the first transcription does not wait for it
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
        """Transcribe a recording.

        Args:
            samples: Mono samples at 16 kHz, `(n,)`.
            options: Options of `whisper_apr.transcribe`.
            on_segment: Called with each final segment, as a dictionary.
            on_progress: Called with the seconds that are done, and all seconds.
            is_cancelled: Called before each token; if it returns True, the transcription ends.

        Returns:
            The transcription as a dictionary.

        Raises:
            Cancelled: `is_cancelled` returned True.
            OptionError: An option is unknown or has a value that is not allowed.
            AudioError: The samples are not finite numbers.
            WhisperAprError: No model is open.
        """
        if self._model is None:
            raise WhisperAprError("no model is open; load one first")

        def check_cancelled() -> None:
            if is_cancelled():
                raise Cancelled("the transcription was cancelled")

        def segment_done(segment: Segment) -> None:
            on_segment(segment.to_dict())

        self._result = self._model.transcribe(
            np.asarray(samples, np.float32),
            on_segment=segment_done,
            on_progress=lambda progress: on_progress(progress.done, progress.total),
            check_cancelled=check_cancelled,
            **options,
        )
        return self._result.to_dict()

    def write(self, format: str) -> str:
        """Return the last transcription as the text of a file.

        Args:
            format: txt, srt, vtt, tsv, json, csv, lrc, md or ass.

        Returns:
            The text.

        Raises:
            OptionError: The format is unknown.
            WhisperAprError: Nothing was transcribed yet.
        """
        if self._result is None:
            raise WhisperAprError("nothing has been transcribed yet; transcribe a recording first")
        file = io.StringIO()
        write(self._result, format, file)
        return file.getvalue()
