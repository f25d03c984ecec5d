"""Lay out segments and words in cues, the units of a subtitle file, each shown for an interval of time."""

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from ..errors import OptionError
from ..option_values import Kind, number, parse, shown
from .line_breaks import may_break
from .text import is_blank, without_blank_lines

JsonObject = dict[str, Any]  # a result, segment or word, with the keys of openai-whisper's dictionaries

LONG_PAUSE = 3.0  # seconds of silence that end a cue spanning segments, as in openai-whisper's SubtitlesWriter
TIME = Kind("a finite number of seconds of at least 0", number(0).convert)
MIN_DURATION = 0.1  # seconds for which a cue is shown if its end is not after its start


@dataclass(frozen=True)
class LineOptions:
    """How to lay out words in cues. The names are openai-whisper's; all options need word times.

    Args:
        max_line_width: The longest line, in characters; a wide East Asian character counts as one, as in
            openai-whisper.
        max_line_count: The most lines in a cue. Together with `max_line_width`, cues may span segments.
        max_words_per_line: The most words in a cue; it has no effect if both other limits are set.
        highlight_words: In srt and vtt, repeat a cue for each of its words, with that word underlined.

    Raises:
        OptionError: A number is not a whole number of at least 1.
    """

    max_line_width: int | None = None
    max_line_count: int | None = None
    max_words_per_line: int | None = None
    highlight_words: bool = False

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
                raise OptionError(f"{field.name} must be a whole number or None, not {shown(value)}") from None
            if number < 1:
                raise OptionError(f"{field.name} must be at least 1, not {value}")

    @property
    def is_default(self) -> bool:
        """Whether no option is set."""
        return self == LineOptions()


class CueWord(NamedTuple):
    """A word, or a whole segment without word times; `text` begins with the space or line break before it."""

    text: str
    start: float  # seconds
    end: float  # seconds
    speaker: str | None = None


class Cue(NamedTuple):
    """Text that is shown at once. Times are in ticks, the format's unit: milliseconds or hundredths of a second."""

    start: int
    end: int
    words: tuple[CueWord, ...]


def format_timestamp(seconds: float, always_include_hours: bool = False, decimal_marker: str = ".") -> str:
    """Format a time as `[hh:]mm:ss.mmm`, as openai-whisper's `format_timestamp` does.

    Args:
        seconds: The time, rounded to a millisecond.
        always_include_hours: Write the hours even if they are 0.
        decimal_marker: What separates seconds and milliseconds.

    Raises:
        OptionError: The time is not a number, or negative, infinite or NaN.
    """
    return format_milliseconds(round(parse("a time", TIME, seconds) * 1000), always_include_hours, decimal_marker)


def format_milliseconds(milliseconds: int, always_include_hours: bool = False, decimal_marker: str = ".") -> str:
    """Format a time in milliseconds as `format_timestamp` does."""
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours:02d}:" if always_include_hours or hours else ""
    return f"{head}{minutes:02d}:{milliseconds // 1000:02d}{decimal_marker}{milliseconds % 1000:03d}"


def has_words(segments: Sequence[JsonObject]) -> bool:
    """Return whether any segment has word times."""
    return any("words" in segment for segment in segments)


def cues(segments: Sequence[JsonObject], options: LineOptions, ticks_per_second: int = 1000) -> Iterator[Cue]:
    """Lay out a transcription in cues. Every cue has visible text and a duration.

    A cue whose end is not after its start is shown for 0.1 s. If the next cue is of the same speaker and begins before
    that time is over, the two are merged.

    Args:
        segments: In order, with clean text; times in seconds.
        options: Used if the segments have words; otherwise each segment is a cue.
        ticks_per_second: Resolution of the cues' times.
    """
    groups = _laid_out_cues(segments, options) if has_words(segments) else _segment_cues(segments)
    min_ticks = max(1, round(MIN_DURATION * ticks_per_second))
    held: list[CueWord] = []  # words of a cue to merge with the next one
    group = next(groups, None)
    while group is not None:
        following = next(groups, None)
        if held:
            group = [*held, group[0]._replace(text="\n" + group[0].text.lstrip()), *group[1:]]
        start, end = round(group[0].start * ticks_per_second), round(group[-1].end * ticks_per_second)
        least = min_ticks if held else 1
        held = []
        if end - start < least:
            end = start + min_ticks
            same_speaker = following is not None and following[0].speaker == group[0].speaker
            if following is not None and same_speaker and round(following[0].start * ticks_per_second) < end:
                held, group = group, following
                continue
        yield Cue(start, end, tuple(group))
        group = following


def _segment_cues(segments: Iterable[JsonObject]) -> Iterator[list[CueWord]]:
    for segment in segments:
        if not is_blank(segment["text"]):
            yield [
                CueWord(without_blank_lines(segment["text"]), segment["start"], segment["end"], segment.get("speaker"))
            ]


def _visible_words(segment: JsonObject) -> list[CueWord]:
    """Return the visible words of a segment; if it has none, its whole text as one word."""

    speaker = segment.get("speaker")

    def visible(parts: Iterable[JsonObject], key: str) -> list[CueWord]:
        return [
            CueWord(p[key].replace("\n", " "), p["start"], p["end"], speaker) for p in parts if not is_blank(p[key])
        ]

    return visible(segment.get("words") or (), "word") or visible([segment], "text")


def _unbreakable_groups(words: Iterable[CueWord]) -> Iterator[list[CueWord]]:
    """Group consecutive words between which a line break is not allowed."""
    unit: list[CueWord] = []
    for word in words:
        if unit and may_break(unit[-1].text, word.text):
            yield unit
            unit = []
        unit.append(word)
    if unit:
        yield unit


def _laid_out_cues(segments: Sequence[JsonObject], options: LineOptions) -> Iterator[list[CueWord]]:
    """Yield the words of each cue; a word that begins a further line has a line break before it instead of a space.

    Follows `iterate_subtitles` of openai-whisper's SubtitlesWriter.
    """
    width, count = options.max_line_width or 1000, options.max_line_count
    per_cue = options.max_words_per_line or 1000
    follows_segments = options.max_line_width is None or count is None
    cue: list[CueWord] = []
    length, lines = 0, 1  # characters in the cue's last line, lines in the cue
    last: float | None = None  # start of the previous word
    for segment in segments:
        for index, unit in enumerate(_unbreakable_groups(_visible_words(segment))):
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


class HighlightInterval(NamedTuple):
    """An interval of a cue's time, in ticks, in which its words `first` to `last`, exclusive, are highlighted."""

    start: int
    end: int
    first: int
    last: int


def highlighted(cue: Cue, ticks_per_second: int = 1000) -> Iterator[HighlightInterval]:
    """Divide a cue's time among its words.

    A word without duration is highlighted together with the next one, the last one with the previous.
    """
    intervals: list[HighlightInterval] = []
    shown, first = cue.start, 0  # the time, and the word, up to which intervals exist
    for index, word in enumerate(cue.words, 1):
        start = max(shown, round(word.start * ticks_per_second))
        end = min(cue.end, round(word.end * ticks_per_second))
        if start >= end:
            continue
        if start > shown:
            intervals.append(HighlightInterval(shown, start, 0, 0))
        intervals.append(HighlightInterval(start, end, first, index))
        shown, first = end, index
    if not intervals:
        intervals = [HighlightInterval(cue.start, cue.end, 0, 0)]
    intervals[-1] = intervals[-1]._replace(end=cue.end, last=len(cue.words))
    return iter(intervals)
