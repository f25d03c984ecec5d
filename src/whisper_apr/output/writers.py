"""One function a format, and files that are whole or not there."""

import csv
import io
import json
import math
import numbers
import os
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TextIO, runtime_checkable

from ..atomic import write_atomically
from ..errors import OptionError, OutputError
from ..spelling import did_you_mean
from . import ass
from .ass import write_ass
from .subtitles import Dictionary, LineOptions, cues, format_milliseconds, has_words, highlighted
from .text import clean, escape_lrc, escape_markdown, escape_srt, escape_vtt, is_blank, one_line, prefix_speaker


@runtime_checkable
class Record(Protocol):
    """A transcription, a segment or a word: whatever has its fields as a dictionary."""

    def to_dict(self) -> dict[str, Any]:
        """Return nested dictionaries and lists of plain values."""


Result = Record | Mapping[str, Any]
Writer = Callable[[Dictionary, TextIO, LineOptions], None]

ALL = "all"  # every format that openai-whisper writes, each to its file
LATEST = 1e9  # seconds: a time beyond it, some thirty years, is an error of whoever made the result


def _line(segment: Dictionary) -> str:
    """What was said, after who said it where that is known."""
    return prefix_speaker(segment.get("speaker"), segment["text"].strip())


def _txt(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    for segment in result["segments"]:
        file.write(_line(segment) + "\n")


def _shown(
    segments: list[Dictionary],
    options: LineOptions,
    escape: Callable[[str], str],
    named: Callable[[str | None, str], str],
) -> Iterator[tuple[int, int, str]]:
    """What srt and vtt show: from when, until when (milliseconds), and the text with its markup, to which `named` adds the speaker."""
    highlights = options.highlight_words and has_words(segments)
    for cue in cues(segments, options):
        texts, speaker = [word.text for word in cue.words], cue.words[0].speaker
        if not highlights:
            yield cue.start, cue.end, named(speaker, escape("".join(texts)))
            continue
        for start, end, first, last in highlighted(cue):
            before, text, after = ("".join(part) for part in (texts[:first], texts[first:last], texts[last:]))
            spoken = text.lstrip()
            before += text[: len(text) - len(spoken)]
            underlined = f"<u>{escape(spoken)}</u>" if first < last else ""
            yield start, end, named(speaker, escape(before) + underlined + escape(after))


def _srt_named(speaker: str | None, text: str) -> str:
    return prefix_speaker(None if speaker is None else escape_srt(speaker), text)


def _vtt_named(speaker: str | None, text: str) -> str:
    """The format's voice tag, which players show as they are styled to. A name's last dash is kept apart from ">": "-->" ends a cue's text."""
    if speaker is None:
        return text
    name = escape_vtt(speaker)
    return f"<v {name}{' ' if name.endswith('-') else ''}>{text.lstrip()}"


def _srt(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    for number, (start, end, text) in enumerate(_shown(result["segments"], options, escape_srt, _srt_named), 1):
        begin, until = (format_milliseconds(time, True, ",") for time in (start, end))
        file.write(f"{number}\n{begin} --> {until}\n{text}\n\n")


def _vtt(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    file.write("WEBVTT\n\n")
    for start, end, text in _shown(result["segments"], options, escape_vtt, _vtt_named):
        file.write(f"{format_milliseconds(start)} --> {format_milliseconds(end)}\n{text}\n\n")


def _ass(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    segments = result["segments"]
    write_ass(cues(segments, options, ass.PER_SECOND), file, is_timed=has_words(segments))


def _tsv(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    """Times are whole milliseconds. The format has no quoting: a tab or a line's end becomes a space, as in openai-whisper."""
    file.write("start\tend\ttext\n")
    for segment in result["segments"]:
        text = _line(segment).replace("\t", " ").replace("\n", " ")
        file.write(f"{round(1000 * segment['start'])}\t{round(1000 * segment['end'])}\t{text}\n")


def _finite(value: Any) -> Any:
    """The value as JSON can hold it: None for NaN and infinity, dictionaries for segments and words."""
    if isinstance(value, Record):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    """All of the result, in ASCII: JSON has an escape for every character."""
    try:
        file.write(json.dumps(_finite(result), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(f"the result cannot be written as JSON: {error}") from None


def _csv(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    """Times are whole milliseconds, as whisper.cpp's. Text is quoted where it must be, and else as it is.

    A program that takes a cell for a formula where it begins with "=" must be told not to: the text is not changed for its sake.
    """
    segments = result["segments"]
    has_speakers = any(segment.get("speaker") is not None for segment in segments)
    table = csv.writer(file, lineterminator="\n")
    table.writerow(("start", "end", *(["speaker"] if has_speakers else ()), "text"))
    for segment in segments:
        speaker = [segment.get("speaker")] if has_speakers else ()
        text = segment["text"].strip()
        table.writerow((round(1000 * segment["start"]), round(1000 * segment["end"]), *speaker, text))


def _lrc(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    """Lyrics: minutes, seconds and hundredths before each line; an empty line where nothing is sung."""

    def stamp(seconds: float) -> str:
        hundredths = round(100 * seconds)
        return f"[{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}]"

    end = 0.0
    for segment in result["segments"]:
        if is_blank(segment["text"]):
            continue
        if segment["start"] - end >= 1:  # second: a shorter gap is no silence to a reader
            file.write(stamp(end) + "\n")
        file.write(stamp(segment["start"]) + escape_lrc(one_line(_line(segment))) + "\n")
        end = segment["end"]


def _md(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    """A list: when, and what was said."""
    for segment in result["segments"]:
        if not is_blank(segment["text"]):
            seconds = int(segment["start"])
            stamp = f"{seconds // 3600:d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
            file.write(f"- **{stamp}** {escape_markdown(one_line(_line(segment)))}\n")


WRITERS: dict[str, Writer] = {
    "txt": _txt,
    "srt": _srt,
    "vtt": _vtt,
    "tsv": _tsv,
    "json": _json,
    "csv": _csv,
    "lrc": _lrc,
    "md": _md,
    "ass": _ass,
}
FORMATS = tuple(WRITERS)
OPENAI_FORMATS = ("txt", "vtt", "srt", "tsv", "json")


def _plain(result: Result) -> Dictionary:
    return dict(result) if isinstance(result, Mapping) else result.to_dict()


def _part(part: Any, what: str, key: str, needs_times: bool) -> Dictionary:
    """A segment or a word, with text that was cleaned."""
    if not isinstance(part, Mapping | Record):
        raise OptionError(f"{what} of the result must be a dictionary, not {type(part).__name__}")
    checked: Dictionary = dict(part) if isinstance(part, Mapping) else part.to_dict()
    if not isinstance(checked.get(key), str):
        raise OptionError(f"{what} of the result has no text in {key!r}")
    checked[key] = clean(checked[key])
    speaker = one_line(clean(str(checked.pop("speaker", None) or "")))
    if not is_blank(speaker):
        checked["speaker"] = speaker
    for name in ("start", "end") if needs_times else ():
        time = checked.get(name)
        if not isinstance(time, numbers.Real) or not 0 <= float(time) < LATEST:
            raise OptionError(f"{what} of the result: {name!r} must be seconds, and must not be negative: {time!r}")
        checked[name] = float(time)
    return checked


def _checked(result: Dictionary, needs_times: bool) -> Dictionary:
    """The result with text that was cleaned. Raises OptionError where it lacks what a writer needs."""
    segments = result.get("segments")
    if not isinstance(segments, list | tuple):
        raise OptionError("the result has no list of 'segments'")
    plain = []
    for i, segment in enumerate(segments):
        part = _part(segment, f"segment {i}", "text", needs_times)
        words = part.pop("words", None)
        if words is not None and needs_times:
            if not isinstance(words, list | tuple):
                raise OptionError(f"segment {i} of the result: 'words' must be a list, not {type(words).__name__}")
            part["words"] = [_part(word, f"a word of segment {i}", "word", True) for word in words]
        plain.append(part)
    return {**result, "segments": plain}


def _writer(format: str) -> Writer:
    if not isinstance(format, str) or format not in WRITERS:
        meant = did_you_mean(str(format), FORMATS)
        raise OptionError(f"unknown output format {format!r}; there are {', '.join(FORMATS)}{meant}")
    return WRITERS[format]


def write(result: Result, format: str, file: TextIO, options: LineOptions | None = None) -> None:
    """Write a transcription, or openai-whisper's dictionary of one, to a text file that is open.

    `options` lays out words in srt, vtt and ass; they need word times. Raises OptionError for a format that does not exist, and for a
    dictionary without segments, or whose times are negative or no numbers.
    """
    writer, plain = _writer(format), _plain(result)
    writer(plain if format == "json" else _checked(plain, format != "txt"), file, options or LineOptions())


def write_files(
    result: Result, format: str, directory: str | PathLike[str], name: str, options: LineOptions | None = None
) -> list[Path]:
    """Write `<directory>/<name>.<format>`, or with the format `all` one file for each of openai-whisper's formats.

    A file is written beside its place and then put there: it is whole, or what was there before. The folder is made where it is
    missing. Raises OptionError as `write` does, OutputError where the folder or a file cannot be written to.
    """
    plain, formats = _plain(result), OPENAI_FORMATS if format == ALL else (format,)
    for each in formats:
        _writer(each)
    paths = []
    for each in formats:
        paths.append(Path(directory, f"{name}.{each}"))
        write_file(plain, each, paths[-1], options)
    return paths


def write_file(result: Result, format: str, path: str | PathLike[str], options: LineOptions | None = None) -> None:
    """Write a file, whatever its name ends in. See `write_files`."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as raw:
            file = io.TextIOWrapper(raw, encoding="utf-8", newline="")  # newline="": the same bytes on every system
            write(result, format, file, options)
            file.detach()  # flushed, and not closed
    except OSError as error:
        raise OutputError(f"{os.fspath(path)} cannot be written: {error.strerror or error}") from error
