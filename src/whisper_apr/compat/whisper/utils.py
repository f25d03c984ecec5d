"""openai-whisper's `whisper.utils`."""

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, TextIO

from ...inference.decode import compression_ratio
from ...output import ALL, LineOptions, format_timestamp, write
from ...output.subtitles import format_milliseconds
from ...output.writers import cue_texts
from ...output.writers import write_text_file as _write_text_file
from ...utils import get_writer as _get_writer

__all__ = [
    "ResultWriter",
    "SubtitlesWriter",
    "WriteJSON",
    "WriteSRT",
    "WriteTSV",
    "WriteTXT",
    "WriteVTT",
    "compression_ratio",
    "exact_div",
    "format_timestamp",
    "get_end",
    "get_start",
    "get_writer",
    "make_safe",
    "optional_float",
    "optional_int",
    "str2bool",
    "system_encoding",
]

system_encoding = sys.getdefaultencoding()


def make_safe(string: str) -> str:
    """Replace characters that the default encoding cannot represent by question marks."""
    return string.encode(system_encoding, errors="replace").decode(system_encoding)


def exact_div(x: int, y: int) -> int:
    """Return x / y, of which the remainder must be 0."""
    if x % y:
        raise AssertionError(f"{x} is not divisible by {y}")
    return x // y


def str2bool(string: str) -> bool:
    """Return the truth value that "True" or "False" names."""
    if string not in ("True", "False"):
        raise ValueError(f"{string!r} must be 'True' or 'False'")
    return string == "True"


def optional_int(string: str) -> int | None:
    """Return the integer in a string, or None for "None"."""
    return None if string == "None" else int(string)


def optional_float(string: str) -> float | None:
    """Return the number in a string, or None for "None"."""
    return None if string == "None" else float(string)


def get_start(segments: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the start of the first word, or of the first segment if there are no words; None without segments."""
    words = (word["start"] for segment in segments for word in segment["words"])
    return next(words, segments[0]["start"] if segments else None)


def get_end(segments: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the end of the last word, or of the last segment if there are no words; None without segments."""
    words = (word["end"] for segment in reversed(segments) for word in reversed(segment["words"]))
    return next(words, segments[-1]["end"] if segments else None)


def _line_options(options: Mapping[str, Any] | None, layout: Mapping[str, Any]) -> LineOptions:
    """Return the layout; as in openai-whisper, 0 and None are no limit, and keywords come before the dictionary."""
    names = LineOptions.__dataclass_fields__
    given = {name: layout.get(name) or (options or {}).get(name) or None for name in names}
    return LineOptions(**{name: value for name, value in given.items() if value is not None})


class ResultWriter:
    """Writes transcriptions to files of a folder. A subclass names the format.

    Attributes:
        extension: The format, and the suffix of the files.
        output_dir: The folder.
    """

    extension: str

    def __init__(self, output_dir: str | PathLike[str]) -> None:
        self.output_dir = output_dir

    def __call__(
        self,
        result: Mapping[str, Any],
        audio_path: str | PathLike[str],
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a result to a file that is named after its recording."""
        name = os.path.splitext(os.path.basename(audio_path))[0]
        text = io.StringIO(newline="")
        self.write_result(result, file=text, options=options, **kwargs)
        _write_text_file(text.getvalue(), os.path.join(self.output_dir, f"{name}.{self.extension}"))

    def write_result(
        self, result: Mapping[str, Any], file: TextIO, options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Write a result to an open file."""
        if not hasattr(self, "extension"):
            raise NotImplementedError
        write(result, self.extension, file, _line_options(options, kwargs))


class WriteTXT(ResultWriter):
    """Writes a line for each segment."""

    extension = "txt"


class WriteTSV(ResultWriter):
    """Writes a table of start and end in milliseconds, and text."""

    extension = "tsv"


class WriteJSON(ResultWriter):
    """Writes the whole result."""

    extension = "json"


class SubtitlesWriter(ResultWriter):
    """Writes subtitles.

    Attributes:
        always_include_hours: Whether times have hours even if they are 0.
        decimal_marker: What separates seconds and milliseconds.
    """

    always_include_hours: bool
    decimal_marker: str

    def iterate_result(
        self,
        result: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        *,
        max_line_width: int | None = None,
        max_line_count: int | None = None,
        highlight_words: bool = False,
        max_words_per_line: int | None = None,
    ) -> Iterator[tuple[str, str, str]]:
        """Yield start, end and text of each subtitle. See `whisper_apr.LineOptions`."""
        layout = {
            "max_line_width": max_line_width,
            "max_line_count": max_line_count,
            "max_words_per_line": max_words_per_line,
            "highlight_words": highlight_words,
        }
        for start, end, text in cue_texts(result, self.extension, _line_options(options, layout)):
            yield self._format(start), self._format(end), text

    def format_timestamp(self, seconds: float) -> str:
        """Return a time in the format's style."""
        return format_timestamp(seconds, self.always_include_hours, self.decimal_marker)

    def _format(self, milliseconds: int) -> str:
        return format_milliseconds(milliseconds, self.always_include_hours, self.decimal_marker)


class WriteVTT(SubtitlesWriter):
    """Writes WebVTT."""

    extension = "vtt"
    always_include_hours = False
    decimal_marker = "."


class WriteSRT(SubtitlesWriter):
    """Writes SubRip."""

    extension = "srt"
    always_include_hours = True
    decimal_marker = ","


_WRITERS: dict[str, type[ResultWriter]] = {
    each.extension: each for each in (WriteTXT, WriteVTT, WriteSRT, WriteTSV, WriteJSON)
}


def get_writer(output_format: str, output_dir: str | PathLike[str]) -> Callable[..., None]:
    """Return a function that writes transcriptions to files. See `whisper_apr.utils.get_writer`.

    Args:
        output_format: "txt", "vtt", "srt", "tsv" or "json"; "all" for all of them; or another of whisper_apr's.
        output_dir: Directory of the files.
    """
    if output_format in _WRITERS:
        return _WRITERS[output_format](output_dir)
    if output_format != ALL:
        return _get_writer(output_format, output_dir)
    writers = [writer(output_dir) for writer in _WRITERS.values()]

    def write_all(
        result: Mapping[str, Any], file: str | PathLike[str], options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        for writer in writers:
            writer(result, file, options, **kwargs)

    return write_all
