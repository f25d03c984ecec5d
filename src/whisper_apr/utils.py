"""openai-whisper's names for its writers: `get_writer("srt", folder)(result, "recording.wav")`."""

import os
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from .errors import OptionError
from .output import ALL, FORMATS, LineOptions, format_timestamp, write_files
from .output.writers import Result

__all__ = ["format_timestamp", "get_writer"]


def _path(value: Any, what: str) -> str:
    try:
        return os.fsdecode(value)
    except TypeError:
        raise OptionError(f"{what} must be a path, not {type(value).__name__}") from None


def get_writer(output_format: str, output_dir: str | PathLike[str]) -> Callable[..., None]:
    """Return a function that writes results to files of one format, or with "all" of each of openai-whisper's formats.

    The function takes a result, its recording's path and, by name or as a dictionary, how words are laid out (see `LineOptions`). It
    writes `<output_dir>/<the recording's name>.<output_format>`.

    Raises OptionError for a format that does not exist and for what is no path; the function, for a layout that does not exist too.
    """
    if not isinstance(output_format, str) or output_format not in (*FORMATS, ALL):
        raise OptionError(f"unknown output format {output_format!r}; there are {', '.join(FORMATS)} and {ALL}")
    directory = _path(output_dir, "output_dir")

    def write(
        result: Result, audio_path: str | PathLike[str], options: Mapping[str, Any] | None = None, **layout: Any
    ) -> None:
        try:
            lines = LineOptions(**{**(options or {}), **layout})
        except TypeError as error:
            raise OptionError(f"words cannot be laid out so: {error}") from None
        name = os.path.splitext(os.path.basename(_path(audio_path, "audio_path")))[0]
        write_files(result, output_format, directory, name, lines)

    return write
