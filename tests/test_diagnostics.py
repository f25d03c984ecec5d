"""Warnings and errors about a recording: the code they are attributed to, and how often they are issued."""

import warnings

import pytest

from recordings import wav
from whisper_apr import load_audio
from whisper_apr.audio.diagnostics import DamageReport, Diagnostics, warn
from whisper_apr.errors import AudioError, AudioWarning


def test_warning_is_attributed_to_the_caller() -> None:
    with pytest.warns(AudioWarning) as caught:
        load_audio(wav(bytes(2000))[:-400])
    assert caught[0].filename == __file__


def test_warning_without_a_caller_outside() -> None:
    """The package itself runs as the program."""
    code = compile("warn('it')", "program", "exec")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(code, {"__name__": "whisper_apr.program", "warn": warn})
    assert str(caught[0].message) == "it"


def test_each_kind_is_reported_once() -> None:
    diagnostics = Diagnostics()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for kind in ("a", "b", "a", "b"):
            diagnostics.report(kind, f"message {kind}")
    assert [str(each.message) for each in caught] == ["message a", "message b"]
    with pytest.raises(AudioError, match="message c"):
        Diagnostics(strict=True).report("c", "message c")


def test_damage_summary_is_one_sentence() -> None:
    damage = DamageReport("x.wav", strict=False)
    assert damage.summary() == ""
    damage.add("cut off")
    damage.add("cut off")
    assert damage.summary() == "x.wav: cut off"
    damage.add("damaged")
    assert damage.summary() == "x.wav: cut off; damaged"
    for i in range(1000):
        damage.add(f"damaged at {i} s")
    assert damage.summary() == "x.wav: cut off; damaged; and 1000 more"


def test_damage_raises_with_strict() -> None:
    with pytest.raises(AudioError, match=r"x\.wav: cut off"):
        DamageReport("x.wav", strict=True).add("cut off")
