"""Segments and words become cues: what a subtitle shows, from when to when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from ..errors import OptionError

Dictionary = dict[str, Any]  # a segment or a word, as openai-whisper's results have them

LONG_PAUSE = 3.0  # seconds of silence after which a cue that spans segments ends, as in openai-whisper


@dataclass(frozen=True)
class LineOptions:
    """How words are laid out in cues; names are openai-whisper's. All of them need word times."""

    max_line_width: int | None = None  # characters
    max_line_count: int | None = None  # lines of a cue; with max_line_width, cues follow lines and not segments
    max_words_per_line: int | None = None
    highlight_words: bool = False  # a cue for each word, in which it is underlined

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and field.name != "highlight_words" and value < 1:
                raise OptionError(f"{field.name} must be at least 1, not {value}")

    @property
    def is_default(self) -> bool:
        return self == LineOptions()


class Cue(NamedTuple):
    start: str
    end: str
    text: str


def format_timestamp(seconds: float, always_include_hours: bool = False, decimal_marker: str = ".") -> str:
    """`[hh:]mm:ss.mmm`. Raises ValueError for a time below 0."""
    if seconds < 0:
        raise ValueError(f"a time must not be negative, not {seconds}")
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours:02d}:" if always_include_hours or hours else ""
    return f"{head}{minutes:02d}:{milliseconds // 1000:02d}{decimal_marker}{milliseconds % 1000:03d}"


def _grouped(segments: Sequence[Dictionary], options: LineOptions) -> Iterator[list[Dictionary]]:
    """The words of each cue; a word that begins a line has the line's end before it instead of a space."""
    width, count = options.max_line_width or 1000, options.max_line_count
    per_cue = options.max_words_per_line or 1000
    follows_segments = options.max_line_width is None or count is None
    cue: list[Dictionary] = []
    length, lines = 0, 1  # characters in the last line of the cue, lines in the cue
    words = [word for segment in segments for word in segment["words"]]
    last = words[0]["start"] if words else 0.0
    for segment in segments:
        for index, word in enumerate(segment["words"]):
            text: str = word["word"]
            paused = not follows_segments and word["start"] - last > LONG_PAUSE
            starts_part = follows_segments and index % per_cue == 0 and bool(cue)
            if length > 0 and length + len(text) <= width and not paused and not starts_part:
                length += len(text)
            else:
                text = text.strip()
                is_full = bool(cue) and count is not None and (paused or lines >= count)
                fresh_length = len(text)
                if is_full or starts_part:
                    yield cue
                    cue, lines = [], 1
                elif length > 0:
                    lines += 1
                    text = "\n" + text
                length = fresh_length
            cue.append({**word, "word": text})
            last = word["start"]
    if cue:
        yield cue


def _underlined(word: str) -> str:
    text = word.lstrip()
    return f"{word[: len(word) - len(text)]}<u>{text}</u>"


def cues(
    segments: Sequence[Dictionary], options: LineOptions, always_include_hours: bool, decimal_marker: str
) -> Iterator[Cue]:
    """One cue a segment; where the segments have words, as `options` lays them out."""

    def stamp(seconds: float) -> str:
        return format_timestamp(seconds, always_include_hours, decimal_marker)

    if not segments or "words" not in segments[0]:
        for segment in segments:
            text = segment["text"].strip().replace("-->", "->")  # the arrow would end a cue's head
            yield Cue(stamp(segment["start"]), stamp(segment["end"]), text)
        return
    for group in _grouped(segments, options):
        texts = [word["word"] for word in group]
        start, end = stamp(group[0]["start"]), stamp(group[-1]["end"])
        if not options.highlight_words:
            yield Cue(start, end, "".join(texts))
            continue
        shown = start  # until where the cues reach
        for index, word in enumerate(group):
            start, end = stamp(word["start"]), stamp(word["end"])
            if shown != start:
                yield Cue(shown, start, "".join(texts))
            yield Cue(start, end, "".join([*texts[:index], _underlined(texts[index]), *texts[index + 1 :]]))
            shown = end
