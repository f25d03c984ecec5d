"""Advanced SubStation Alpha subtitles, with karaoke timing that highlights each word as it is spoken."""

from collections.abc import Iterable
from typing import TextIO

from .subtitles import Cue
from .text import escape_ass

TICKS_PER_SECOND = 100  # the format's times are in hundredths of a second

# PlayRes is the coordinate system, which players scale to the video. Colors are &HAABBGGRR, and AA = 00 is opaque. With
# karaoke, a word has the secondary color before it is spoken, and the primary color afterwards.
_HEADER = """\
[Script Info]
; written by whisper_apr
ScriptType: v4.00+
PlayResX: 1920
PlayResY: 1080
WrapStyle: 0
ScaledBorderAndShadow: yes

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,64,&H00FFFFFF,&H00FFFFFF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,80,80,50,1
Style: Karaoke,Arial,64,&H0000D7FF,&H00FFFFFF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,80,80,50,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def _stamp(hundredths: int) -> str:
    seconds, hundredths = divmod(hundredths, TICKS_PER_SECOND)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{hundredths:02d}"


def _karaoke(cue: Cue) -> str:
    r"""Return the words, each preceded by its duration in hundredths of a second, `{\k<n>}`.

    Silence is a duration without text. The durations add up to the cue's.
    """
    parts, shown = [], cue.start
    for index, word in enumerate(cue.words, 1):
        start = min(cue.end, max(shown, round(word.start * TICKS_PER_SECOND)))
        end = cue.end if index == len(cue.words) else min(cue.end, max(start, round(word.end * TICKS_PER_SECOND)))
        text = word.text.lstrip()
        parts.append(escape_ass(word.text[: len(word.text) - len(text)]))
        if start > shown:
            parts.append(f"{{\\k{start - shown}}}")
        parts.append(f"{{\\k{end - start}}}{escape_ass(text)}")
        shown = end
    return "".join(parts)


def write_ass(cues: Iterable[Cue], file: TextIO, *, is_timed: bool) -> None:
    """Write a script.

    Args:
        cues: With times in hundredths of a second.
        file: A text file.
        is_timed: Whether the words' times are known, for karaoke.
    """
    file.write(_HEADER)
    style = "Karaoke" if is_timed else "Default"
    for cue in cues:
        text = _karaoke(cue) if is_timed else escape_ass("".join(word.text for word in cue.words))
        name = (cue.words[0].speaker or "").replace(",", " ")
        file.write(f"Dialogue: 0,{_stamp(cue.start)},{_stamp(cue.end)},{style},{name},0,0,0,,{text}\n")
