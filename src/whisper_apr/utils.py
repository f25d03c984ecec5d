"""openai-whisper's `whisper.utils`: `get_writer("srt", folder)(result, "recording.wav")`."""

import os
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from .errors import OptionError
from .option_values import refuse_unknown, shown
from .output import ALL, FORMATS, LineOptions, format_timestamp, write_files
from .output.writers import Result

__all__ = ["format_timestamp", "get_writer"]


def _path(value: Any, what: str) -> str:
    try:
        return os.fsdecode(value)
    except TypeError:
        raise OptionError(f"{what} must be a path, not {type(value).__name__}") from None


def get_writer(output_format: str, output_dir: str | PathLike[str]) -> Callable[..., None]:
    """Return a function that writes transcriptions to files.

    The function takes a transcription, the path of its recording and optionally the fields of LineOptions, as a
    dictionary or as keywords. It writes `<output_dir>/<name of the recording>.<output_format>`, and raises OptionError
    for an unknown field and OutputError if the file cannot be written.

    Args:
        output_format: "txt", "srt", "vtt", "tsv", "json", "csv", "lrc", "md", "ass", "rttm" or "textgrid";
            "all" writes the first five.
        output_dir: Directory of the files.

    Raises:
        OptionError: The format does not exist, or `output_dir` is not a path.
    """
    if not isinstance(output_format, str) or output_format not in (*FORMATS, ALL):
        raise OptionError(f"unknown output format {shown(output_format)}; use one of {', '.join(FORMATS)} and {ALL}")
    directory = _path(output_dir, "output_dir")

    def write(
        result: Result, audio_path: str | PathLike[str], options: Mapping[str, Any] | None = None, **layout: Any
    ) -> None:
        if options is not None and not isinstance(options, Mapping):
            raise OptionError(f"options for the layout of lines must be a dictionary, not {shown(options)}")
        given = {**(options or {}), **layout}
        refuse_unknown("options for the layout of lines", given, LineOptions.__dataclass_fields__)
        lines = LineOptions(**given)
        name = os.path.splitext(os.path.basename(_path(audio_path, "audio_path")))[0]
        write_files(result, output_format, directory, name, lines)

    return write
