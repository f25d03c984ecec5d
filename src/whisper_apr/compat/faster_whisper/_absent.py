"""Names that faster-whisper has and this package cannot have."""

from collections.abc import Callable, Mapping


def absent(module: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Return a module's `__getattr__`, which says why a name of faster-whisper is missing.

    Args:
        module: The module, as faster-whisper names it.
        names: The missing names, and for each what it would need.
    """

    def get(name: str) -> object:
        if name in names:
            raise AttributeError(
                f"{module}.{name} needs {names[name]}, which whisper_apr does without; see the guide on switching"
            )
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return get
