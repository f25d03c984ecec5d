"""Turns of speakers, the files that contain them, and the values of the option `speakers`."""

import numpy as np
import pytest

from whisper_apr import FormatError, OptionError
from whisper_apr.option_values import parse
from whisper_apr.speakers import Diarization, Turn, read_rttm
from whisper_apr.speakers.turns import MAX_RTTM_BYTES, SPEAKERS

TURNS = (Turn(0.5, 2.25, "Ann"), Turn(2.0, 3.0, "Bob"), Turn(4.0, 5.0, "Ann"))


def test_rttm_round_trip(tmp_path):
    path = tmp_path / "a.rttm"
    path.write_text(Diarization(TURNS).to_rttm("my recording"))
    assert path.read_text().splitlines()[0] == "SPEAKER my_recording 1 0.500 1.750 <NA> <NA> Ann <NA> <NA>"
    assert read_rttm(path).turns == TURNS
    assert read_rttm(path).speakers == ["Ann", "Bob"]


def test_lines_of_other_kinds_are_ignored(tmp_path):
    path = tmp_path / "a.rttm"
    path.write_text(";; a comment\n\nSPKR-INFO a 1 <NA> <NA> <NA> unknown Ann <NA>\nSPEAKER a 1 1 2 <NA> <NA> Ann\n")
    assert read_rttm(path).turns == (Turn(1.0, 3.0, "Ann"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"SPEAKER a 1 0.5\n", "line 1: a turn is"),
        (b"\nSPEAKER a 1 x 1 <NA> <NA> Ann\n", "line 2"),
        (b"SPEAKER a 1 1 -2 <NA> <NA> Ann\n", "line 1"),
        (b"SPEAKER a 1 nan 2 <NA> <NA> Ann\n", "line 1"),
        (b"SPEAKER a 1 1 inf <NA> <NA> Ann\n", "line 1"),
        (b"SPEAKER a 1 1 2 <NA> <NA> Ann\nSPEAKER b 1 1 2 <NA> <NA> Ann\n", "2 recordings"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_damaged_files(tmp_path, text, message):
    path = tmp_path / "a.rttm"
    path.write_bytes(text)
    with pytest.raises(FormatError, match=message):
        read_rttm(path)


def test_huge_and_missing_files(tmp_path):
    path = tmp_path / "a.rttm"
    with open(path, "wb") as file:
        file.truncate(MAX_RTTM_BYTES + 1)
    with pytest.raises(FormatError, match="64 MiB"):
        read_rttm(path)
    with pytest.raises(FormatError, match="No such file"):
        read_rttm(tmp_path / "none.rttm")


def test_values_of_the_option(tmp_path):
    path = tmp_path / "a.rttm"
    path.write_text(Diarization(TURNS).to_rttm())
    for value in (TURNS, Diarization(TURNS), path, str(path), [tuple(turn) for turn in reversed(TURNS)]):
        assert parse("speakers", SPEAKERS, value) == TURNS
    assert parse("speakers", SPEAKERS, None) is parse("speakers", SPEAKERS, False) is None
    assert parse("speakers", SPEAKERS, np.True_) is True
    assert parse("speakers", SPEAKERS, np.int64(3)) == 3
    assert parse("speakers", SPEAKERS, {"Ann": "ann.wav"}) == {"Ann": "ann.wav"}
    for value in (
        0,
        51,
        1.5,
        {1: "ann.wav"},
        {" ": "ann.wav"},
        [(0, 1)],
        [(2, 1, "Ann")],
        [(-1, 1, "Ann")],
        object(),
        tmp_path / "none",
    ):
        with pytest.raises(OptionError, match="speakers"):
            parse("speakers", SPEAKERS, value)
