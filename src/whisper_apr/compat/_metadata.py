"""What `importlib.metadata` says of the packages that are replaced, for programs that ask for their versions."""

import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, DistributionFinder
from os import PathLike
from typing import NoReturn

from .faster_whisper.version import __version__ as _faster_whisper
from .whisper.version import __version__ as _openai_whisper

VERSIONS = {"faster-whisper": _faster_whisper, "openai-whisper": _openai_whisper}


class Replaced(Distribution):
    """The metadata of a package that is replaced: name, version, and whisper_apr as what it requires."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read_text(self, filename: str) -> str | None:
        """Return the text of METADATA; there are no other files."""
        if filename != "METADATA":
            return None
        version = VERSIONS[self._name]
        return f"Metadata-Version: 2.1\nName: {self._name}\nVersion: {version}\nRequires-Dist: whisper-apr\n"

    def locate_file(self, path: str | PathLike[str]) -> NoReturn:
        """Raise FileNotFoundError, as the package has no files."""
        raise FileNotFoundError(path)


class Finder(DistributionFinder):
    """Finds the metadata before those of an installed package."""

    def find_spec(self, *_: object) -> None:
        """Return None: modules are in `sys.modules` already."""

    def find_distributions(
        self,
        context: DistributionFinder.Context = DistributionFinder.Context(),  # noqa: B008
    ) -> Iterator[Distribution]:
        """Yield the package that is asked for; nothing if all are, as no files of these are installed."""
        name = (context.name or "").lower().replace("_", "-").replace(".", "-")
        if name in VERSIONS:
            yield Replaced(name)


def install_metadata() -> None:
    """Let `importlib.metadata` find the packages' metadata."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
