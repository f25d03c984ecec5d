"""Text made safe for a file format: characters that no format can hold, and the marks that each format gives a meaning to.

Text without such characters is returned as it is. Right-to-left text is never reordered and gets no direction marks.
"""

import re
import unicodedata

WORD_JOINER = "\u2060"  # has no width and no glyph; players take "<" followed by it for text

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")  # besides \n: where some reader or other ends a line
# C0, C1, DEL, the byte order mark; and halves of surrogate pairs, which UTF-8 cannot encode
_UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff]|([\ud800-\udfff])")

_ARROW = re.compile("(?<!-)--+>")
# what players take for markup in SubRip, which has no escape: <i>, {\an8} and MicroDVD's {y:i}, \N, &nbsp;
_SRT_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|\{(?=\\|[A-Za-z]:[^{}\n]*\})|\\(?=[Nnh])|&(?=#?\w+;)")
_VTT_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_ASS_MARKUP = str.maketrans({"\\": "\\" + WORD_JOINER, "{": "\\{" + WORD_JOINER, "}": "\\}", "\n": "\\N"})
_MARKDOWN = str.maketrans({c: "\\" + c for c in "\\`*_[]<>#|&~$"})
_LRC_TAG = re.compile(r"\[[^\[\]:]*:[^\[\]]*\]|<[^<>:]*:[^<>]*>")
_LRC_BRACKETS = str.maketrans("[<]>", "(())")


def clean(text: str) -> str:
    """Remove control characters and the byte order mark; make every kind of line end "\\n" and a lone surrogate U+FFFD."""
    text = _LINE_ENDS.sub("\n", text)
    return _UNPRINTABLE.sub(lambda match: "\ufffd" if match[1] else "", text)


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: white space and format characters, such as marks of direction, alone."""
    return all(character.isspace() or unicodedata.category(character) == "Cf" for character in text)


def one_line(text: str) -> str:
    """Join the lines of a text that was cleaned, and make each run of white space one space."""
    return " ".join(text.split())


def prefix_speaker(speaker: object, text: str) -> str:
    """Put the speaker before a text, as a script does: "0: Hello". Where no speaker is known (None), the text is returned as it is."""
    return text if speaker is None else f"{one_line(clean(str(speaker)))}: {text.lstrip()}"


def without_blank_lines(text: str) -> str:
    """Strip a text that was cleaned, and its lines: in SubRip and WebVTT an empty line ends a cue."""
    return "\n".join(line for line in map(str.strip, text.split("\n")) if line)


def escape_srt(text: str) -> str:
    """Escape for SubRip: an arrow loses dashes, as in openai-whisper; markup is broken up by a word joiner."""
    return _SRT_MARKUP.sub(lambda match: match[0] + WORD_JOINER, _ARROW.sub("->", text))


def escape_vtt(text: str) -> str:
    """Escape for WebVTT's cue text, with its character references."""
    return text.translate(_VTT_MARKUP)


def escape_ass(text: str) -> str:
    """Escape for an event's text in Advanced SubStation Alpha, as libass and ffmpeg read it.

    Braces have an escape. A backslash has none: a word joiner keeps it from what follows. One behind a brace keeps ffmpeg from taking a
    backslash that follows for the beginning of a tag.
    """
    return text.translate(_ASS_MARKUP)


def escape_markdown(text: str) -> str:
    """Escape what CommonMark, or GitHub's tables, strikethrough and mathematics, give a meaning to within a line."""
    return text.translate(_MARKDOWN)


def escape_lrc(text: str) -> str:
    """Make parentheses of all brackets where a player would take some for a time or a header, `[00:12.00]`: LRC has no escape."""
    return text.translate(_LRC_BRACKETS) if _LRC_TAG.search(text) else text
