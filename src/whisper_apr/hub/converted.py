"""Keep downloaded models converted to `.apr` files of the requested type, from then on the only files that are read."""

import os
import re
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np

from ..checkpoint import Checkpoint
from ..errors import FormatError
from ..formats.apr import read_apr, verify_apr, write_apr
from ..formats.detect import open_checkpoint
from .download import cached_folder, fetch
from .models import HubModel, find_model

_COMMIT = re.compile(r"[0-9a-f]{40}")


def _converted_folder(root: str | PathLike[str] | None) -> Path:
    """Return the folder of converted models, in `root` or in huggingface_hub's home, without importing that package."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(root or home).expanduser() / "whisper-apr"


def _converted_path(model: HubModel, commit: str, dtype: str | None, root: str | PathLike[str] | None) -> Path:
    return _converted_folder(root) / f"{model.repo.replace('/', '--')}-{commit[:12]}-{dtype or 'as-it-is'}.apr"


def converted_files(model: HubModel, root: str | PathLike[str] | None = None) -> list[Path]:
    """Return the `.apr` files that a model was converted to."""
    revision = model.revision[:12] if _COMMIT.fullmatch(model.revision) else "*"
    return sorted(_converted_folder(root).glob(f"{model.repo.replace('/', '--')}-{revision}-*.apr"))


def _read_converted(path: Path) -> Checkpoint | None:
    """Read a converted model and verify every block. Returns None if it does not exist; a damaged one is removed."""
    if not path.exists():
        return None
    try:
        verify_apr(path)
        return read_apr(path, verify=False)
    except FormatError:
        path.unlink(missing_ok=True)
        return None


def _fits_float16(checkpoint: Checkpoint) -> bool:
    """Return whether float16 represents all matrices exactly: some repositories store OpenAI's float16 as float32."""
    for tensor in checkpoint.tensors.values():
        if isinstance(tensor, np.ndarray) and tensor.ndim > 1:
            with np.errstate(over="ignore"):
                if not np.array_equal(tensor, tensor.astype(np.float16), equal_nan=True):
                    return False
    return True


def _fetch_base(name: str, root: str | PathLike[str] | None) -> Path | None:
    """Return the folder of the base model of an adapter that was downloaded, and download it as well."""
    model = find_model(name)
    return None if model is None else fetch(model, root)


def open_model(model: HubModel, dtype: str | None = None, root: str | PathLike[str] | None = None) -> Checkpoint:
    """Open a model of the hub; download and convert it if that has not been done before.

    If the conversion cannot be written, the downloaded model is opened instead.

    Args:
        model: The repository.
        dtype: Of the matrices, see `write_apr`; None keeps them as they are.
        root: Folder for downloads and conversions; None is huggingface_hub's cache and a folder beside it.

    Raises:
        ModelNotFoundError: The model cannot be downloaded.
        FormatError: It is damaged.
    """
    commit = model.revision
    if not _COMMIT.fullmatch(commit):
        folder = cached_folder(model, root) or fetch(model, root)
        commit = folder.name  # huggingface_hub names a snapshot after its commit
    path = _converted_path(model, commit, dtype, root)
    converted = _read_converted(path)
    if converted is not None:
        return converted
    checkpoint = open_checkpoint(fetch(model, root), find_cached=partial(_fetch_base, root=root))
    if not checkpoint.alignment_heads:
        checkpoint = replace(checkpoint, alignment_heads=model.alignment_heads)
    stored = "float16" if dtype is None and _fits_float16(checkpoint) else dtype
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_apr(checkpoint, path, stored, provenance={"source": f"{model.repo}@{commit}"})
    except OSError:  # the disk is full, or the folder is read-only
        return checkpoint
    return read_apr(path, verify=False)
