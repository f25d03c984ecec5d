"""The result of diarization: turns of speakers, and their exchange as RTTM."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from ..errors import FormatError, OptionError
from ..option_values import Kind, Refused, items_of, whole
from ..output.rttm import rttm_line
from .layers import FloatArray

MAX_SPEAKERS = 50
MAX_RTTM_BYTES = 1 << 26  # a day of speech with a turn each second takes 5 MB


class Turn(NamedTuple):
    """A stretch of time in which a speaker speaks, in seconds."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True)
class Diarization:
    """Who speaks when.

    Attributes:
        turns: In order of their start. Turns of different speakers may overlap.
        embeddings: A vector of length one for each speaker's voice, `(192,)`; empty for turns that were read from a
            file. The cosine similarity of two recordings of one voice is mostly above 0.5, of two voices below 0.4.
    """

    turns: tuple[Turn, ...]
    embeddings: Mapping[str, FloatArray] = field(default_factory=dict, compare=False)

    @property
    def speakers(self) -> list[str]:
        """The speakers, in order of their first turn."""
        return list(dict.fromkeys(turn.speaker for turn in self.turns))

    def to_rttm(self, name: str = "recording") -> str:
        """Return the turns in NIST's Rich Transcription Time Marked format, a line for each turn.

        Args:
            name: Of the recording; spaces in it become underscores, as in speakers' names.
        """
        return "".join(rttm_line(name, *turn) for turn in self.turns)


def read_rttm(path: str | PathLike[str]) -> Diarization:
    """Read the turns of a file in the RTTM format.

    Args:
        path: A file of one recording. Lines that do not begin with SPEAKER are ignored.

    Raises:
        FormatError: The file cannot be read, is too large, names several recordings, or a line is not RTTM.
    """
    where = Path(path).name
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_RTTM_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a null character in the path
        raise FormatError(f"{where}: it cannot be read ({error}); give a file in the RTTM format") from error
    if len(text) > MAX_RTTM_BYTES:
        raise FormatError(f"{where}: it has more than {MAX_RTTM_BYTES >> 20} MiB; give the turns of one recording")
    turns, recordings = [], set()
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            turns.append(_turn((fields[3], float(fields[3]) + float(fields[4]), fields[7])))
        except (IndexError, ValueError):
            raise FormatError(
                f"{where}, line {number}: a turn is 'SPEAKER NAME 1 START DURATION <NA> <NA> SPEAKER <NA> <NA>'"
            ) from None
        recordings.add(fields[1])
    if len(recordings) > 1:
        raise FormatError(f"{where}: it has turns of {len(recordings)} recordings; give the turns of one")
    return Diarization(tuple(sorted(turns)))


def _turn(fields: Iterable[Any]) -> Turn:
    """Return a turn. Raises ValueError or TypeError if the fields are others."""
    start, end, speaker = fields
    turn = Turn(float(start), float(end), str(speaker))
    if not 0 <= turn.start <= turn.end < math.inf:
        raise ValueError(f"a turn from {turn.start:g} s to {turn.end:g} s is not possible")
    return turn


def _speakers(value: Any) -> Literal[True] | int | tuple[Turn, ...] | dict[str, Any] | None:
    if value is None or isinstance(value, bool | np.bool_):
        return True if value else None
    if isinstance(value, Diarization):
        return value.turns
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) and name.strip() for name in value):
            raise Refused
        return dict(value)
    if isinstance(value, str | PathLike):
        try:
            return read_rttm(value).turns
        except FormatError as error:
            raise OptionError(str(error)) from error
    try:
        return cast(int, whole(1, MAX_SPEAKERS).convert(value))
    except Refused:
        items = items_of(value)
    try:
        return tuple(sorted(map(_turn, items)))
    except (TypeError, ValueError):
        raise Refused from None


# Values of the option `speakers`
SPEAKERS = Kind(
    f"True, a number of speakers up to {MAX_SPEAKERS}, known voices by their names, turns (start, end, speaker) in "
    "seconds, a Diarization, the path of an RTTM file, or None",
    _speakers,
)
