"""Kinds of option values: accepted values, their conversion, and the error for all others."""

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

from whisper_apr.errors import OptionError
from whisper_apr.option_values import (
    MAX_WHOLE,
    Refused,
    boolean,
    choice,
    either,
    function,
    kinds_of,
    number,
    optional,
    parse,
    parse_fields,
    path,
    refuse_unknown,
    sequence,
    shown,
    text,
    whole,
)


class Tensor:
    """Resembles a torch tensor of no dimensions."""

    ndim = 0

    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (whole(), -5, -5),
        (whole(1), np.int64(5), 5),
        (whole(0), np.uint8(0), 0),
        (whole(0), np.array(7), 7),
        (whole(0), Tensor(7), 7),
        (whole(0, 3), 3, 3),
        (number(), 3, 3.0),
        (number(0), np.float32(0.25), 0.25),
        (number(0, 1), np.int8(1), 1.0),
        (number(), Fraction(1, 4), 0.25),
        (number(above=0), 1e-300, 1e-300),
        (number(infinite=True), -math.inf, -math.inf),
        (boolean, np.True_, True),
        (boolean, 0, False),
        (text, np.str_("a"), "a"),
        (choice("a", "b"), "b", "b"),
        (path, Path("x"), Path("x")),
        (function, len, len),
        (optional(whole()), None, None),
        (optional(whole()), 1, 1),
        (sequence(whole(), ""), np.array([1, 2], np.uint16), (1, 2)),
        (sequence(number(), ""), (t for t in (0, 0.5)), (0.0, 0.5)),
        (either(whole(), text), "x", "x"),
    ],
)
def test_accepted_values_are_converted(kind, value, expected):
    found = parse("option", kind, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (whole(), [True, np.True_, 1.0, np.float32(1), "1", b"1", None, [1], np.array([1]), 1j, Tensor("1"), math.nan]),
        (whole(), [MAX_WHOLE + 1, 10**400, np.datetime64("2020", "ns"), np.timedelta64(5)]),
        (whole(1), [0, -1]),
        (whole(1, 3), [4]),
        (number(), [True, np.False_, "1", None, [1.0], np.array([1.0]), math.nan, math.inf, 10**400, 1j, Decimal(1)]),
        (number(infinite=True), [math.nan, np.float32("nan")]),
        (number(0, 1), [-0.1, 1.1, np.float64(2)]),
        (number(above=0), [0, -1.0]),
        (boolean, ["True", 2, -1, 0.0, 1.0, None, [], np.array([True])]),
        (text, [b"a", None, 5, ["a"], Path("a")]),
        (choice("a", "b"), ["c", "", None, ["a"], 0]),
        (path, [5, None, b"a"]),
        (function, [5, None, "len"]),
        (sequence(whole(), ""), [5, "12", b"12", {1: 2}, {1, 2}, None, [1.5], [True], np.array([[1]]), np.array(1)]),
        (sequence(whole(), "", least=1), [[], ()]),
    ],
)
def test_other_values_are_refused(kind, values):
    for value in values:
        with pytest.raises(Refused):
            kind.convert(value)
        with pytest.raises(OptionError, match=r"^some_option must be ") as caught:
            parse("some_option", kind, value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300


def test_message_describes_the_accepted_values():
    kinds = {
        whole(1, 3): "a whole number of at least 1 and at most 3",
        number(0, 1): "a number between 0 and 1",
        number(0): "a number of at least 0",
        number(above=0, high=30): "a number above 0 and not above 30",
        number(): "a number",
        choice("a", "b", "c"): "'a', 'b' or 'c'",
        optional(whole(0)): "a whole number of at least 0, or None",
        either(whole(0), text): "a whole number of at least 0, or a string",
    }
    for kind, says in kinds.items():
        assert kind.accepts == says
        with pytest.raises(OptionError) as caught:
            parse("x", kind, 1.5j)
        assert str(caught.value) == f"x must be {says}, not 1.5j"


def test_mistyped_word_gets_a_suggestion():
    with pytest.raises(OptionError, match=r"not 'intt8'; did you mean 'int8'\?$"):
        parse("compute_type", choice("float32", "int8"), "intt8")


def test_error_raised_by_a_kind_names_the_option():
    def fail(_):
        raise OptionError("language 'klingon' is not known")

    from whisper_apr.option_values import Kind

    for name, says in (("languages", "languages: language 'klingon'"), ("language", "language 'klingon'")):
        with pytest.raises(OptionError, match=f"^{says}"):
            parse(name, Kind("", fail), 1)


def test_values_are_shown_on_one_short_line():
    for value in ("a\nb" * 1000, np.zeros((500, 500)), list(range(10**5)), 10**300, {"a": "x" * 900}):
        assert "\n" not in shown(value)
        assert len(shown(value)) < 150


def test_fields_of_a_dataclass():
    @dataclass(frozen=True)
    class Options:
        n: Annotated[int, whole(1)] = 1
        free: object = None

        def __post_init__(self):
            parse_fields(self)

    assert list(kinds_of(Options)) == ["n"]
    options = Options(np.int8(3), "anything")
    assert (options.n, type(options.n), options.free) == (3, int, "anything")
    with pytest.raises(OptionError, match=r"^n must be"):
        Options(0)


def test_unknown_names_get_a_suggestion():
    refuse_unknown("options", ["beam_size"], ["beam_size"])
    with pytest.raises(OptionError, match=r"^unknown options: beamsize; did you mean 'beam_size'\?$"):
        refuse_unknown("options", ["beamsize"], ["beam_size", "best_of"])
    with pytest.raises(OptionError, match=r"^unknown options: 5, zzz$"):
        refuse_unknown("options", ["zzz", 5], ["beam_size"])
