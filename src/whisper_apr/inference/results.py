"""The results of a transcription. All times are seconds from the beginning of the recording."""

import io
from collections.abc import Iterator, KeysView
from dataclasses import Field, asdict, dataclass
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from ..errors import OptionError
from ..output import FORMATS, LineOptions, format_timestamp, write
from ..output.writers import write_file

REPR_LENGTH = 60  # characters of the text in a transcription's repr


class _Record:
    """Access to fields as attributes and, as in openai-whisper's dictionaries, by key.

    The keys that are listed are those of `to_dict`, which are openai-whisper's.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __getitem__(self, key: str) -> Any:
        if key not in self.__dataclass_fields__:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def keys(self) -> KeysView[str]:
        """Return the keys of `to_dict`."""
        return dict.fromkeys(name for name in self.__dataclass_fields__ if getattr(self, name) is not None).keys()

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a field; `default` if it is None or there is no such field."""
        value = getattr(self, key) if key in self.__dataclass_fields__ else None
        return default if value is None else value

    def to_dict(self) -> dict[str, Any]:
        """Return nested dictionaries and lists of plain values, without the fields that are None."""
        return asdict(self, dict_factory=lambda pairs: {k: v for k, v in pairs if v is not None})


@dataclass(frozen=True)
class Progress:
    """How far a transcription has come, in seconds of the recording.

    Attributes:
        done: Seconds transcribed so far.
        total: Seconds of the whole recording.
    """

    done: float
    total: float


@dataclass(frozen=True)
class Word(_Record):
    """A word with its times, as `word_timestamps=True` finds them.

    Attributes:
        word: The text, including the space before it if there is one.
        start: Seconds at which the word begins.
        end: Seconds at which the word ends.
        probability: Mean probability of the word's tokens, 0 to 1.
        speaker: Number of the word's channel, as text, for `channel="each"`; otherwise None.
    """

    word: str
    start: float
    end: float
    probability: float
    speaker: str | None = None


@dataclass(frozen=True)
class Segment(_Record):
    """A stretch of a recording with its text. The fields are openai-whisper's, except `language` and `speaker`.

    Attributes:
        id: Number of the segment, from 0.
        seek: First frame of the segment's 30 s window; a frame is 10 ms.
        start: Seconds at which the segment begins.
        end: Seconds at which the segment ends.
        text: The text, usually beginning with a space.
        tokens: Tokens of the text, including timestamp tokens.
        temperature: Temperature at which the window was decoded; 0 is without sampling.
        avg_logprob: Mean log-probability of the window's tokens.
        compression_ratio: Length of the window's text divided by its length after zlib compression. Repetitive text
            has a high ratio.
        no_speech_prob: Probability that nobody speaks in the window, 0 to 1.
        words: Words with their times, or None without `word_timestamps`.
        language: Language code of the window if it can differ from the recording's (`multilingual=True`, or
            `channel="each"` with channels in different languages); otherwise None.
        speaker: Number of the segment's channel, from 0, as text, for `channel="each"`; otherwise None.
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] | None = None
    language: str | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class Transcription(_Record):
    """The text of a recording.

    `to_dict()` returns openai-whisper's dictionary: text, segments and language only.

    Attributes:
        text: The text of all segments.
        segments: The segments in order.
        language: Language code, for example "en".
        duration: Length of the recording in seconds; 0 in a result that was made without one.
        language_probability: Probability of `language`, 0 to 1; 1 if the language was given or the model knows English
            only.
    """

    text: str
    segments: tuple[Segment, ...]
    language: str
    duration: float = 0.0
    language_probability: float = 1.0

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments; empty without `word_timestamps`."""
        return tuple(word for segment in self.segments for word in segment.words or ())

    def to_dict(self) -> dict[str, Any]:
        """Return openai-whisper's dictionary: text, segments and language. Segments lack fields that are None."""
        return {
            "text": self.text,
            "segments": tuple(segment.to_dict() for segment in self.segments),
            "language": self.language,
        }

    def keys(self) -> KeysView[str]:
        """Return the keys of `to_dict`: text, segments and language."""
        return dict.fromkeys(("text", "segments", "language")).keys()

    def to_srt(self, options: LineOptions | None = None) -> str:
        """Return SubRip subtitles.

        Args:
            options: How to break text into lines and cues; it needs word times.
        """
        return self._rendered("srt", options)

    def to_vtt(self, options: LineOptions | None = None) -> str:
        """Return WebVTT subtitles.

        Args:
            options: How to break text into lines and cues; it needs word times.
        """
        return self._rendered("vtt", options)

    def save(self, path: str | PathLike[str], options: LineOptions | None = None) -> None:
        """Write the transcription to a file, in the format named by the suffix of the path.

        The file is replaced atomically: it is complete, or unchanged. A missing directory is created.

        Args:
            path: File to write. Its suffix is one of .txt, .srt, .vtt, .tsv, .json, .csv, .lrc, .md and .ass.
            options: How to break text into lines and cues in srt, vtt and ass; it needs word times.

        Raises:
            OptionError: The suffix names no format.
            OutputError: The file cannot be written.
        """
        suffix = Path(path).suffix[1:].lower()
        if suffix not in FORMATS:
            known = ", ".join(f".{name}" for name in FORMATS)
            raise OptionError(f"{path}: the suffix must name an output format; use one of {known}")
        write_file(self, suffix, path, options)

    def _rendered(self, format: str, options: LineOptions | None) -> str:
        file = io.StringIO()
        write(self, format, file, options)
        return file.getvalue()

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= REPR_LENGTH else self.text[: REPR_LENGTH - 3] + "..."
        return (
            f"Transcription(text={text!r}, segments={len(self.segments)}, "
            f"language={self.language!r}, duration={self.duration:.2f})"
        )

    def _repr_html_(self) -> str:
        """Return an HTML table of the segments, for notebooks."""
        has_speakers = any(segment.speaker is not None for segment in self.segments)
        names = ["Start", "End", *(["Speaker"] if has_speakers else []), "Text"]
        rows = [[f"<th>{name}</th>" for name in names]]
        for segment in self.segments:
            speaker = [segment.speaker or ""] if has_speakers else []
            values = [format_timestamp(segment.start), format_timestamp(segment.end), *speaker, segment.text.strip()]
            rows.append([f"<td>{escape(value)}</td>" for value in values])
        body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
        caption = f"{escape(self.language)}, {self.duration:.2f} s"
        return f"<table>\n<caption>{caption}</caption>\n{body}\n</table>"
