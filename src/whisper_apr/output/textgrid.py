"""Praat's TextGrid, in which phoneticians and forced aligners keep texts with times."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TextIO

from .subtitles import JsonObject
from .text import one_line

SHORTEST = 1e-3  # seconds; Praat refuses intervals of no duration

Interval = tuple[float, float, str]


def _intervals(parts: Iterable[Interval], end: float) -> Iterator[Interval]:
    """Yield intervals that follow each other without gaps, as a tier needs them; those without text are empty.

    A part that begins before the one before it ends is cut. One of which too little is left follows as text of the
    next one, or is left out at the end.

    Args:
        parts: In order of their start.
        end: Seconds at which the last interval ends.
    """
    shown, waiting = 0.0, ""
    for start, until, text in parts:
        start, until = max(start, shown), min(until, end)
        text = one_line(f"{waiting} {text}")
        if until - start < SHORTEST:
            waiting = text
            continue
        if start - shown >= SHORTEST:
            yield shown, start, ""
        else:
            start = shown
        yield start, until, text
        shown, waiting = until, ""
    if end - shown >= SHORTEST:
        yield shown, end, waiting


def _tiers(segments: Sequence[JsonObject]) -> Iterator[tuple[str, list[Interval]]]:
    """Yield the names and parts of tiers: segments, and words if there are any, for each speaker."""
    speakers = dict.fromkeys(segment.get("speaker") for segment in segments) or {None: None}
    for speaker in speakers:
        mine = sorted((each for each in segments if each.get("speaker") == speaker), key=lambda each: each["start"])
        prefix = "" if speaker is None else f"{speaker} - "
        yield f"{prefix}segments", [(each["start"], each["end"], each["text"]) for each in mine]
        words = [*chain.from_iterable(each.get("words") or () for each in mine)]
        if words:
            words.sort(key=lambda word: word["start"])
            yield f"{prefix}words", [(word["start"], word["end"], word["word"]) for word in words]


def write_textgrid(segments: Sequence[JsonObject], file: TextIO) -> None:
    """Write a TextGrid in Praat's long format, with tiers of segments and of words, for each speaker.

    Args:
        segments: With clean texts, and times in seconds.
        file: A text file.
    """
    words = chain.from_iterable(segment.get("words") or () for segment in segments)
    end = max((part["end"] for part in chain(segments, words)), default=0.0)
    if end < SHORTEST:
        end = 1.0  # Praat needs some duration
    tiers = [*_tiers(segments)]
    file.write(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
        f"xmin = 0\nxmax = {end:.6f}\ntiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    )
    for number, (name, parts) in enumerate(tiers, 1):
        intervals = [*_intervals(parts, end)]
        file.write(
            f'    item [{number}]:\n        class = "IntervalTier"\n        name = {_quoted(name)}\n'
            f"        xmin = 0\n        xmax = {end:.6f}\n        intervals: size = {len(intervals)}\n"
        )
        for index, (start, until, text) in enumerate(intervals, 1):
            file.write(
                f"        intervals [{index}]:\n            xmin = {start:.6f}\n            xmax = {until:.6f}\n"
                f"            text = {_quoted(text)}\n"
            )


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
