"""A transcription becomes text, subtitles, a table or JSON: txt, srt, vtt, tsv, json, csv, lrc, md, ass.

The first five are openai-whisper's, byte for byte, but where its own files are not valid or lose text:

- txt, srt, vtt, tsv: control characters, byte order marks and lone surrogates are left out or replaced.
- srt, vtt: there is no cue without text and none of no length; empty lines within a cue are left out; a segment with text and no words is
  shown whole; a closing mark in East Asian text, or a combining mark, does not begin a line (`line_breaks`).
- srt: every arrow is broken up, not only those of segments without words; what a player would take for markup gets a word joiner.
- vtt: "&", "<" and ">" are character references.
- tsv: a line's end within a text is a space.
- json: null in place of NaN and infinity.
Where a segment has a `speaker`, the text formats put it before the text ("0: Hello"), vtt as a voice tag, csv in a column of its own.
"""

from .subtitles import LineOptions, format_timestamp
from .text import prefix_speaker
from .writers import ALL, FORMATS, write, write_files

__all__ = ["ALL", "FORMATS", "LineOptions", "format_timestamp", "prefix_speaker", "write", "write_files"]
