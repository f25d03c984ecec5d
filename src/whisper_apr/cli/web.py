"""Serve a page that transcribes in the browser. The recording never leaves the machine: Python runs in the page, by Pyodide, which comes from its
usual place unless --pyodide names a folder that holds it."""

import argparse
import tempfile
import webbrowser
from pathlib import Path

from .. import __version__
from ..errors import OptionError, WhisperAprError
from .arguments import option
from .terminal import out

HELP = "serve a page that transcribes in the browser"
DEFAULT_PORT = 8008
WHEEL_FOLDERS = (Path(), Path("dist"))  # where a wheel is looked for; wheels/wasm.sh puts it into dist


def add_arguments(parser: argparse.ArgumentParser) -> None:
    option(parser, "port", type=int, default=DEFAULT_PORT, help=f"port on 127.0.0.1 (default: {DEFAULT_PORT}; 0: any)")
    option(
        parser,
        "model",
        default="digits",
        help="name or path of a model (default: digits, which comes with the package)",
    )
    option(
        parser,
        "wheel",
        type=Path,
        help="whisper_apr's wheel for Pyodide (default: one of this version in this folder or in dist)",
    )
    option(parser, "pyodide", type=Path, help="folder with Pyodide (default: its usual place on the web)")
    option(parser, "numpy", type=Path, help="NumPy's wheel for Pyodide (default: Pyodide's own)")
    option(parser, "open", action="store_true", help="open the page in the browser")


def _existing(path: Path, what: str) -> Path:
    found = path.is_dir() if what == "folder" else path.is_file()
    if not found:
        raise OptionError(f"{path}: no such {what}")
    return path


def _find_wheel() -> Path:
    for folder in WHEEL_FOLDERS:
        if found := sorted(folder.glob(f"whisper_apr-{__version__}-*_wasm32.whl")):
            return found[-1]
    raise OptionError(
        f"there is no wheel of whisper_apr {__version__} for Pyodide in this folder or in dist; "
        "build one with wheels/wasm.sh, or name one with --wheel"
    )


def _servable(name: str, folder: Path) -> Path:
    """An `.apr` file that can be read as it comes: the one that is named, as it is, or what the name leads to, written into the folder."""
    from ..formats.apr import is_version_2, write_apr
    from ..formats.apr.header import MAGIC
    from ..hub import find_checkpoint

    if Path(name).is_file():
        with open(name, "rb") as file:
            head = file.read(len(MAGIC) + 5)
        if head.startswith(MAGIC) and is_version_2(head):
            return Path(name)
    path = folder / "model.apr"
    write_apr(find_checkpoint(name), path)
    return path


def run(args: argparse.Namespace) -> int:
    from ..web.server import Server, folder_paths

    wheel = _find_wheel() if args.wheel is None else _existing(args.wheel, "file")
    settings, paths = {"model": "model.apr", "wheel": wheel.name}, {wheel.name: wheel}
    if args.numpy is not None:
        settings["numpy"] = args.numpy.name
        paths[args.numpy.name] = _existing(args.numpy, "file")
    if args.pyodide is not None:
        settings["pyodide"] = "pyodide/"
        paths |= folder_paths("pyodide", _existing(args.pyodide, "folder"))
    with tempfile.TemporaryDirectory() as folder:
        paths["model.apr"] = _servable(args.model, Path(folder))
        try:
            server = Server(args.port, paths, settings)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise WhisperAprError(f"port {args.port}: {reason}; choose another with --port") from error
        with server:
            out(f"{server.url} (Ctrl-C ends it)\n")
            if args.open:
                webbrowser.open(server.url)
            server.serve_forever()
    return 0
