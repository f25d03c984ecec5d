"""openai-whisper's names for its writers: `get_writer("srt", folder)(result, "recording.wav")`."""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from .errors import OptionError
from .output import ALL, FORMATS, LineOptions, format_timestamp, write_files
from .output.writers import Result

__all__ = ["format_timestamp", "get_writer"]


def get_writer(output_format: str, output_dir: str | PathLike[str]) -> Callable[..., None]:
    """A function that takes a result, its recording's path and, by name or as a dictionary, how words are laid out, and writes
    `<output_dir>/<the recording's name>.<output_format>`; with "all" one file for each of openai-whisper's formats.

    Raises OptionError for a format that does not exist.
    """
    if output_format not in (*FORMATS, ALL):
        raise OptionError(f"unknown output format {output_format!r}; there are {', '.join(FORMATS)} and {ALL}")

    def write(
        result: Result, audio_path: str | PathLike[str], options: Mapping[str, Any] | None = None, **layout: Any
    ) -> None:
        try:
            lines = LineOptions(**{**(options or {}), **layout})
        except TypeError as error:
            raise OptionError(f"words cannot be laid out so: {error}") from None
        write_files(result, output_format, output_dir, Path(audio_path).stem, lines)

    return write
