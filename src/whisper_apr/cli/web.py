"""Serve a page that transcribes in the browser. The recording never leaves the machine: Python runs in the page, by Pyodide, which comes from its
usual place unless --pyodide names a folder that holds it."""

import argparse
import tempfile
import webbrowser
from pathlib import Path

from ..errors import OptionError, WhisperAprError
from .arguments import option

HELP = "serve a page that transcribes in the browser"
DEFAULT_PORT = 8008


def add_arguments(parser: argparse.ArgumentParser) -> None:
    option(parser, "port", type=int, default=DEFAULT_PORT, help=f"port on 127.0.0.1 (default: {DEFAULT_PORT}; 0: any)")
    option(
        parser,
        "model",
        default="digits",
        help="name or path of a model (default: digits, which comes with the package)",
    )
    option(parser, "wheel", type=Path, required=True, help="whisper_apr's wheel for Pyodide (wasm32)")
    option(parser, "pyodide", type=Path, help="folder with Pyodide (default: its usual place on the web)")
    option(parser, "numpy", type=Path, help="NumPy's wheel for Pyodide (default: Pyodide's own)")
    option(parser, "open", action="store_true", help="open the page in the browser")


def _existing(path: Path, what: str) -> Path:
    if not path.exists():
        raise OptionError(f"{path}: no such {what}")
    return path


def run(args: argparse.Namespace) -> int:
    from ..formats.apr_write import write_apr
    from ..recognizer import find_checkpoint
    from ..server import Server, folder_paths

    settings, paths = {"model": "model.apr"}, {}
    for name in ("wheel", "numpy"):
        if (path := getattr(args, name)) is not None:
            settings[name] = path.name
            paths[path.name] = _existing(path, "file")
    if args.pyodide is not None:
        settings["pyodide"] = "pyodide/"
        paths |= folder_paths("pyodide", _existing(args.pyodide, "folder"))
    with tempfile.TemporaryDirectory() as folder:
        paths["model.apr"] = Path(folder) / "model.apr"
        write_apr(find_checkpoint(args.model), paths["model.apr"])
        try:
            server = Server(args.port, paths, settings)
        except OSError as error:
            raise WhisperAprError(f"port {args.port}: {error.strerror or error}; choose another with --port") from error
        with server:
            print(f"{server.url} (Ctrl-C ends it)", flush=True)
            if args.open:
                webbrowser.open(server.url)
            server.serve_forever()
    return 0
