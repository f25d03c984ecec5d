"""Confidence colors: which color, on which streams, and no control sequences from the text."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.cli.colors import COLORS, color, colorize, wants_colors
from whisper_apr.inference.results import Word
from written import TEXT, any_segment, seen, segment

SEQUENCE = re.compile(r"\x1b\[(?:38;5;(\d+)|39)m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_from_red_through_yellow_to_green():
    assert COLORS == (196, 202, 208, 214, 220, 226, 190, 154, 118, 82, 46)
    heights = [COLORS.index(int(SEQUENCE.fullmatch(color(p / 100))[1])) for p in range(101)]  # type: ignore[index]
    assert (heights[0], heights[-1]) == (0, len(COLORS) - 1)
    assert heights == sorted(heights)
    assert len(set(heights)) == len(COLORS)


@pytest.mark.parametrize(
    ("probability", "same"), [(-1, 0), (2, 1), (float("nan"), 0), (float("inf"), 0), (-float("inf"), 0)]
)
def test_values_that_are_not_probabilities(probability, same):
    assert color(probability) == color(same)


def test_a_segment():
    words = Word(" Hello,", 0, 1, 0.99), Word(" wide", 1, 2, 0.2), Word("-", 2, 2, 0.5), Word(" world", 2, 3, 0.9)
    line = colorize(segment(0, 3, " Hello, wide- world", words))
    assert SEQUENCE.sub("", line) == "Hello, wide- world"
    expected = [SEQUENCE.fullmatch(color(word.probability)) for word in words]
    assert [match[1] for match in SEQUENCE.finditer(line) if match[1]] == [match[1] for match in expected if match]
    assert line.endswith("\x1b[39m")


@pytest.mark.parametrize("words", [None, ()])
def test_a_segment_without_words(words):
    assert colorize(segment(0, 3, " Hello", words)) == f"{color(0.9048)}Hello\x1b[39m"  # exp(-0.1)


@given(any_segment(True) | any_segment(False), TEXT)
def test_no_control_sequences_of_the_text(spoken, text):
    for line in (colorize(spoken), colorize(segment(0, 1, text))):
        plain = SEQUENCE.sub("", line)
        assert not any(c < " " or "\x7f" <= c <= "\x9f" for c in plain)
    assert seen(SEQUENCE.sub("", colorize(spoken))) == seen(spoken.text)
    assert seen(SEQUENCE.sub("", colorize(segment(0, 1, text)))) == seen(text)


@given(st.floats())
def test_any_number_has_a_color(probability):
    assert SEQUENCE.fullmatch(color(probability))


@pytest.mark.parametrize(
    ("environment", "on_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "", "TERM": "xterm"}, True, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
    ],
)
def test_wants_colors(environment, on_terminal, elsewhere):
    assert wants_colors(Terminal(), environment) == on_terminal
    assert wants_colors(io.StringIO(), environment) == elsewhere


def test_environment_of_the_process(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert wants_colors(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colors(Terminal())
