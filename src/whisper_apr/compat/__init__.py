"""Run programs that are written for openai-whisper or faster-whisper, unchanged.

The packages `whisper_apr.compat.whisper` and `whisper_apr.compat.faster_whisper` have their modules and names.
`install()` makes them what `import whisper` and `import faster_whisper` give, and

    python -m whisper_apr.compat PROGRAM [ARGUMENT...]

runs a program so. What they cannot have raises an AttributeError that names it; the guide on switching lists it.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType

from ..errors import WhisperAprError

__all__ = ["PACKAGES", "CompatError", "install"]

PACKAGES = ("faster_whisper", "whisper")


class CompatError(WhisperAprError, ImportError):
    """The packages cannot be replaced, or the program to run does not exist."""


def install() -> None:
    """Make the packages of `PACKAGES` those of this one, for all later imports in this process.

    A second call has no effect.

    Raises:
        CompatError: One of them was imported before, and is another package.
    """
    ours = {name: importlib.import_module(f"{__name__}.{name}") for name in PACKAGES}
    for name, package in ours.items():
        present = sys.modules.get(name)
        if present not in (None, package):
            raise CompatError(
                f"{name} was imported already, from {getattr(present, '__file__', None)}; "
                "call whisper_apr.compat.install() before anything imports it"
            )
    from ._metadata import install_metadata

    install_metadata()
    for name, package in ours.items():
        for public, module in _modules(name, package):
            sys.modules[public] = module
            _rename(module, public)


def _modules(name: str, package: ModuleType) -> Iterator[tuple[str, ModuleType]]:
    """Yield a package and its modules with the names that they replace; all are imported."""
    yield name, package
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.rpartition(".")[2].startswith("_"):
            yield found.name.removeprefix(f"{__name__}."), importlib.import_module(found.name)


def _rename(module: ModuleType, public: str) -> None:
    """Let a module's classes and functions say that they are of `public`: programs look at `__module__`."""
    for value in vars(module).values():
        if getattr(value, "__module__", None) == module.__name__ and isinstance(getattr(value, "__name__", None), str):
            value.__module__ = public
