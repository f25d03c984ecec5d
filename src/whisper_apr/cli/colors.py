"""Color each word on a terminal by the model's confidence in it, from red through yellow to green."""

import math
import os
from collections.abc import Mapping
from typing import TextIO

from ..inference.results import Segment
from ..output.text import clean, one_line

# Codes of xterm's 256-color palette along the edge from red through yellow to green of its 6 x 6 x 6 cube, in which the
# color (r, g, b) has the code 16 + 36 r + 6 g + b.
COLORS = tuple(16 + 36 * r + 6 * g for r, g in [*((5, g) for g in range(6)), *((r, 5) for r in reversed(range(5)))])
POWER = 3  # most probabilities are near 1; cubing spreads them more evenly, as in whisper.cpp's --print-colors
DEFAULT = "\x1b[39m"


def wants_colors(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Return whether to write colors to a stream: to a terminal, or if FORCE_COLOR is set, unless NO_COLOR is set.

    As no-color.org and force-color.org specify, a variable counts if it is set and not empty, and NO_COLOR takes
    precedence. A terminal with TERM=dumb gets no colors.

    Args:
        stream: Where text is written.
        environment: The environment variables; None for the process's.
    """
    variables = os.environ if environment is None else environment
    if variables.get("NO_COLOR"):
        return False
    if variables.get("FORCE_COLOR"):
        return True
    return variables.get("TERM") != "dumb" and stream.isatty()


def color(probability: float) -> str:
    """Return the escape sequence of a probability's color, from 0 (red) to 1 (green); NaN and infinity are red."""
    level = min(1.0, max(0.0, probability)) ** POWER if math.isfinite(probability) else 0.0
    return f"\x1b[38;5;{COLORS[min(len(COLORS) - 1, int(level * len(COLORS)))]}m"


def colorize(segment: Segment) -> str:
    """Return a segment's text on one line, each word in its probability's color.

    Without words, the whole text has the color of the mean token probability. Control characters are removed.
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
