"""The results of a transcription. All times are seconds from the beginning of the recording.

`Transcription`, `Segment` and `Word` are openai-whisper's dictionaries, with the same keys in the same order, and have
an attribute for each key. What openai-whisper does not return is an attribute only (`Transcription.duration` and
`language_probability`), or a key that exists only if an option asks for it (`speaker` and `language` of a segment).
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from ..errors import OptionError
from ..option_values import parse
from ..option_values import path as a_path
from ..output import FORMATS, LineOptions, format_timestamp, write
from ..output.writers import write_file
from .record import Item, OptionalItem, Record

REPR_LENGTH = 60  # characters of the text in a transcription's repr


@dataclass(frozen=True)
class Progress:
    """How far a transcription has come, in seconds of the recording.

    Attributes:
        done: Seconds transcribed so far.
        total: Seconds of the whole recording.
    """

    done: float
    total: float


class Word(Record):
    """A word with its times, as `word_timestamps=True` finds them. A dictionary; every item is also an attribute.

    Attributes:
        word: The text, including the space before it if there is one.
        start: Seconds at which the word begins.
        end: Seconds at which the word ends.
        probability: Mean probability of the word's tokens, 0 to 1.
        speaker: With `speakers`, who speaks; with `channel="each"`, the number of the channel, as text; otherwise None,
            and no item.
    """

    __slots__ = ()

    word = Item[str]()
    start = Item[float]()
    end = Item[float]()
    probability = Item[float]()
    speaker = OptionalItem[str]()

    def __init__(self, word: str, start: float, end: float, probability: float, speaker: str | None = None) -> None:
        super().__init__(word=word, start=start, end=end, probability=probability)
        if speaker is not None:
            self["speaker"] = speaker

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, key: Literal["word", "speaker"], /) -> str: ...
        @overload
        def __getitem__(self, key: Literal["start", "end", "probability"], /) -> float: ...
        @overload
        def __getitem__(self, key: str, /) -> Any: ...
        def __getitem__(self, key: str, /) -> Any: ...


class Segment(Record):
    """A stretch of a recording with its text. A dictionary; every item is also an attribute.

    The items are openai-whisper's, and `language` and `speaker` if they are not None.

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
        words: Words with their times; without `word_timestamps` None, and no item.
        language: Language code of the window if it can differ from the recording's (`multilingual=True`, or
            `channel="each"` with channels in different languages); otherwise None, and no item.
        speaker: With `speakers`, who speaks; with `channel="each"`, the number of the channel, from 0, as text;
            otherwise None, and no item.
    """

    __slots__ = ()

    id = Item[int]()
    seek = Item[int]()
    start = Item[float]()
    end = Item[float]()
    text = Item[str]()
    tokens = Item[list[int]]()
    temperature = Item[float]()
    avg_logprob = Item[float]()
    compression_ratio = Item[float]()
    no_speech_prob = Item[float]()
    words = OptionalItem[list[Word]]()
    language = OptionalItem[str]()
    speaker = OptionalItem[str]()

    def __init__(
        self,
        id: int,
        seek: int,
        start: float,
        end: float,
        text: str,
        tokens: Iterable[int],
        temperature: float,
        avg_logprob: float,
        compression_ratio: float,
        no_speech_prob: float,
        words: Iterable[Word] | None = None,
        language: str | None = None,
        speaker: str | None = None,
    ) -> None:
        super().__init__(
            id=id,
            seek=seek,
            start=start,
            end=end,
            text=text,
            tokens=list(tokens),
            temperature=temperature,
            avg_logprob=avg_logprob,
            compression_ratio=compression_ratio,
            no_speech_prob=no_speech_prob,
        )
        self.words = None if words is None else list(words)
        self.language = language
        self.speaker = speaker

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, key: Literal["id", "seek"], /) -> int: ...
        @overload
        def __getitem__(
            self,
            key: Literal["start", "end", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob"],
            /,
        ) -> float: ...
        @overload
        def __getitem__(self, key: Literal["text", "language", "speaker"], /) -> str: ...
        @overload
        def __getitem__(self, key: Literal["tokens"], /) -> list[int]: ...
        @overload
        def __getitem__(self, key: Literal["words"], /) -> list[Word]: ...
        @overload
        def __getitem__(self, key: str, /) -> Any: ...
        def __getitem__(self, key: str, /) -> Any: ...


DropReason = Literal["no_speech", "repetition", "silent_window", "anomalous_words"]


class DroppedText(Record):
    """Text that `hallucination_filter=True` left out. A dictionary; every item is also an attribute.

    Attributes:
        start: Seconds at which it begins.
        end: Seconds at which it ends.
        text: The text.
        reason: "no_speech" for an improbable segment without speech, "repetition" for copies of the text before it,
            "silent_window" for a window that `no_speech_threshold` takes for silence, and "anomalous_words" for
            segments that `hallucination_silence_threshold` drops, after which the sound is decoded again.
        speech_prob: Probability of speech there by voice activity detection, 0 to 1: the mean of the likeliest frames,
            of as many as the text needs at least.
        avg_logprob: Mean log-probability of the window's tokens.
    """

    __slots__ = ()

    start = Item[float]()
    end = Item[float]()
    text = Item[str]()
    reason = Item[DropReason]()
    speech_prob = Item[float]()
    avg_logprob = Item[float]()

    def __init__(
        self, start: float, end: float, text: str, reason: DropReason, speech_prob: float, avg_logprob: float
    ) -> None:
        super().__init__(
            start=start, end=end, text=text, reason=reason, speech_prob=speech_prob, avg_logprob=avg_logprob
        )


class Transcription(Record):
    """The text of a recording. A dictionary with the items text, segments and language, which are also attributes.

    Transcriptions with equal items are equal, whatever their `duration` and `language_probability`.

    Attributes:
        text: The text of all segments.
        segments: The segments in order.
        language: Language code, for example "en".
        duration: Length of the recording in seconds; 0 in a result that was made without one. Not an item.
        language_probability: Probability of `language`, 0 to 1; 1 if the language was given or the model knows English
            only. Not an item.
        dropped: With `hallucination_filter`, the text that was left out; otherwise None, and no item.
    """

    __slots__ = ("duration", "language_probability")

    text = Item[str]()
    segments = Item[list[Segment]]()
    language = Item[str]()
    dropped = OptionalItem[list[DroppedText]]()
    duration: float
    language_probability: float

    def __init__(
        self,
        text: str,
        segments: Iterable[Segment],
        language: str,
        duration: float = 0.0,
        language_probability: float = 1.0,
        dropped: Iterable[DroppedText] | None = None,
    ) -> None:
        super().__init__(text=text, segments=list(segments), language=language)
        self.dropped = None if dropped is None else list(dropped)
        self.duration = duration
        self.language_probability = language_probability

    def __copy__(self) -> Self:
        made = super().__copy__()
        made.duration, made.language_probability = self.duration, self.language_probability
        return made

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, key: Literal["text", "language"], /) -> str: ...
        @overload
        def __getitem__(self, key: Literal["segments"], /) -> list[Segment]: ...
        @overload
        def __getitem__(self, key: Literal["dropped"], /) -> list[DroppedText]: ...
        @overload
        def __getitem__(self, key: str, /) -> Any: ...
        def __getitem__(self, key: str, /) -> Any: ...

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments; empty without `word_timestamps`."""
        return tuple(word for segment in self.segments for word in segment.words or ())

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
            path: File to write. Its suffix is one of
                .txt, .srt, .vtt, .tsv, .json, .csv, .lrc, .md, .ass, .rttm and .textgrid, in upper or lower case.
            options: How to break text into lines and cues in srt, vtt and ass; it needs word times.

        Raises:
            OptionError: The suffix names no format, or `path` is not a path.
            OutputError: The file cannot be written.
        """
        suffix = Path(parse("path", a_path, path)).suffix[1:].lower()
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
            f"{type(self).__name__}(text={text!r}, segments={len(self.segments)}, "
            f"language={self.language!r}, duration={self.duration:.2f})"
        )

    def _repr_html_(self) -> str:
        """Return an HTML table of the segments, for notebooks."""
        from html import escape  # imported here, as only notebooks need it

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


class AddedSpeech(Record):
    """Speech that a known text does not have. A dictionary; every item is also an attribute.

    Attributes:
        start: Seconds at which it begins.
        end: Seconds at which it ends.
        text: What the model understands.
    """

    __slots__ = ()

    start = Item[float]()
    end = Item[float]()
    text = Item[str]()

    def __init__(self, start: float, end: float, text: str) -> None:
        super().__init__(start=start, end=end, text=text)


class Alignment(Transcription):
    """A known text with the times of its words, as `align` returns it: a Transcription with two more items.

    Attributes:
        skipped: Words of the text that are not spoken, with the time at which they would be and probability 0. They are
            also in their segment, unless all of it is skipped.
        added: What is spoken and not in the text.
    """

    __slots__ = ()

    skipped = Item[list[Word]]()
    added = Item[list[AddedSpeech]]()

    def __init__(
        self,
        text: str,
        segments: Iterable[Segment],
        language: str,
        duration: float = 0.0,
        language_probability: float = 1.0,
        *,
        skipped: Iterable[Word] = (),
        added: Iterable[AddedSpeech] = (),
    ) -> None:
        super().__init__(text, segments, language, duration, language_probability)
        self.skipped = list(skipped)
        self.added = list(added)
