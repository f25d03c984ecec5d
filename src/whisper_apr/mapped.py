"""A mapping whose values are made on access."""

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

Value = TypeVar("Value", covariant=True)
Source = TypeVar("Source", bound=Mapping[str, Any])


class MappedOnAccess(Mapping[str, Value], Generic[Source, Value]):
    """A read-only mapping with the keys of `source`. A subclass defines `__getitem__`, which makes the value."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __contains__(self, name: object) -> bool:  # Mapping's own version would make the value
        return name in self.source

    def __iter__(self) -> Iterator[str]:
        return iter(self.source)

    def __len__(self) -> int:
        return len(self.source)
