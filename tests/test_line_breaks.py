"""Where lines may be broken: kinsoku, and combining marks."""

# ruff: noqa: RUF001

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.output.line_breaks import may_break


@pytest.mark.parametrize("mark", "、。，．・：；？！」』）】〕〉》］｝〜｡､｣･﹐﹑")
def test_no_break_before_a_closing_mark(mark):
    assert not may_break("字", mark)
    assert not may_break("a", mark)
    assert may_break(mark, "字")


@pytest.mark.parametrize("mark", "「『（【〔〈《［｛｢")
def test_no_break_after_an_opening_mark(mark):
    assert not may_break(mark, "字")
    assert not may_break(mark, "a")
    assert may_break("字", mark)


@pytest.mark.parametrize("mark", ".,?!:;)]}”’…")
def test_narrow_marks_count_beside_wide_characters(mark):
    assert not may_break("字", mark)
    assert may_break("a", mark)  # as in openai-whisper
    assert may_break("字", " " + mark)


@pytest.mark.parametrize(("base", "mark"), [("e", "\u0301"), ("ก", "\u0e33"), ("ก", "\u0e34"), ("မ", "\u102c")])
def test_combining_marks(base, mark):
    assert may_break(base, mark) != unicodedata.category(mark).startswith("M")


def test_breaks_between_words():
    assert may_break("字", "語")
    assert may_break(" one", " two")
    assert may_break("。 ", "。")
    assert may_break("", "。")
    assert may_break("字", "ゃ")


@given(st.text(), st.text())
def test_any_text(before, after):
    assert may_break(before, after) in (True, False)
    assert may_break(before, " " + after)
