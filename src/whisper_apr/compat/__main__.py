"""Run a program with `whisper` and `faster_whisper` replaced: `python -m whisper_apr.compat PROGRAM [ARGUMENT...]`.

PROGRAM is the name of an installed command, `-m MODULE`, or the path of a Python script.
"""

import os
import runpy
import sys
from importlib.metadata import entry_points
from pathlib import Path

from whisper_apr.compat import CompatError, install

USAGE = "usage: python -m whisper_apr.compat (COMMAND | -m MODULE | SCRIPT.py) [ARGUMENT...]"


def run(arguments: list[str]) -> object:
    """Run a program, whose name and arguments are given, and return what it returns.

    Raises:
        CompatError: There is no such command or file.
    """
    install()
    name, *rest = arguments
    is_module = name == "-m" and bool(rest)
    sys.argv = rest if is_module else arguments
    switch = str(Path(__file__).with_name("switch"))
    if is_module:
        sys.path.insert(0, os.getcwd())
    elif os.path.exists(name):
        sys.path.insert(0, str(Path(name).resolve().parent))
    sys.path.insert(0, switch)  # before the program's folder, as child processes are given this path
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [switch, os.environ.get("PYTHONPATH")]))
    if is_module:
        return runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    if os.path.exists(name):
        return runpy.run_path(name, run_name="__main__")
    commands = list(entry_points(group="console_scripts", name=name))
    if not commands:
        raise CompatError(f"{name}: no such file, and no installed package has a command of this name")
    return commands[0].load()()


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help") or arguments == ["-m"]:
        print(f"{__doc__}\n{USAGE}" if arguments != ["-m"] and arguments else USAGE)
        sys.exit(0 if arguments and arguments != ["-m"] else 2)
    try:
        status = run(arguments)
    except CompatError as error:
        sys.exit(f"whisper_apr.compat: {error}")
    sys.exit(status if isinstance(status, int | str) else None)


if __name__ == "__main__":
    main()
