"""Write data/PACKAGE_names.json: `python make_names.py PACKAGE OUTPUT`. PACKAGE is whisper or faster_whisper, and
must be installed.

The file has the names that each of its modules defines, with the parameters of functions and methods, and the fields of
dataclasses. Defaults are written as their repr. The module "" is the package itself.
"""

import inspect
import json
import sys
from dataclasses import fields, is_dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

MODULES = {
    "faster_whisper": ("audio", "feature_extractor", "tokenizer", "transcribe", "utils", "vad", "version"),
    "whisper": (
        *("", "audio", "decoding", "model", "normalizers", "normalizers.basic", "normalizers.english"),
        *("timing", "tokenizer", "transcribe", "utils", "version"),
    ),
}


def parameters(function: Any) -> list[list[str | None]]:
    """Return name, kind and default of each parameter."""
    return [
        [name, parameter.kind.name, None if parameter.default is parameter.empty else repr(parameter.default)]
        for name, parameter in inspect.signature(getattr(function, "py_func", function)).parameters.items()
    ]


def describe(value: Any) -> Any:
    """Return what the table says of a name."""
    if inspect.isclass(value):
        methods = {
            name: parameters(member)
            for name, member in vars(value).items()
            if inspect.isfunction(member) and (not name.startswith("_") or name in ("__init__", "__call__"))
        }
        names = [field.name for field in fields(value)] if is_dataclass(value) else None
        return {"fields": names, "methods": {} if names else methods}
    return {"parameters": parameters(value)} if callable(value) else {}


def is_own(value: Any, module: ModuleType) -> bool:
    """Return whether a module defines a value; of a package, also what it imports from its modules."""
    owner = getattr(value, "__module__", None) or module.__name__
    return owner == module.__name__ or (hasattr(module, "__path__") and owner.startswith(f"{module.__name__}."))


def main() -> None:
    package, output = sys.argv[1:]
    table = {}
    for name in MODULES[package]:
        module = import_module(f"{package}.{name}".rstrip("."))
        table[name] = {
            key: describe(value)
            for key, value in vars(module).items()
            if not (key.startswith("__") and key != "__version__")
            and key != "TYPE_CHECKING"
            and not inspect.ismodule(value)
            and is_own(value, module)
        }
    with open(output, "w", encoding="utf-8") as file:
        json.dump(table, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
