"""Strategies for transcriptions with any text and times, and readers of the files written from them."""

import io
import re
import unicodedata
from typing import Any, NamedTuple

from hypothesis import strategies as st

from whisper_apr.inference.results import Segment, Transcription, Word
from whisper_apr.output import LineOptions, write

NASTY = (
    "-->", "--", "--->", ">", "<", "<i>", "</b>", "<00:01.00>", "&", "&amp;", "&nbsp;", "{\\an8}", "{y:i}",
    "{", "}", "\\", "\\N", "\n", "\n\n", "\r\n", "\r", "\t", "\0", "\x1b[31m", "\x85", "\u2028", "\ufeff",
    "\u200f", "\ud800", "NOTE", "WEBVTT", "1\n", "00:00:01,000 --> 00:00:02,000", "[00:12.00]", "[ti:x]", '"',
    ",", "=1+1", "*", "`", "_", "#", "|", "~~", "$", "字", "「", "」", "。", "、", "שלום", "مرحبا", "e\u0301",
    "\u0301", "word", " ", "  ",
)  # fmt: skip
TEXT = st.text(max_size=12) | st.lists(st.sampled_from(NASTY), max_size=6).map("".join)
SECONDS = st.integers(0, 40).map(lambda t: t / 10) | st.floats(0, 10**5)
LAYOUT = st.fixed_dictionaries(
    {
        "max_line_width": st.none() | st.integers(1, 30),
        "max_line_count": st.none() | st.integers(1, 3),
        "max_words_per_line": st.none() | st.integers(1, 4),
        "highlight_words": st.booleans(),
    }
)


def segment(start: float, end: float, text: str, words: tuple[Word, ...] | None = None) -> Segment:
    return Segment(0, 0, start, end, text, (1, 2), 0.0, -0.1, 1.0, 0.0, words)


def transcription(*segments: Segment) -> Transcription:
    return Transcription("".join(s.text for s in segments), segments, "en")


def of_words(*words: Word) -> Transcription:
    return transcription(segment(words[0].start, words[-1].end, "".join(w.word for w in words), words))


@st.composite
def any_segment(draw: Any, with_words: bool) -> Segment:
    words = tuple(
        Word(draw(TEXT), draw(SECONDS), draw(SECONDS), 0.5) for _ in range(draw(st.integers(0, 4)) if with_words else 0)
    )
    text = "".join(word.word for word in words) if words else draw(TEXT)
    return segment(draw(SECONDS), draw(SECONDS), text, words if with_words else None)


@st.composite
def any_transcription(draw: Any, with_words: bool | None = None) -> Transcription:
    """Draw any text and any times, which need not increase and may overlap."""
    has_words = draw(st.booleans()) if with_words is None else with_words
    return transcription(*draw(st.lists(any_segment(has_words), max_size=4)))


def written(result: Any, format: str, **options: Any) -> str:
    file = io.StringIO()
    write(result, format, file, LineOptions(**options))
    return file.getvalue()


def seen(text: str) -> str:
    """Return the visible characters of a text: no white space, control or format characters."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # lone surrogates become U+FFFD
    return "".join(c for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf"))


def seen_segments(result: Transcription) -> list[str]:
    return [text for text in (seen(s.text) for s in result.segments) if text]


class Shown(NamedTuple):
    start: int  # milliseconds
    end: int
    text: str


def read_stamp(text: str) -> int:
    match = re.fullmatch(r"(?:(\d{2,}):)?(\d\d):(\d\d)[.,](\d{3})", text)
    assert match, text
    hours, minutes, seconds, milliseconds = (int(part or 0) for part in match.groups())
    assert minutes < 60
    assert seconds < 60
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds


def _read_cue(lines: list[str]) -> Shown:
    start, arrow, end = lines[0].split(" ")
    assert arrow == "-->"
    assert len(lines) > 1
    assert not any("-->" in line for line in lines[1:])
    cue = Shown(read_stamp(start), read_stamp(end), "\n".join(lines[1:]))
    assert cue.start < cue.end
    return cue


def read_srt(text: str) -> list[Shown]:
    """Return the cues of a file, checking that they are numbered and none is empty or without duration."""
    assert "\r" not in text
    *blocks, rest = text.split("\n\n")
    assert rest == ""
    cues = []
    for number, block in enumerate(blocks, 1):
        first, *lines = block.split("\n")
        assert first == str(number)
        cues.append(_read_cue(lines))
    return cues


def read_vtt(text: str) -> list[Shown]:
    """Return the cues of a file, checking that it is valid; character references are resolved, <u> and <v> are kept."""
    assert "\r" not in text
    head, *blocks, rest = text.split("\n\n")
    assert (head, rest) == ("WEBVTT", "")
    cues = [_read_cue(block.split("\n")) for block in blocks]
    for cue in cues:
        assert not re.search(r"<(?!/?u>|v [^<>]+>)|&(?!(amp|lt|gt);)", cue.text)
    return [cue._replace(text=unescape(cue.text)) for cue in cues]


def unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
