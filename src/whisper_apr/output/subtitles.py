"""Segments and words become cues: what a subtitle shows, from when to when."""

import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from ..errors import OptionError
from .line_breaks import may_break
from .text import is_blank, without_blank_lines

Dictionary = dict[str, Any]  # a segment or a word, as openai-whisper's results have them

LONG_PAUSE = 3.0  # seconds of silence after which a cue that spans segments ends, as in openai-whisper
SHORTEST = 0.1  # seconds that a cue is shown whose end is not after its beginning


@dataclass(frozen=True)
class LineOptions:
    """How words are laid out in cues. The names are openai-whisper's; all of them need word times.

    Lines are measured in characters, as in openai-whisper: a wide East Asian character counts as one.
    """

    max_line_width: int | None = None  # characters
    max_line_count: int | None = None  # lines of a cue; with max_line_width, cues follow lines and not segments
    max_words_per_line: int | None = None
    highlight_words: bool = False  # srt and vtt: a cue for each word, in which it is underlined

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "highlight_words" or value is None:
                continue
            try:
                number = operator.index(value)
                if isinstance(value, bool):
                    raise TypeError
            except TypeError:
                raise OptionError(f"{field.name} must be a whole number or None, not {value!r}") from None
            if number < 1:
                raise OptionError(f"{field.name} must be at least 1, not {value}")

    @property
    def is_default(self) -> bool:
        return self == LineOptions()


class Word(NamedTuple):
    """A word, or a segment whose words are not known; the text has the white space or the line's end before it."""

    text: str
    start: float  # seconds
    end: float
    speaker: str | None = None


class Cue(NamedTuple):
    """What is shown at once. Times are whole ticks: milliseconds, or whatever the format counts in."""

    start: int
    end: int
    words: tuple[Word, ...]


def format_timestamp(seconds: float, always_include_hours: bool = False, decimal_marker: str = ".") -> str:
    """Write a time as `[hh:]mm:ss.mmm`. Raises OptionError for one that is negative or no number."""
    if not 0 <= seconds < math.inf:
        raise OptionError(f"a time must not be negative or infinite, not {seconds}")
    return format_milliseconds(round(seconds * 1000), always_include_hours, decimal_marker)


def format_milliseconds(milliseconds: int, always_include_hours: bool = False, decimal_marker: str = ".") -> str:
    """As `format_timestamp`, of whole milliseconds."""
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours:02d}:" if always_include_hours or hours else ""
    return f"{head}{minutes:02d}:{milliseconds // 1000:02d}{decimal_marker}{milliseconds % 1000:03d}"


def has_words(segments: Sequence[Dictionary]) -> bool:
    return any("words" in segment for segment in segments)


def cues(segments: Sequence[Dictionary], options: LineOptions, ticks_per_second: int = 1000) -> Iterator[Cue]:
    """Lay out one cue a segment or, where the segments have words, as `options` says. No cue is empty or of no length.

    A cue whose end is not after its beginning is shown for 0.1 s. Where the next one, of the same speaker, begins before that is over, the
    two become one.
    """
    groups = _grouped(segments, options) if has_words(segments) else _whole(segments)
    shortest = max(1, round(SHORTEST * ticks_per_second))
    held: list[Word] = []  # of a cue that is to become one with the next
    group = next(groups, None)
    while group is not None:
        following = next(groups, None)
        if held:
            group = [*held, group[0]._replace(text="\n" + group[0].text.lstrip()), *group[1:]]
        start, end = round(group[0].start * ticks_per_second), round(group[-1].end * ticks_per_second)
        least = shortest if held else 1
        held = []
        if end - start < least:
            end = start + shortest
            same_speaker = following is not None and following[0].speaker == group[0].speaker
            if following is not None and same_speaker and round(following[0].start * ticks_per_second) < end:
                held, group = group, following
                continue
        yield Cue(start, end, tuple(group))
        group = following


def _whole(segments: Iterable[Dictionary]) -> Iterator[list[Word]]:
    for segment in segments:
        if not is_blank(segment["text"]):
            yield [Word(without_blank_lines(segment["text"]), segment["start"], segment["end"], segment.get("speaker"))]


def _words(segment: Dictionary) -> list[Word]:
    """The segment's words that can be seen; where none was found in its text, all of it as one word."""

    speaker = segment.get("speaker")

    def visible(parts: Iterable[Dictionary], key: str) -> list[Word]:
        return [Word(p[key].replace("\n", " "), p["start"], p["end"], speaker) for p in parts if not is_blank(p[key])]

    return visible(segment.get("words") or (), "word") or visible([segment], "text")


def _units(words: Iterable[Word]) -> Iterator[list[Word]]:
    """Words between which no line may end, together."""
    unit: list[Word] = []
    for word in words:
        if unit and may_break(unit[-1].text, word.text):
            yield unit
            unit = []
        unit.append(word)
    if unit:
        yield unit


def _grouped(segments: Sequence[Dictionary], options: LineOptions) -> Iterator[list[Word]]:
    """The words of each cue; a word that begins a line has the line's end before it instead of a space."""
    width, count = options.max_line_width or 1000, options.max_line_count
    per_cue = options.max_words_per_line or 1000
    follows_segments = options.max_line_width is None or count is None
    cue: list[Word] = []
    length, lines = 0, 1  # characters in the last line of the cue, lines in the cue
    last: float | None = None  # when the word before begins
    for segment in segments:
        for index, unit in enumerate(_units(_words(segment))):
            paused = not follows_segments and last is not None and unit[0].start - last > LONG_PAUSE
            starts_part = follows_segments and index % per_cue == 0
            starts_part = bool(cue) and (starts_part or unit[0].speaker != cue[-1].speaker)
            extent = sum(len(word.text) for word in unit)
            if length > 0 and length + extent <= width and not paused and not starts_part:
                length += extent
            else:
                text = unit[0].text.strip()
                length_before, length = length, extent - len(unit[0].text) + len(text)
                is_full = bool(cue) and count is not None and (paused or lines >= count)
                if is_full or starts_part:
                    yield cue
                    cue, lines = [], 1
                elif length_before > 0:
                    lines += 1
                    text = "\n" + text
                unit[0] = unit[0]._replace(text=text)
            cue += unit
            last = unit[-1].start
    if cue:
        yield cue


class Moment(NamedTuple):
    """A stretch of a cue's time in which its words from `first` up to `last` are highlighted; none where they are equal."""

    start: int
    end: int
    first: int
    last: int


def highlighted(cue: Cue, ticks_per_second: int = 1000) -> Iterator[Moment]:
    """Divide a cue's time among its words. A word of no length is highlighted with the next one, or the last with the one before."""
    moments: list[Moment] = []
    shown, first = cue.start, 0  # until when, and up to which word, the moments reach
    for index, word in enumerate(cue.words, 1):
        start = max(shown, round(word.start * ticks_per_second))
        end = min(cue.end, round(word.end * ticks_per_second))
        if start >= end:
            continue
        if start > shown:
            moments.append(Moment(shown, start, 0, 0))
        moments.append(Moment(start, end, first, index))
        shown, first = end, index
    if not moments:
        moments = [Moment(cue.start, cue.end, 0, 0)]
    moments[-1] = moments[-1]._replace(end=cue.end, last=len(cue.words))
    return iter(moments)
