"""Open the model that a name or a path stands for, and explain one that does not exist."""

import os
from dataclasses import replace
from functools import partial
from importlib.resources import as_file, files
from itertools import islice
from os import PathLike
from pathlib import Path

from ..checkpoint import Checkpoint
from ..errors import ModelNotFoundError
from ..formats.detect import open_checkpoint
from ..formats.model_card import read_license
from ..formats.urls import redact_url
from ..spelling import did_you_mean
from .converted import open_model
from .download import cached_folder
from .models import BUNDLED, available_models, find_model, known_models

SUFFIXES = (".apr", ".pt", ".pth", ".bin", ".safetensors", ".json", ".gguf")  # of model files


def _cached_base(name: str, root: str | PathLike[str] | None) -> Path | None:
    """Return the folder of an adapter's base model in the cache, or None."""
    model = find_model(name)
    return None if model is None else cached_folder(model, root)


def is_path(name: str | PathLike[str]) -> bool:
    """Return whether a name that does not exist must be meant as a path, and not as the name of a model."""
    if not isinstance(name, str):
        return True
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or name.lower().endswith(SUFFIXES)


def _similar_file(path: Path) -> str:
    """Return a suggestion of a file or folder beside one that does not exist, to append to an error message."""
    parent = path.expanduser().parent
    try:
        names = sorted(each.name for each in islice(parent.iterdir(), 1000))
    except OSError:
        return f"; there is no folder {str(path.parent)!r} in {os.getcwd()!r}"
    return did_you_mean(path.name, names) or f"; it is looked for in {str(parent.resolve())!r}"


def find_checkpoint(
    name: str | PathLike[str],
    dtype: str | None = None,
    download_root: str | PathLike[str] | None = None,
    exact: bool = False,
) -> Checkpoint:
    """Open the model that a name or a path stands for.

    Args:
        name: The name of a model (see `available_models`, `find_model`), or a path.
        dtype: Of the matrices of a downloaded model, see `open_model`.
        download_root: Folder for downloads, see `open_model`.
        exact: For a path, see `open_checkpoint`.

    Raises:
        ModelNotFoundError: There is no such model, or it cannot be downloaded.
        FormatError: It is damaged.
    """
    if name in BUNDLED:
        assets = files("whisper_apr").joinpath("assets")
        if not assets.joinpath(f"{name}.pt").is_file():  # the wheel for Pyodide
            raise ModelNotFoundError(f"{name}: the package for browsers does not contain it; give the path of a model")
        with as_file(assets.joinpath(f"{name}.pt")) as path, as_file(assets.joinpath(f"{name}.md")) as card:
            return replace(
                open_checkpoint(path),
                alignment_heads=BUNDLED[str(name)],
                license=read_license(card),
                provenance={"source": f"whisper_apr's {name}"},
            )
    is_named = isinstance(name, str) and name in known_models()
    if not is_named and os.path.exists(name):
        return open_checkpoint(name, exact=exact, find_cached=partial(_cached_base, root=download_root))
    if isinstance(name, str) and "://" in name:
        raise ModelNotFoundError(f"{redact_url(name)}: the URL of a model must begin with http:// or https://")
    if is_path(name):
        raise ModelNotFoundError(f"{os.fspath(name)}: no such file or folder{_similar_file(Path(name))}")
    model = find_model(name) if isinstance(name, str) else None
    if model is None:
        names = available_models()
        meant = did_you_mean(os.fspath(name), names) or f"; the names are {', '.join(names)}"
        raise ModelNotFoundError(f"no model named {os.fspath(name)!r}, and no such file{meant}")
    try:
        return open_model(model, dtype, download_root)
    except ModelNotFoundError as error:
        if is_named or not Path(name).parent.is_dir():
            raise
        raise ModelNotFoundError(f"{error}; nor is there such a file or folder{_similar_file(Path(name))}") from error
