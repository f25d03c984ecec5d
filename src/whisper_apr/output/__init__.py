"""Write a transcription as text, subtitles, a table or JSON: txt, srt, vtt, tsv, json, csv, lrc, md, ass,
rttm and textgrid.

To add a format, write a function `_name(result, file, options)` in `writers.py` (cues come from `subtitles.cues`,
escaping from `text.py`), and enter it in the table `WRITERS` under its file extension: `write`, `write_files`,
`Transcription.save` and the command then offer it. Its tests belong in `tests/test_output.py`, one of which names the
files whose text lists all formats, such as this one.

txt, srt, vtt, tsv and json are byte for byte openai-whisper's, except where its files are invalid or lose text:

- txt, srt, vtt, tsv: control characters, byte order marks and lone surrogates are removed or replaced.
- srt, vtt: no cue is empty or has no duration; empty lines in a cue are removed; a segment that has text but no words
  is shown whole; a line does not begin with a closing mark in East Asian text, or with a combining mark
  (`line_breaks`).
- srt: every arrow is broken up, not only in segments without words; a word joiner is inserted into markup.
- vtt: "&", "<" and ">" become character references.
- tsv: a line break in a text becomes a space.
- json: NaN and infinity become null.

If a segment has a `speaker`, text formats put it before the text ("0: Hello"), vtt in a voice tag, csv in its own
column, textgrid in tiers of its own. rttm is the speakers' turns, without text.
"""

from .subtitles import LineOptions, format_timestamp
from .text import prefix_speaker
from .writers import ALL, FORMATS, write, write_files

__all__ = ["ALL", "FORMATS", "LineOptions", "format_timestamp", "prefix_speaker", "write", "write_files"]
