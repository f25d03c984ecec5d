"""How sure the model was of each word, as colors on a terminal: from red over yellow to green."""

import math
import os
from collections.abc import Mapping
from typing import TextIO

from ..inference.results import Segment
from .text import clean, one_line

# The edge from red to green of the 6 x 6 x 6 cube that is part of the 256 colors of terminals: its color (r, g, b) is 16 + 36 r + 6 g + b.
COLORS = tuple(16 + 36 * r + 6 * g for r, g in [*((5, g) for g in range(6)), *((r, 5) for r in reversed(range(5)))])
POWER = 3  # most probabilities are near 1: their cubes, which whisper.cpp's --print-colors takes too, are spread more evenly
DEFAULT = "\x1b[39m"


def wants_colors(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Tell whether colors belong on a stream: on a terminal, or where FORCE_COLOR is set, unless NO_COLOR is.

    The variables (`environment`: the process's unless given) count where they are set and not empty, as no-color.org and force-color.org
    have it; NO_COLOR wins, as in Python's own colors. TERM=dumb is a terminal without colors.
    """
    variables = os.environ if environment is None else environment
    if variables.get("NO_COLOR"):
        return False
    if variables.get("FORCE_COLOR"):
        return True
    return variables.get("TERM") != "dumb" and stream.isatty()


def color(probability: float) -> str:
    """The control sequence of a probability's color: 0 is red, 1 green; what is no number is red."""
    height = min(1.0, max(0.0, probability)) ** POWER if math.isfinite(probability) else 0.0
    return f"\x1b[38;5;{COLORS[min(len(COLORS) - 1, int(height * len(COLORS)))]}m"


def colorize(segment: Segment) -> str:
    """The segment's text in one line, each word in its probability's color.

    Where words are not known, all of the text has the color of a token's mean probability. Control characters of the text are left out.
    """
    parts = [(word.word, word.probability) for word in segment.words or ()]
    if not parts:
        parts = [(segment.text, math.exp(min(0.0, segment.avg_logprob)))]
    line = ""
    for text, probability in parts:
        text = clean(text)
        if shown := one_line(text):
            space = " " if line and text[0].isspace() else ""
            line += f"{space}{color(probability)}{shown}{DEFAULT}"
    return line
