"""Write CPython's headers for wasm32: those of this interpreter, with a pyconfig.h from Pyodide's configuration.

    python wasm_config.py PYTHON_STDLIB_ZIP FOLDER [INCLUDE PYCONFIG_H]

INCLUDE and PYCONFIG_H are the headers of another version. The headers of the limited API are the same on all platforms,
except pyconfig.h, which defines the size of a pointer. Pyodide's standard library contains the variables of its build,
including all macros of its pyconfig.h; this interpreter's pyconfig.h provides the list of their names.
"""

import re
import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path


def variables(stdlib: str) -> dict[str, object]:
    """Return the build variables in Pyodide's zipped standard library."""
    with zipfile.ZipFile(stdlib) as archive:
        (name,) = (n for n in archive.namelist() if re.fullmatch(r"_sysconfigdata_\w*emscripten.*\.py", n))
        scope: dict[str, object] = {}
        exec(archive.read(name), scope)
    return scope["build_time_vars"]


def main(stdlib: str, folder: str, include: str = sysconfig.get_path("include"), pyconfig: str = "") -> None:
    target = Path(folder)
    shutil.copytree(include, target, dirs_exist_ok=True)
    names = set(
        re.findall(r"(?:#define|#undef)\s+(\w+)", Path(pyconfig or sysconfig.get_config_h_filename()).read_text())
    )
    macros = {name: value for name, value in variables(stdlib).items() if name in names and value not in (None, 0, "")}
    assert macros["SIZEOF_VOID_P"] == 4, "Pyodide's configuration is not for 32-bit pointers"
    lines = [f"#define {name} {value}" for name, value in sorted(macros.items())]
    (target / "pyconfig.h").write_text(
        "\n".join(["#ifndef Py_PYCONFIG_H", "#define Py_PYCONFIG_H", *lines, "#endif", ""])
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
