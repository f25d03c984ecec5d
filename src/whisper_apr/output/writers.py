"""One function a format, and files that are whole or not there."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

from ..atomic import write_atomically
from ..errors import OptionError, OutputError
from ..inference.results import Transcription
from ..spelling import did_you_mean
from .subtitles import Dictionary, LineOptions, cues

Result = Transcription | Mapping[str, Any]
Writer = Callable[[Dictionary, TextIO, LineOptions], None]

ALL = "all"  # every format that openai-whisper writes, each to its file
MARKDOWN_SPECIAL = str.maketrans({c: "\\" + c for c in "\\`*_[]<>#|"})


def _txt(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    for segment in result["segments"]:
        file.write(segment["text"].strip() + "\n")


def _srt(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    for number, cue in enumerate(cues(result["segments"], options, True, ","), 1):
        file.write(f"{number}\n{cue.start} --> {cue.end}\n{cue.text}\n\n")


def _vtt(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    file.write("WEBVTT\n\n")
    for cue in cues(result["segments"], options, False, "."):
        file.write(f"{cue.start} --> {cue.end}\n{cue.text}\n\n")


def _tsv(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    """Times are whole milliseconds."""
    file.write("start\tend\ttext\n")
    for segment in result["segments"]:
        text = segment["text"].strip().replace("\t", " ")
        file.write(f"{round(1000 * segment['start'])}\t{round(1000 * segment['end'])}\t{text}\n")


def _json(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    json.dump(result, file)


def _csv(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    """Times are whole milliseconds, as whisper.cpp's."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(("start", "end", "text"))
    for segment in result["segments"]:
        table.writerow((round(1000 * segment["start"]), round(1000 * segment["end"]), segment["text"].strip()))


def _lrc(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    """Lyrics: minutes, seconds and hundredths before each line; an empty line where nothing is sung."""

    def stamp(seconds: float) -> str:
        hundredths = round(100 * seconds)
        return f"[{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}]"

    end = 0.0
    for segment in result["segments"]:
        text = " ".join(segment["text"].split())
        if not text:
            continue
        if segment["start"] - end >= 1:  # second: a shorter gap is no silence to a reader
            file.write(stamp(end) + "\n")
        file.write(stamp(segment["start"]) + text + "\n")
        end = segment["end"]


def _md(result: Dictionary, file: TextIO, options: LineOptions) -> None:
    """A list: when, and what was said."""
    for segment in result["segments"]:
        seconds, text = int(segment["start"]), " ".join(segment["text"].split())
        if text:
            stamp = f"{seconds // 3600:d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
            file.write(f"- **{stamp}** {text.translate(MARKDOWN_SPECIAL)}\n")


WRITERS: dict[str, Writer] = {
    "txt": _txt,
    "srt": _srt,
    "vtt": _vtt,
    "tsv": _tsv,
    "json": _json,
    "csv": _csv,
    "lrc": _lrc,
    "md": _md,
}
FORMATS = tuple(WRITERS)
OF_ALL = ("txt", "vtt", "srt", "tsv", "json")


def _plain(result: Result) -> Dictionary:
    return result.to_dict() if isinstance(result, Transcription) else dict(result)


def _writer(format: str) -> Writer:
    if format not in WRITERS:
        meant = did_you_mean(str(format), FORMATS)
        raise OptionError(f"unknown output format {format!r}; there are {', '.join(FORMATS)}{meant}")
    return WRITERS[format]


def write(result: Result, format: str, file: TextIO, options: LineOptions | None = None) -> None:
    """Write a transcription, or openai-whisper's dictionary of one, to a text file that is open.

    `options` lays out words in srt and vtt; they need word times. Raises OptionError for a format that does not exist.
    """
    _writer(format)(_plain(result), file, options or LineOptions())


def write_files(
    result: Result, format: str, directory: str | PathLike[str], name: str, options: LineOptions | None = None
) -> list[Path]:
    """Write `<directory>/<name>.<format>`, or with the format `all` one file for each of openai-whisper's formats.

    A file is written beside its place and then put there: it is whole, or what was there before. The folder is made where it is
    missing. Raises OptionError for a format that does not exist, OutputError where the folder or a file cannot be written to.
    """
    plain, formats = _plain(result), OF_ALL if format == ALL else (format,)
    writers = [(each, _writer(each)) for each in formats]
    paths = []
    for each, writer in writers:
        path = Path(directory, f"{name}.{each}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(path) as raw:
                file = io.TextIOWrapper(raw, encoding="utf-8", newline="")  # newline="": the same bytes on every system
                writer(plain, file, options or LineOptions())
                file.detach()  # flushed, and not closed
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
        paths.append(path)
    return paths
