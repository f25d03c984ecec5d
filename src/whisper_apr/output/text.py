"""Clean and escape text for output formats: characters that no format can hold, and each format's markup.

Text without such characters is returned unchanged. Right-to-left text is not reordered, and no directional marks are
added.
"""

import re
import unicodedata

from ..option_values import parse
from ..option_values import text as a_text

WORD_JOINER = "\u2060"  # invisible and of no width; players do not take "<" before it for markup

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")  # line breaks of any reader, other than \n
# C0 and C1 controls, DEL and the byte order mark; and lone surrogates, which UTF-8 cannot encode
_UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff]|([\ud800-\udfff])")

_ARROW = re.compile("(?<!-)--+>")
# markup in SubRip, which has no escapes: <i>, {\an8}, MicroDVD's {y:i}, \N, &nbsp;
_SRT_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|\{(?=\\|[A-Za-z]:[^{}\n]*\})|\\(?=[Nnh])|&(?=#?\w+;)")
_VTT_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_ASS_MARKUP = str.maketrans({"\\": "\\" + WORD_JOINER, "{": "\\{" + WORD_JOINER, "}": "\\}", "\n": "\\N"})
_MARKDOWN = str.maketrans({c: "\\" + c for c in "\\`*_[]<>#|&~$"})
_LRC_TAG = re.compile(r"\[[^\[\]:]*:[^\[\]]*\]|<[^<>:]*:[^<>]*>")
_LRC_BRACKETS = str.maketrans("[<]>", "(())")


def clean(text: str) -> str:
    """Remove control characters and byte order marks; replace other line breaks by "\\n", lone surrogates by U+FFFD."""
    text = _LINE_ENDS.sub("\n", text)
    return _UNPRINTABLE.sub(lambda match: "\ufffd" if match[1] else "", text)


def is_blank(text: str) -> bool:
    """Return whether a text is invisible: only white space and format characters, such as directional marks."""
    return all(character.isspace() or unicodedata.category(character) == "Cf" for character in text)


def one_line(text: str) -> str:
    """Replace every run of white space, line breaks included, by one space, and strip the text."""
    return " ".join(text.split())


def prefix_speaker(speaker: object, text: str) -> str:
    """Return the text with the speaker before it, "0: Hello", or unchanged if the speaker is None.

    Raises:
        OptionError: `text` is not a string.
    """
    parse("text", a_text, text)
    return text if speaker is None else f"{one_line(clean(str(speaker)))}: {text.lstrip()}"


def without_blank_lines(text: str) -> str:
    """Strip the lines of a clean text and drop empty ones, which would end a cue in SubRip and WebVTT."""
    return "\n".join(line for line in map(str.strip, text.split("\n")) if line)


def escape_srt(text: str) -> str:
    """Escape text for SubRip: shorten arrows, as openai-whisper does, and break up markup with a word joiner."""
    return _SRT_MARKUP.sub(lambda match: match[0] + WORD_JOINER, _ARROW.sub("->", text))


def escape_vtt(text: str) -> str:
    """Escape WebVTT cue text with character references (W3C WebVTT)."""
    return text.translate(_VTT_MARKUP)


def escape_ass(text: str) -> str:
    """Escape the text of an Advanced SubStation Alpha event, for libass and ffmpeg.

    Braces have an escape. A backslash has none: a word joiner separates it from the next character. A word joiner after
    an opening brace prevents ffmpeg from reading a following backslash as the start of a tag.
    """
    return text.translate(_ASS_MARKUP)


def escape_markdown(text: str) -> str:
    """Escape inline markup of CommonMark, and of GitHub's tables, strikethrough and math."""
    return text.translate(_MARKDOWN)


def escape_lrc(text: str) -> str:
    """Replace all brackets by parentheses if some look like a tag, such as `[00:12.00]`; LRC has no escapes."""
    return text.translate(_LRC_BRACKETS) if _LRC_TAG.search(text) else text
