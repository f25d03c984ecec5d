"""The Python side of the browser's worker (static/worker.js): a model that is downloaded in pieces, and its results.

The worker puts a piece of the model's file into `Session.buffer` and calls `feed`, until the file is complete; then it
calls `open` once, and `transcribe` and `write` as often as it likes. Live audio is transcribed by `start_live`, then
`push_live` with each piece of it, then `finish_live`. `load_speakers` is called before the first transcription that
tells speakers apart.
"""

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..audio import SAMPLE_RATE, AudioReader, ReadingOptions
from ..errors import FormatError, OptionError, WhisperAprError
from ..formats.apr import AprStream
from ..inference.live import LiveText, LiveTranscriber
from ..inference.results import Segment, Transcription
from ..option_values import parse
from ..output import write
from ..recognizer import Recognizer
from ..simd import FloatArray
from ..speakers.turns import SPEAKERS, Turn
from ..tokenizer import LANGUAGES

if TYPE_CHECKING:
    from ..speakers.diarization import Diarizer

PIECE = 64 << 10  # most bytes of the model's file that the worker feeds at a time
_FLOATS = frozenset(
    {"start", "end", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob", "probability"}
)


class Cancelled(WhisperAprError):
    """The page cancelled the transcription."""


def _with_floats(value: Any) -> Any:
    """Return nested dictionaries and lists with floats in the fields that hold them: JavaScript's 1.0 arrives as 1."""
    if isinstance(value, Mapping):
        return {key: float(v) if key in _FLOATS and isinstance(v, int) else _with_floats(v) for key, v in value.items()}
    return [_with_floats(each) for each in value] if isinstance(value, list | tuple) else value


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
        self._live: LiveTranscriber | None = None
        self._diarizer: Diarizer | None = None
        self._is_cancelled: Callable[[], bool] = lambda: False  # of the current call

    def feed(self, n: int) -> None:
        """Read the next `n` bytes of the model's file from the start of `buffer`.

        Raises:
            FormatError: The file is damaged.
            MemoryError: Its data do not fit into memory. The worker then tries again without shared memory.
        """
        try:
            self._stream.feed(memoryview(self.buffer)[:n])
        except FormatError as error:
            if isinstance(error.__cause__, MemoryError):
                raise MemoryError(str(error)) from error
            raise

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
        languages = [(code, LANGUAGES[code]) for code in self._model.languages] if self._model.is_multilingual else []
        return {"multilingual": self._model.is_multilingual, "languages": languages}

    def load_speakers(self, archive: Any, source: str) -> None:
        """Take the weights by which speakers are told apart.

        Args:
            archive: The bytes of a wheel of the package whisper-apr-speakers, or of a zip archive of its files.
            source: Its URL, for error messages.

        Raises:
            FormatError: The archive is damaged, or has other files.
        """
        from ..speakers.weight_files import read_archive  # not earlier, because few visits need it

        data = archive.to_py() if hasattr(archive, "to_py") else archive  # from a JavaScript buffer
        self._diarizer = read_archive(io.BytesIO(data), source)

    def transcribe(
        self,
        samples: Any,
        options: dict[str, Any],
        on_segment: Callable[[dict[str, Any]], None],
        on_progress: Callable[[float, float], None],
        on_speakers: Callable[[float, float], None],
        is_cancelled: Callable[[], bool],
    ) -> dict[str, Any]:
        """Transcribe a recording.

        Args:
            samples: Mono samples at 16 kHz, `(n,)`.
            options: Options of `whisper_apr.transcribe`.
            on_segment: Called with each final segment, as a dictionary.
            on_progress: Called with the seconds that are done, and all seconds.
            on_speakers: The same for the option `speakers`, while they are found, which comes first.
            is_cancelled: Called before each token; if it returns True, the transcription ends.

        Returns:
            The transcription as a dictionary.

        Raises:
            Cancelled: `is_cancelled` returned True.
            OptionError: An option is unknown or has a value that is not allowed.
            AudioError: The samples are not finite numbers.
            WhisperAprError: No model is open.
        """
        model = self._opened()
        self._is_cancelled = is_cancelled
        samples = np.asarray(samples, np.float32)
        if "speakers" in options:
            options = {**options, "speakers": self._find_speakers(samples, options["speakers"], on_speakers)}

        def segment_done(segment: Segment) -> None:
            on_segment(segment.to_dict())

        self._result = model.transcribe(
            samples,
            on_segment=segment_done,
            on_progress=lambda progress: on_progress(progress.done, progress.total),
            check_cancelled=self._check_cancelled,
            **options,
        )
        return self._result.to_dict()

    def _find_speakers(
        self, samples: FloatArray, value: Any, on_progress: Callable[[float, float], None]
    ) -> tuple[Turn, ...] | None:
        """Return the turns that the option `speakers` gives, or asks for."""
        speakers = parse("speakers", SPEAKERS, value)
        if speakers is None or isinstance(speakers, tuple):
            return speakers
        if isinstance(speakers, Mapping):
            raise OptionError("speakers must be True, a number of speakers, or turns, but not known voices")
        if self._diarizer is None:
            raise WhisperAprError("the weights that tell speakers apart were not loaded; call load_speakers first")
        total = len(samples) / SAMPLE_RATE
        on_progress(0.0, total)
        found = self._diarizer(
            AudioReader(samples, ReadingOptions()).blocks(allow_empty=True),
            *(() if speakers is True else (speakers, speakers)),
            on_progress=lambda seconds: on_progress(min(seconds, total), total),
            check_cancelled=self._check_cancelled,
        )
        on_progress(total, total)
        return found.turns

    def start_live(self, options: dict[str, Any]) -> None:
        """Prepare to transcribe live audio; what was started before is forgotten.

        Args:
            options: Options of `whisper_apr.LiveTranscriber`.

        Raises:
            OptionError: An option is unknown or has a value that is not allowed.
            WhisperAprError: No model is open.
        """
        self._live = LiveTranscriber(self._opened(), check_cancelled=self._check_cancelled, **options)

    def push_live(self, samples: Any, is_cancelled: Callable[[], bool]) -> dict[str, Any]:
        """Take the next samples of live audio.

        Args:
            samples: Mono samples `(n,)` at the rate that `start_live` was given.
            is_cancelled: Called before each token; if it returns True, this call ends.

        Returns:
            `settled` and `tentative`, lists of words as dictionaries. See `whisper_apr.LiveText`.

        Raises:
            Cancelled: `is_cancelled` returned True.
            AudioError: The samples are not finite numbers.
            WhisperAprError: Nothing was started.
        """
        self._is_cancelled = is_cancelled
        return _live_words(self._started().push(np.asarray(samples, np.float32)))

    def finish_live(self, is_cancelled: Callable[[], bool]) -> dict[str, Any]:
        """Return the remaining words of live audio, as `push_live` does. Nothing may be pushed afterwards."""
        self._is_cancelled = is_cancelled
        live, self._live = self._started(), None
        return _live_words(live.finish())

    def _opened(self) -> Recognizer:
        if self._model is None:
            raise WhisperAprError("no model is open; load one first")
        return self._model

    def _started(self) -> LiveTranscriber:
        if self._live is None:
            raise WhisperAprError("no live transcription was started; call start_live first")
        return self._live

    def _check_cancelled(self) -> None:
        if self._is_cancelled():
            raise Cancelled("the transcription was cancelled")

    def write(self, format: str, transcription: Mapping[str, Any] | None = None) -> str:
        """Return a transcription as the text of a file.

        Args:
            format: txt, srt, vtt, tsv, json, csv, lrc, md, ass, rttm or textgrid.
            transcription: A dictionary as `transcribe` returns it, perhaps with corrections; None for the last
                transcription.

        Returns:
            The text.

        Raises:
            OptionError: The format is unknown, or the transcription lacks a field that it needs.
            WhisperAprError: Nothing was transcribed yet.
        """
        result = self._result if transcription is None else _with_floats(transcription)
        if result is None:
            raise WhisperAprError("nothing has been transcribed yet; transcribe a recording first")
        file = io.StringIO()
        write(result, format, file)
        return file.getvalue()


def _live_words(text: LiveText) -> dict[str, Any]:
    return {name: [word.to_dict() for word in getattr(text, name)] for name in ("settled", "tentative")}
