"""A transcription becomes text, subtitles, a table or JSON: txt, srt, vtt, tsv, json, csv, lrc, md.

The first five are openai-whisper's, byte for byte.
"""

from .subtitles import LineOptions, format_timestamp
from .writers import ALL, FORMATS, write, write_files

__all__ = ["ALL", "FORMATS", "LineOptions", "format_timestamp", "write", "write_files"]
