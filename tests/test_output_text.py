"""Cleaning and escaping text: what is removed, what is escaped, and what is unchanged."""

import time
from itertools import product

import pytest
from hypothesis import given

from whisper_apr.output import text as texts
from written import TEXT, seen

WJ = texts.WORD_JOINER
ORDINARY = 'Well - "AT" T, a (b) [c] 50%: l\'été, 字、。 שלום עולם, مرحبا بالعالم! \U0001f600 e\u0301 \u200fא\u200e'


@pytest.mark.parametrize(
    "name", ["clean", "without_blank_lines", "escape_srt", "escape_vtt", "escape_ass", "escape_lrc"]
)
def test_ordinary_text_is_unchanged(name):
    assert getattr(texts, name)(ORDINARY) == ORDINARY


def test_control_characters_are_removed():
    assert texts.clean("\ufeffa\0b\x1b[31mc\x7f\x9b\td") == "ab[31mc\td"
    assert texts.clean("a\r\nb\rc\vd\fe\x1cf\x85g\u2028h\u2029i") == "a\nb\nc\nd\ne\nf\ng\nh\ni"
    assert texts.clean("a\ud800b\udfff") == "a\ufffdb\ufffd"


def test_blank():
    assert all(map(texts.is_blank, ["", " ", "\n\t", "\u200b", "\u200f \u2060", "\u3000"]))
    assert not any(map(texts.is_blank, ["a", " .", "\u0301", "\ufffd"]))


def test_lines():
    assert texts.without_blank_lines(" \n a \n\n \t\n b\n") == "a\nb"
    assert texts.one_line(" a \n\n b\tc") == "a b c"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a --> b", "a -> b"),
        ("a ---> b ------> c", "a -> b -> c"),
        ("a -> b", "a -> b"),
        ("<i>a</i>", f"<{WJ}i>a<{WJ}/i>"),
        ("a < b, 1<2, <3", "a < b, 1<2, <3"),
        (r"{\an8}a", rf"{{{WJ}\an8}}a"),
        ("{y:i}a, {a}, {1:2}", f"{{{WJ}y:i}}a, {{a}}, {{1:2}}"),
        ("\\Na\\b\\h", f"\\{WJ}Na\\b\\{WJ}h"),
        ("&nbsp;a&#60;b & c; AT&T", f"&{WJ}nbsp;a&{WJ}#60;b & c; AT&T"),
    ],
)
def test_srt(text, escaped):
    assert texts.escape_srt(text) == escaped
    assert texts.escape_srt(escaped) == escaped


def test_vtt():
    assert texts.escape_vtt("a --> <b>AT&T</b> &amp;") == "a --&gt; &lt;b&gt;AT&amp;T&lt;/b&gt; &amp;amp;"


def test_ass():
    assert texts.escape_ass("{\\i1}a\\Nb\nc") == rf"\{{{WJ}\{WJ}i1\}}a\{WJ}Nb\Nc"


def test_lrc():
    assert texts.escape_lrc("[00:12.00]a [Music]") == "(00:12.00)a (Music)"
    assert texts.escape_lrc("<00:12.00>a") == "(00:12.00)a"
    assert texts.escape_lrc("[[ti:a]b]") == "((ti:a)b)"
    assert texts.escape_lrc("[Music] a: b") == "[Music] a: b"


def test_markdown():
    assert texts.escape_markdown("*a* &lt; ~~b~~ $c$ <d> - e") == r"\*a\* \&lt; \~\~b\~\~ \$c\$ \<d\> - e"


@given(TEXT)
def test_visible_text_is_kept(text):
    for made in (texts.clean(text), texts.without_blank_lines(text), texts.one_line(text)):
        assert seen(made) == seen(text)


@pytest.mark.parametrize(
    "name",
    [
        *("clean", "is_blank", "one_line", "without_blank_lines"),
        *("escape_srt", "escape_vtt", "escape_ass", "escape_lrc", "escape_markdown"),
    ],
)
def test_time_is_linear_in_the_text(name):
    """A pattern that backtracks at every character would take many seconds of CPU time instead of milliseconds."""
    starts = ["", "[", "<", "{a:", "&"]
    parts = ["-", "<", "{", "{a:", "&a", "[", "[:", "<:", ":", "a", " ", "\n", "\r", " \n", "\ud800"]
    for start, part in product(starts, parts):
        began = time.process_time()
        getattr(texts, name)(start + part * 30_000)
        assert time.process_time() - began < 2, (start, part)
