"""Compile the modules that a page's start imports, under Pyodide: `bytecode.py WHEEL FOLDER`.

Pyodide's standard library, NumPy and this package come as source text, whose compilation would take most of a first
start. Written to FOLDER are two archives for the wheel; they are not compressed, since the wheel compresses them:

- stdlib.zip: modules of the standard library, named as they are in an archive of modules;
- packages.zip: modules of the other packages, named as they are in site-packages;

and NOTICE.txt, with the copyright of Python and the licenses of NumPy, to which wasm.sh adds Python's license.

Each compiled module has a hash of its source, which Python compares when it imports the module: with another version of
Python or NumPy, the source is compiled.
"""

import importlib
import importlib.metadata
import importlib.util
import py_compile
import re
import sys
import tempfile
import zipfile
from pathlib import Path
from types import ModuleType

STARTUP = "whisper_apr/web/static/startup.js"


def imported_modules(startup: str) -> list[ModuleType]:
    """Import the modules that startup.js names, and return everything that has been imported, in the order of names."""
    names = re.search(r"^const MODULES = \[(.*?)\]", startup, re.MULTILINE | re.DOTALL)
    for name in re.findall(r'"([\w.]+)"', names[1]):
        importlib.import_module(name)
    return [module for _, module in sorted(sys.modules.items())]


def licenses() -> str:
    """Return the copyright of Python and the licenses of NumPy, which are compiled."""
    numpy = [file for file in importlib.metadata.files("numpy") if "licenses" in file.parts]
    version = ".".join(map(str, sys.version_info[:3]))
    python = f"Python {version}, https://docs.python.org/{sys.version_info[0]}.{sys.version_info[1]}/license.html"
    return f"stdlib.zip: {python}\n\n{sys.copyright}\n\npackages.zip: NumPy\n\n" + "\n".join(
        file.read_text() for file in numpy
    )


def main(wheel: str, folder: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        startup = archive.read(STARTUP).decode()
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    (target / "NOTICE.txt").write_text(licenses())
    stdlib = f"/lib/python3{sys.version_info[1]}.zip/"
    packages = f"/lib/python3.{sys.version_info[1]}/site-packages/"
    with (
        zipfile.ZipFile(target / "stdlib.zip", "w") as compiled_stdlib,
        zipfile.ZipFile(target / "packages.zip", "w") as compiled_packages,
        tempfile.TemporaryDirectory() as temporary,
    ):
        source, compiled = Path(temporary, "source.py"), Path(temporary, "compiled")
        for module in imported_modules(startup):
            spec = module.__spec__
            if spec is None or not (spec.origin or "").endswith(".py"):
                continue
            source.write_bytes(spec.loader.get_data(spec.origin))
            mode = py_compile.PycInvalidationMode.CHECKED_HASH
            py_compile.compile(str(source), str(compiled), spec.origin, doraise=True, invalidation_mode=mode)
            if spec.origin.startswith(stdlib):
                name, archive = f"{spec.origin.removeprefix(stdlib)}c", compiled_stdlib
            elif spec.origin.startswith(packages):
                name = importlib.util.cache_from_source(spec.origin).removeprefix(packages)
                archive = compiled_packages
            else:
                continue
            archive.writestr(zipfile.ZipInfo(name), compiled.read_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
