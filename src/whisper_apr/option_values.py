"""Validation and conversion of option values.

A `Kind` describes the values that an option accepts and how to convert them. A dataclass of options annotates each
field with its kind (`beam_size: Annotated[int | None, optional(whole(1))] = None`) and calls `parse_fields` in
`__post_init__`; a function calls `parse`. NumPy scalars and arrays, and those of similar libraries, are accepted
wherever Python's own numbers and lists are.
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

# Types of numeric parameters. Type checkers do not take NumPy's scalars for Python's numbers.
IntLike = int | np.integer[Any]
FloatLike = float | np.floating[Any] | np.integer[Any]

MAX_WHOLE = 10**9  # upper limit of whole numbers unless the kind states another


class Refused(ValueError):
    """Raised by a kind's `convert` for a value that the kind does not accept."""


@dataclass(frozen=True)
class Kind:
    """A set of accepted values.

    Attributes:
        accepts: Describes them in an error message: "beam_size must be {accepts}, not 'x'".
        convert: Returns the value in the type that the package works with. Raises Refused for a value that is not
            accepted, or OptionError for a more specific message.
        names: All accepted words, if only certain words are accepted. An error suggests the most similar one.
    """

    accepts: str
    convert: Callable[[Any], Any]
    names: tuple[str, ...] = ()


def parse(name: str, kind: Kind, value: Any) -> Any:
    """Convert the value of an option.

    Raises:
        OptionError: The kind does not accept the value. The message names the option and what it accepts.
    """
    try:
        return kind.convert(value)
    except Refused:
        meant = did_you_mean(value, kind.names) if isinstance(value, str) else ""
        raise OptionError(f"{name} must be {kind.accepts}, not {shown(value)}{meant}") from None
    except OptionError as error:
        raise error if name in str(error) else OptionError(f"{name}: {error}") from None


def kinds_of(options: type) -> dict[str, Kind]:
    """Return the kinds of a dataclass's fields by name."""
    return _kinds_of(options)


@lru_cache
def _kinds_of(options: type) -> dict[str, Kind]:
    hints = get_type_hints(options, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}


def parse_fields(options: Any) -> None:
    """Convert every field that has a kind in place. A frozen dataclass calls this in `__post_init__`."""
    for name, kind in kinds_of(type(options)).items():
        object.__setattr__(options, name, parse(name, kind, getattr(options, name)))


def refuse_unknown(what: str, given: Iterable[Any], known: Iterable[str]) -> None:
    """Raise OptionError if a given name is not known; the message suggests the most similar one that is."""
    names = set(known)
    if unknown := sorted(str(name) for name in given if name not in names):
        raise OptionError(f"unknown {what}: {', '.join(unknown)}{did_you_mean(unknown[0], names)}")


def shown(value: Any) -> str:
    """Return the repr of a value for an error message: one line, shortened."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 60
    return " ".join(short.repr(value).split())


# ---- kinds ----------------------------------------------------------------------------------------------------------


def optional(kind: Kind) -> Kind:
    """Accept None and the values of `kind`."""
    return Kind(f"{kind.accepts}, or None", lambda value: None if value is None else kind.convert(value))


def whole(low: int | None = None, high: int = MAX_WHOLE) -> Kind:
    """Accept integers from `low` to `high`, but no bool and no float."""

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
    """Accept real numbers from `low`, or above `above`, to `high`. No bool, no NaN; infinity only if `infinite`."""

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
    """Accept the given strings."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise Refused
        return str(value)

    return Kind(" or ".join(filter(None, [", ".join(map(repr, values[:-1])), repr(values[-1])])), convert, values)


def sequence(kind: Kind, what: str, *, least: int = 0, ordered: bool = True) -> Kind:
    """Accept iterables of values of one kind, converted to a tuple.

    Args:
        kind: Kind of the items.
        what: Description of the accepted values, for the error message.
        least: Least number of items.
        ordered: Whether to refuse sets.
    """

    def convert(value: Any) -> tuple[Any, ...]:
        items = items_of(value, ordered)
        if len(items) < least:
            raise Refused
        return tuple(kind.convert(item) for item in items)

    return Kind(what, convert)


def either(*kinds: Kind) -> Kind:
    """Accept the values of several kinds; the first kind that accepts a value converts it."""

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
text = Kind("a string", _text)
path = Kind("a path", _path)
function = Kind("a function", _function)


def numbers_in(line: str, kind: Kind, convert: Callable[[str], Any]) -> tuple[Any, ...]:
    """Return the numbers in a comma-separated string, none if it is empty. Raises Refused."""
    try:
        return tuple(kind.convert(convert(part)) for part in line.split(",")) if line.strip() else ()
    except ValueError:
        raise Refused from None


def _scalar(value: Any) -> Any:
    """Convert an array of no dimensions to a Python number; return everything else unchanged."""
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind not in "biuf":
        raise Refused  # a timedelta64 would convert to an integer
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        return value.item()
    return value


def items_of(value: Any, ordered: bool = True) -> tuple[Any, ...]:
    """Return the items of an iterable. Raises Refused for strings, mappings and, if `ordered`, sets."""
    if isinstance(value, str | bytes | bytearray | Mapping) or (ordered and isinstance(value, Set)):
        raise Refused
    try:
        return tuple(value)
    except TypeError:
        raise Refused from None
