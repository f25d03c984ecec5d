"""One function for each output format, the table of formats, and files that are written atomically."""

import csv
import io
import json
import math
import numbers
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO, runtime_checkable

from ..atomic import write_atomically
from ..errors import OptionError, OutputError
from ..option_values import parse, shown
from ..option_values import path as a_path
from ..option_values import text as a_text
from ..spelling import did_you_mean
from . import ass
from .ass import write_ass
from .rttm import rttm_line
from .subtitles import JsonObject, LineOptions, cues, format_milliseconds, has_words, highlighted
from .text import clean, escape_lrc, escape_markdown, escape_srt, escape_vtt, is_blank, one_line, prefix_speaker
from .textgrid import write_textgrid


@runtime_checkable
class Record(Protocol):
    """A transcription, segment or word: an object that converts to a dictionary."""

    def to_dict(self) -> dict[str, Any]:
        """Return nested dictionaries and lists of plain values."""


Result = Record | Mapping[str, Any]
Writer = Callable[[JsonObject, TextIO, LineOptions], None]

ALL = "all"  # stands for every format that openai-whisper writes
MAX_TIME = 1e9  # seconds, some thirty years; a larger time is a mistake in the result


# ---- formats --------------------------------------------------------------------------------------------------------


def _text_with_speaker(segment: JsonObject) -> str:
    """Return a segment's text, preceded by its speaker if it has one."""
    return prefix_speaker(segment.get("speaker"), segment["text"].strip())


def _txt(result: JsonObject, file: TextIO, options: LineOptions) -> None:
    for segment in result["segments"]:
        file.write(_text_with_speaker(segment) + "\n")


def _cue_texts(
    segments: list[JsonObject],
    options: LineOptions,
    escape: Callable[[str], str],
    add_speaker: Callable[[str | None, str], str],
) -> Iterator[tuple[int, int, str]]:
    """Yield `(start, end, text)` for srt and vtt: times in milliseconds, and escaped text with markup and speaker."""
    highlights = options.highlight_words and has_words(segments)
    for cue in cues(segments, options):
        texts, speaker = [word.text for word in cue.words], cue.words[0].speaker
        if not highlights:
            yield cue.start, cue.end, add_speaker(speaker, escape("".join(texts)))
            continue
        for start, end, first, last in highlighted(cue):
            before, text, after = ("".join(part) for part in (texts[:first], texts[first:last], texts[last:]))
            spoken = text.lstrip()
            before += text[: len(text) - len(spoken)]
            underlined = f"<u>{escape(spoken)}</u>" if first < last else ""
            yield start, end, add_speaker(speaker, escape(before) + underlined + escape(after))


def cue_texts(result: "Result", format: str, options: LineOptions) -> Iterator[tuple[int, int, str]]:
    """Yield `(start, end, text)` of each cue of srt or vtt: times in milliseconds, and escaped text with markup.

    Raises:
        OptionError: As for `write`.
    """
    segments = _check_result(_as_dict(result), True)["segments"]
    markup = (escape_srt, _add_srt_speaker) if format == "srt" else (escape_vtt, _add_vtt_speaker)
    return _cue_texts(segments, options, *markup)


def _add_srt_speaker(speaker: str | None, text: str) -> str:
    return prefix_speaker(None if speaker is None else escape_srt(speaker), text)


def _add_vtt_speaker(speaker: str | None, text: str) -> str:
    """Put the text in a voice tag. A space after a name's final dash prevents "-->", which ends a cue's text."""
    if speaker is None:
        return text
    name = escape_vtt(speaker)
    return f"<v {name}{' ' if name.endswith('-') else ''}>{text.lstrip()}"


def _srt(result: JsonObject, file: TextIO, options: LineOptions) -> None:
    for number, (start, end, text) in enumerate(
        _cue_texts(result["segments"], options, escape_srt, _add_srt_speaker), 1
    ):
        begin, until = (format_milliseconds(time, True, ",") for time in (start, end))
        file.write(f"{number}\n{begin} --> {until}\n{text}\n\n")


def _vtt(result: JsonObject, file: TextIO, options: LineOptions) -> None:
    file.write("WEBVTT\n\n")
    for start, end, text in _cue_texts(result["segments"], options, escape_vtt, _add_vtt_speaker):
        file.write(f"{format_milliseconds(start)} --> {format_milliseconds(end)}\n{text}\n\n")


def _ass(result: JsonObject, file: TextIO, options: LineOptions) -> None:
    segments = result["segments"]
    write_ass(cues(segments, options, ass.TICKS_PER_SECOND), file, is_timed=has_words(segments))


def _tsv(result: JsonObject, file: TextIO, options: LineOptions) -> None:
    """Write times in whole milliseconds; tabs and line breaks become spaces, because the format has no quoting."""
    file.write("start\tend\ttext\n")
    for segment in result["segments"]:
        text = _text_with_speaker(segment).replace("\t", " ").replace("\n", " ")
        file.write(f"{round(1000 * segment['start'])}\t{round(1000 * segment['end'])}\t{text}\n")


def _as_json(value: Any) -> Any:
    """Return a value that JSON can represent: None for NaN and infinity, dictionaries for segments and words."""
    if isinstance(value, Record):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {key: _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(result: JsonObject, file: TextIO, options: LineOptions) -> None:
    """Write the whole result in ASCII, with JSON's escapes for other characters."""
    try:
        file.write(json.dumps(_as_json(result), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(f"the result cannot be written as JSON: {error}") from None


def _csv(result: JsonObject, file: TextIO, options: LineOptions) -> None:
    """Write times in whole milliseconds, as whisper.cpp does, and text quoted if necessary (RFC 4180).

    Text that begins with "=" is not changed, although spreadsheets may take it for a formula.
    """
    segments = result["segments"]
    has_speakers = any(segment.get("speaker") is not None for segment in segments)
    table = csv.writer(file, lineterminator="\n")
    table.writerow(("start", "end", *(["speaker"] if has_speakers else ()), "text"))
    for segment in segments:
        speaker = [segment.get("speaker")] if has_speakers else ()
        text = segment["text"].strip()
        table.writerow((round(1000 * segment["start"]), round(1000 * segment["end"]), *speaker, text))


def _lrc(result: JsonObject, file: TextIO, options: LineOptions) -> None:
    """Write lyrics: a time before each line, and an empty line at the beginning of each pause."""

    def stamp(seconds: float) -> str:
        hundredths = round(100 * seconds)
        return f"[{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}]"

    end = 0.0
    for segment in result["segments"]:
        if is_blank(segment["text"]):
            continue
        if segment["start"] - end >= 1:  # second; a shorter gap is not shown as a pause
            file.write(stamp(end) + "\n")
        file.write(stamp(segment["start"]) + escape_lrc(one_line(_text_with_speaker(segment))) + "\n")
        end = segment["end"]


def _md(result: JsonObject, file: TextIO, options: LineOptions) -> None:
    """Write a list of times and texts."""
    for segment in result["segments"]:
        if not is_blank(segment["text"]):
            seconds = int(segment["start"])
            stamp = f"{seconds // 3600:d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
            file.write(f"- **{stamp}** {escape_markdown(one_line(_text_with_speaker(segment)))}\n")


def _rttm(result: JsonObject, file: TextIO, options: LineOptions) -> None:
    """Write a turn for each segment, without its text."""
    for segment in result["segments"]:
        file.write(rttm_line("recording", segment["start"], segment["end"], segment.get("speaker")))


def _textgrid(result: JsonObject, file: TextIO, options: LineOptions) -> None:
    write_textgrid(result["segments"], file)


class OutputFormat(NamedTuple):
    """A format's function, and what it needs of the result."""

    write: Writer  # called with the result as a dictionary, a text file, and the layout of words
    needs_times: bool = True  # every segment must have `start` and `end`
    takes_any: bool = False  # the function takes the result unchecked, and writes all of it


# The only list of formats: file extension -> format.
WRITERS = {
    "txt": OutputFormat(_txt, needs_times=False),
    "srt": OutputFormat(_srt),
    "vtt": OutputFormat(_vtt),
    "tsv": OutputFormat(_tsv),
    "json": OutputFormat(_json, takes_any=True),
    "csv": OutputFormat(_csv),
    "lrc": OutputFormat(_lrc),
    "md": OutputFormat(_md),
    "ass": OutputFormat(_ass),
    "rttm": OutputFormat(_rttm),
    "textgrid": OutputFormat(_textgrid),
}
FORMATS = tuple(WRITERS)
OPENAI_FORMATS = ("txt", "vtt", "srt", "tsv", "json")  # in the order in which openai-whisper writes them


# ---- checking a result ----------------------------------------------------------------------------------------------


def _as_dict(result: Result) -> JsonObject:
    if not isinstance(result, Mapping | Record) or isinstance(result, type):
        raise OptionError(f"result must be a transcription or a dictionary, not {shown(result)}")
    return dict(result) if isinstance(result, Mapping) else result.to_dict()


def _check_part(part: Any, what: str, key: str, needs_times: bool) -> JsonObject:
    """Return a segment or word as a dictionary, with clean text in `key`.

    Raises:
        OptionError: It has no text, or `needs_times` and a time is not a number of seconds; `what` names it.
    """
    if not isinstance(part, Mapping | Record):
        raise OptionError(f"{what} of the result must be a dictionary, not {type(part).__name__}")
    checked: JsonObject = dict(part) if isinstance(part, Mapping) else part.to_dict()
    if not isinstance(checked.get(key), str):
        raise OptionError(f"{what} of the result has no text in {key!r}")
    checked[key] = clean(checked[key])
    speaker = one_line(clean(str(checked.pop("speaker", None) or "")))
    if not is_blank(speaker):
        checked["speaker"] = speaker
    for name in ("start", "end") if needs_times else ():
        time = checked.get(name)
        if not isinstance(time, numbers.Real) or not 0 <= float(time) < MAX_TIME:
            raise OptionError(
                f"{what} of the result: {name!r} must be a number of seconds from 0 to {MAX_TIME:g}, not {time!r}"
            )
        checked[name] = float(time)
    return checked


def _check_result(result: JsonObject, needs_times: bool) -> JsonObject:
    """Return the result with clean text.

    Raises:
        OptionError: The result lacks a field that a format needs.
    """
    segments = result.get("segments")
    if not isinstance(segments, list | tuple):
        raise OptionError("the result has no list of 'segments'")
    plain = []
    for i, segment in enumerate(segments):
        part = _check_part(segment, f"segment {i}", "text", needs_times)
        words = part.pop("words", None)
        if words is not None and needs_times:
            if not isinstance(words, list | tuple):
                raise OptionError(f"segment {i} of the result: 'words' must be a list, not {type(words).__name__}")
            part["words"] = [_check_part(word, f"a word of segment {i}", "word", True) for word in words]
        plain.append(part)
    return {**result, "segments": plain}


# ---- writing --------------------------------------------------------------------------------------------------------


def _output_format(format: str) -> OutputFormat:
    if not isinstance(format, str) or format not in WRITERS:
        meant = did_you_mean(format, FORMATS) if isinstance(format, str) else ""
        raise OptionError(f"unknown output format {shown(format)}; there are {', '.join(FORMATS)}{meant}")
    return WRITERS[format]


def write(result: Result, format: str, file: TextIO, options: LineOptions | None = None) -> None:
    """Write a transcription to an open text file.

    Args:
        result: A transcription, or the dictionary that openai-whisper returns.
        format: One of FORMATS, the file extension.
        file: A text file; open it with `newline=""` for the same bytes on every system.
        options: How to lay out words in srt, vtt and ass; they need word times.

    Raises:
        OptionError: The format does not exist, the result has no segments or invalid times, or `file` is not a file.
    """
    if not callable(getattr(file, "write", None)):
        raise OptionError(f"file must be an open text file, not {shown(file)}")
    if options is not None and not isinstance(options, LineOptions):
        raise OptionError(f"options must be a LineOptions, or None, not {type(options).__name__}")
    output, plain = _output_format(format), _as_dict(result)
    checked = plain if output.takes_any else _check_result(plain, output.needs_times)
    output.write(checked, file, options or LineOptions())


def write_files(
    result: Result, format: str, directory: str | PathLike[str], name: str, options: LineOptions | None = None
) -> list[Path]:
    """Write a transcription to `<directory>/<name>.<format>`.

    Files are replaced atomically: each is complete, or unchanged. A missing directory is created.

    Args:
        result: A transcription, or the dictionary that openai-whisper returns.
        format: One of FORMATS, or "all" for one file in each of openai-whisper's formats.
        directory: Where to write.
        name: The file name without extension.
        options: How to lay out words in srt, vtt and ass; they need word times.

    Returns:
        The paths of the files.

    Raises:
        OptionError: As for `write`.
        OutputError: The directory or a file cannot be written.
    """
    parse("directory", a_path, directory)
    parse("name", a_text, name)
    plain, formats = _as_dict(result), OPENAI_FORMATS if format == ALL else (format,)
    for each in formats:
        _output_format(each)
    paths = []
    for each in formats:
        paths.append(Path(directory, f"{name}.{each}"))
        write_file(plain, each, paths[-1], options)
    return paths


def write_file(result: Result, format: str, path: str | PathLike[str], options: LineOptions | None = None) -> None:
    """Write a transcription to a file with any name, in other respects as `write_files` does."""
    with _new_text_file(path) as file:
        write(result, format, file, options)


def write_text_file(text: str, path: str | PathLike[str]) -> None:
    """Write a text to a file atomically, in UTF-8 with unchanged line ends; a missing directory is created.

    Raises:
        OutputError: The directory or the file cannot be written.
    """
    with _new_text_file(path) as file:
        file.write(text)


@contextmanager
def _new_text_file(path: str | PathLike[str]) -> Iterator[TextIO]:
    parse("path", a_path, path)
    try:
        if "\0" in os.fspath(path):
            raise OutputError(f"{os.fspath(path)!r} cannot be written: it contains a null character")
        folder = Path(path).parent
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{os.fspath(path)} cannot be written: '{folder}' is not a folder")
        folder.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as raw:
            file = io.TextIOWrapper(raw, encoding="utf-8", newline="")  # the same bytes on every system
            yield file
            file.detach()  # flush it, without closing the file below
    except OSError as error:
        raise OutputError(f"{os.fspath(path)} cannot be written: {error.strerror or error}") from error
