"""Values of options, checked and converted where they enter the package.

A `Kind` says which values an option takes and what becomes of them. A dataclass of options annotates each field with its kind
(`beam_size: Annotated[int | None, optional(whole(1))] = None`) and calls `parse_fields` when it is made; a function calls `parse`.
Scalars and arrays of NumPy, and of what looks like it, are taken wherever Python's own numbers and lists are.
"""

import math
import reprlib
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral, Real
from os import PathLike
from typing import Any, get_type_hints

import numpy as np

from .errors import OptionError
from .spelling import did_you_mean

MAX_WHOLE = 10**9  # of any whole number that is not told to go further


class Refused(ValueError):
    """Raised by a kind's `convert` for a value that the kind does not take."""


@dataclass(frozen=True)
class Kind:
    """What an option takes.

    accepts: completes the sentence "beam_size must be ...".
    convert: returns the value that the package works with; raises Refused, or an OptionError of its own.
    names: the words that it takes, where it takes no others; an error suggests the one that may have been meant.
    """

    accepts: str
    convert: Callable[[Any], Any]
    names: tuple[str, ...] = ()


def parse(name: str, kind: Kind, value: Any) -> Any:
    """Return the option's converted value. Raises OptionError, naming the option and what it accepts, for any other."""
    try:
        return kind.convert(value)
    except Refused:
        meant = did_you_mean(value, kind.names) if isinstance(value, str) else ""
        raise OptionError(f"{name} must be {kind.accepts}, not {shown(value)}{meant}") from None
    except OptionError as error:
        raise error if name in str(error) else OptionError(f"{name}: {error}") from None


def kinds_of(options: type) -> dict[str, Kind]:
    """Return the kinds of a dataclass's fields, by name."""
    return _kinds_of(options)


@lru_cache
def _kinds_of(options: type) -> dict[str, Kind]:
    hints = get_type_hints(options, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}


def parse_fields(options: Any) -> None:
    """Convert every field of a dataclass that has a kind, in place; for a frozen one's `__post_init__`."""
    for name, kind in kinds_of(type(options)).items():
        object.__setattr__(options, name, parse(name, kind, getattr(options, name)))


def refuse_unknown(what: str, given: Iterable[Any], known: Iterable[str]) -> None:
    """Raise OptionError where a name that is given is not known; it names the nearest one that is."""
    names = set(known)
    if unknown := sorted(str(name) for name in given if name not in names):
        raise OptionError(f"unknown {what}: {', '.join(unknown)}{did_you_mean(unknown[0], names)}")


def shown(value: Any) -> str:
    """Return a value as an error shows it: on one line, and cut where it is long."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 60
    return " ".join(short.repr(value).split())


# ---- kinds ----------------------------------------------------------------------------------------------------------


def optional(kind: Kind) -> Kind:
    """None, or what `kind` takes."""
    return Kind(f"{kind.accepts}, or None", lambda value: None if value is None else kind.convert(value))


def whole(low: int | None = None, high: int = MAX_WHOLE) -> Kind:
    """An integer from `low` to `high`; no bool, and no float even where it is whole."""

    def convert(value: Any) -> int:
        integral = _scalar(value)
        if isinstance(integral, bool) or not isinstance(integral, Integral):
            raise Refused
        result = int(integral)
        if result > high or (low is not None and result < low):
            raise Refused
        return result

    least = "" if low is None else f" of at least {low}"
    return Kind(f"a whole number{least}" + ("" if high == MAX_WHOLE else f" and at most {high}"), convert)


def number(
    low: float | None = None, high: float | None = None, *, above: float | None = None, infinite: bool = False
) -> Kind:
    """A real number: from `low` or above `above`, up to `high`; no bool and no NaN, infinite only where told so."""

    def convert(value: Any) -> float:
        real = _scalar(value)
        if isinstance(real, bool) or not isinstance(real, Real):
            raise Refused
        try:
            result = float(real)
        except OverflowError:
            raise Refused from None
        if math.isnan(result) or (math.isinf(result) and not infinite):
            raise Refused
        if (low is not None and result < low) or (high is not None and result > high):
            raise Refused
        if above is not None and result <= above:
            raise Refused
        return result

    bounds = []
    if low is not None and high is not None:
        bounds.append(f"between {low:g} and {high:g}")
    elif low is not None:
        bounds.append(f"of at least {low:g}")
    if above is not None:
        bounds.append(f"above {above:g}")
    if high is not None and low is None:
        bounds.append(f"not above {high:g}")
    return Kind(" ".join(["a number", " and ".join(bounds)]).strip(), convert)


def choice(*values: str) -> Kind:
    """One of some words."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise Refused
        return str(value)

    return Kind(" or ".join(filter(None, [", ".join(map(repr, values[:-1])), repr(values[-1])])), convert, values)


def sequence(kind: Kind, what: str, *, least: int = 0, ordered: bool = True) -> Kind:
    """Several values of one kind, as a tuple: from a list, an array of one dimension, or anything that can be iterated over."""

    def convert(value: Any) -> tuple[Any, ...]:
        items = items_of(value, ordered)
        if len(items) < least:
            raise Refused
        return tuple(kind.convert(item) for item in items)

    return Kind(what, convert)


def either(*kinds: Kind) -> Kind:
    """What the first of some kinds takes, that takes it."""

    def convert(value: Any) -> Any:
        for kind in kinds:
            try:
                return kind.convert(value)
            except Refused:
                continue
        raise Refused

    return Kind(", or ".join(kind.accepts for kind in kinds), convert)


def _boolean(value: Any) -> bool:
    flag = _scalar(value)
    if isinstance(flag, Integral) and flag in (0, 1):  # a bool is an Integral
        return bool(flag)
    raise Refused


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Refused
    return str(value)


def _path(value: Any) -> Any:
    if not isinstance(value, str | PathLike):
        raise Refused
    return value


def _function(value: Any) -> Any:
    if not callable(value):
        raise Refused
    return value


boolean = Kind("True or False", _boolean)
text = Kind("a text", _text)
path = Kind("a path", _path)
function = Kind("a function", _function)


def numbers_in(line: str, kind: Kind, convert: Callable[[str], Any]) -> tuple[Any, ...]:
    """Return the numbers of a line with commas between, or of an empty one. Raises Refused."""
    try:
        return tuple(kind.convert(convert(part)) for part in line.split(",")) if line.strip() else ()
    except ValueError:
        raise Refused from None


def _scalar(value: Any) -> Any:
    """Return the Python number that stands for an array of no dimensions, and everything else as it is."""
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind not in "biuf":
        raise Refused  # a timedelta64 would pass for an integer
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        return value.item()
    return value


def items_of(value: Any, ordered: bool = True) -> tuple[Any, ...]:
    """Return the items of what is a sequence to a user: no text, no mapping, no number."""
    if isinstance(value, str | bytes | bytearray | Mapping) or (ordered and isinstance(value, Set)):
        raise Refused
    try:
        return tuple(value)
    except TypeError:
        raise Refused from None
