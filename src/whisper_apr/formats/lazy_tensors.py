"""Tensors that are decoded on access, so that a whole model is never in memory as floats at once."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from ..errors import FormatError
from ..mapped import MappedOnAccess

_Tensor = TypeVar("_Tensor", covariant=True)


class LazyTensors(MappedOnAccess[Mapping[str, Callable[[], _Tensor]], _Tensor]):
    """A read-only mapping that decodes a tensor each time it is accessed.

    Args:
        decoders: For each tensor name, the function that decodes it.
        where: Names the file in error messages.
    """

    def __init__(self, decoders: Mapping[str, Callable[[], _Tensor]], where: str) -> None:
        super().__init__(decoders)
        self._where = where

    def __getitem__(self, name: str) -> _Tensor:
        """Decode a tensor. Raises FormatError if its values cannot be represented."""
        decode = self.source[name]
        try:
            return decode()
        except FormatError:
            raise
        except ValueError as error:
            raise FormatError(f"{self._where}: tensor {name!r}: {error}") from error
