"""Dictionaries whose items are also attributes, as the results of a transcription are."""

from collections.abc import Mapping
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class Item(Generic[T]):
    """An attribute of a `Record` that reads and writes the item of the same name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, record: None, owner: type) -> Self: ...

    @overload
    def __get__(self, record: dict[str, Any], owner: type) -> T: ...

    def __get__(self, record: dict[str, Any] | None, owner: type) -> Self | T:
        if record is None:
            return self
        try:
            value: T = record[self._name]
        except KeyError:
            raise AttributeError(f"the {owner.__name__} has no item {self._name!r}") from None
        return value

    def __set__(self, record: dict[str, Any], value: T) -> None:
        record[self._name] = value


class OptionalItem(Item[T | None]):
    """An attribute that is None if there is no such item; setting it to None removes the item."""

    @overload
    def __get__(self, record: None, owner: type) -> Self: ...

    @overload
    def __get__(self, record: dict[str, Any], owner: type) -> T | None: ...

    def __get__(self, record: dict[str, Any] | None, owner: type) -> Self | T | None:
        return self if record is None else record.get(self._name)

    def __set__(self, record: dict[str, Any], value: T | None) -> None:
        if value is None:
            record.pop(self._name, None)
        else:
            record[self._name] = value


class Record(dict[str, Any]):
    """A dictionary whose items are also attributes. Its class lists them as `Item` and `OptionalItem`."""

    __slots__ = ()

    def copy(self) -> Self:
        """Return a shallow copy of the same class."""
        return self.__copy__()

    def __copy__(self) -> Self:
        made = type(self).__new__(type(self))
        made.update(self)
        return made

    def __replace__(self, /, **changes: Any) -> Self:
        """Return a shallow copy in which some attributes have other values, as `copy.replace` of Python 3.13 does."""
        made = self.__copy__()
        for name, value in changes.items():
            setattr(made, name, value)
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain dictionaries and lists."""
        return {key: _plain(value) for key, value in self.items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.items())})"


R = TypeVar("R", bound=Record)


def changed(record: R, **changes: Any) -> R:
    """Return a shallow copy of a record in which some attributes have other values."""
    return record.__replace__(**changes)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
