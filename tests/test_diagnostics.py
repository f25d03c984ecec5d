"""Warnings and errors about a recording: whose code they point to, and how often they come."""

import warnings

import pytest

from recordings import wav
from whisper_apr import load_audio
from whisper_apr.audio.diagnostics import DamageReport, Diagnostics, warn
from whisper_apr.errors import AudioError, AudioWarning


def test_a_warning_points_to_the_caller() -> None:
    with pytest.warns(AudioWarning) as told:
        load_audio(wav(bytes(2000))[:-400])
    assert told[0].filename == __file__


def test_a_warning_without_a_caller() -> None:
    """Where the package itself is the program."""
    code = compile("warn('it')", "program", "exec")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        exec(code, {"__name__": "whisper_apr.program", "warn": warn})
    assert str(told[0].message) == "it"


def test_notices_are_told_once_of_each_kind() -> None:
    diagnostics = Diagnostics()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for kind in ("a", "b", "a", "b"):
            diagnostics.report(kind, f"message {kind}")
    assert [str(each.message) for each in told] == ["message a", "message b"]
    with pytest.raises(AudioError, match="message c"):
        Diagnostics(strict=True).report("c", "message c")


def test_faults_are_one_sentence() -> None:
    faults = DamageReport("x.wav", strict=False)
    assert faults.summary() == ""
    faults.add("cut off")
    faults.add("cut off")
    assert faults.summary() == "x.wav: cut off"
    faults.add("damaged")
    assert faults.summary() == "x.wav: cut off; damaged"
    for i in range(1000):
        faults.add(f"damaged at {i} s")
    assert faults.summary() == "x.wav: cut off; damaged; and 1000 more"


def test_a_fault_is_an_error_where_it_is_strict() -> None:
    with pytest.raises(AudioError, match=r"x\.wav: cut off"):
        DamageReport("x.wav", strict=True).add("cut off")
