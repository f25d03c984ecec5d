"""Find models by name: download them from the Hugging Face hub once, verify them, and keep them converted to `.apr`.

Downloads go through huggingface_hub and its cache; the network is used only if the cache is incomplete. A downloaded
model is converted to an `.apr` file of the requested type beside that cache, and from then on only that file is read.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import as_file, files
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .checkpoint import Checkpoint
from .errors import FormatError, ModelNotFoundError
from .formats.apr import read_apr, verify_apr, write_apr
from .formats.detect import open_checkpoint
from .formats.model_card import read_license
from .formats.safetensors import WEIGHTS, shard_names
from .spelling import did_you_mean

ALTERNATIVE = "give a path, or 'digits', which comes with the package"
OPTIONAL = ("generation_config.json", "README.md")  # files that a repository need not have

# Models in the package, and their alignment heads (see assets/digits.md)
BUNDLED = {"digits": ((3, 0),)}

_REPOSITORY = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w.-]{1,100}))?")
_CACHED = re.compile(r"models--(.+?)--(.+)")  # huggingface_hub's name of a repository's folder
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubModel:
    """A model repository on the Hugging Face hub.

    Attributes:
        repo: "organization/name".
        revision: A branch, a tag or a commit. For the known models it is a commit, so that a name always means the same
            file.
        size: Size of the weights in bytes, if known.
        sha256: SHA-256 of the weights, if known.
        alignment_heads: (layer, head) pairs for word timestamps, for a repository that does not list them.
    """

    repo: str
    revision: str = "main"
    size: int | None = None
    sha256: str | None = None
    alignment_heads: tuple[tuple[int, int], ...] = ()


@cache
def known_models() -> dict[str, HubModel]:
    """Return openai-whisper's model names and their official repositories, from `assets/models.json`."""
    table = json.loads(files("whisper_apr").joinpath("assets", "models.json").read_bytes())
    models = {
        name: HubModel(**(entry | {"alignment_heads": tuple(map(tuple, entry["alignment_heads"]))}))
        for name, entry in table["models"].items()
    }
    return models | {alias: models[name] for alias, name in table["aliases"].items()}


def find_model(name: str) -> HubModel | None:
    """Return the repository of a model.

    Args:
        name: One of `known_models`, "organization/name" or "organization/name@revision".

    Returns:
        The repository; None for any other text.
    """
    if name in known_models():
        return known_models()[name]
    match = _REPOSITORY.fullmatch(name)
    return HubModel(match[1], match[2] or "main") if match else None


class _Repository:
    """The files of a repository, accessed through huggingface_hub."""

    def __init__(self, model: HubModel, root: str | PathLike[str] | None) -> None:
        try:
            import huggingface_hub
            from huggingface_hub import constants, errors
        except ImportError as error:
            raise ModelNotFoundError(
                f"{model.repo}: downloading a model needs huggingface_hub, which is not installed; {ALTERNATIVE}"
            ) from error
        self._hub: Any = huggingface_hub
        self._errors: Any = errors
        self._is_offline: bool = constants.HF_HUB_OFFLINE
        self._model = model
        self._root = root

    def find_cached(self, name: str) -> Path | None:
        """Return a file's path in the cache, or None, without using the network."""
        found = self._hub.try_to_load_from_cache(
            self._model.repo, name, cache_dir=self._root, revision=self._model.revision
        )
        return Path(found) if isinstance(found, str) else None  # a sentinel if known not to exist

    def check_connection(self) -> None:
        """Raise ModelNotFoundError if the hub cannot be reached. huggingface_hub alone would retry for 30 seconds."""
        url = self._hub.hf_hub_url(self._model.repo, "config.json", revision=self._model.revision)
        try:
            self._hub.get_hf_file_metadata(url)
        except Exception as error:
            if _status(error) is None:
                self._fail(error, connected=False)  # an HTTP error is reported by `download`

    def download(self, name: str) -> Path | None:
        """Download a file unless it is cached, and return its path; None if the repository does not have it."""
        try:
            return Path(
                self._hub.hf_hub_download(
                    self._model.repo,
                    name,
                    cache_dir=self._root,
                    revision=self._model.revision,
                    library_name="whisper-apr",
                )
            )
        except self._errors.LocalEntryNotFoundError as error:
            self._fail(error)
        except self._errors.EntryNotFoundError:
            return None
        except Exception as error:  # huggingface_hub's own, or of the HTTP library that its version uses
            self._fail(error)

    def _fail(self, error: Exception, connected: bool = True) -> NoReturn:
        """Raise ModelNotFoundError with one sentence that explains any failure of a download."""
        repo, errors = self._model.repo, self._errors
        status = _status(error)
        if isinstance(error, errors.GatedRepoError):
            reason = "it is gated: accept its terms on the hub and set HF_TOKEN"
        elif isinstance(error, errors.RepositoryNotFoundError):
            reason = f"the hub has no such repository, or it is private (then set HF_TOKEN); {ALTERNATIVE}"
        elif isinstance(error, errors.RevisionNotFoundError):
            reason = f"it has no revision {self._model.revision!r}"
        elif status is not None:
            reason = f"the hub answered {status}; try again later, or {ALTERNATIVE}"
        elif self._is_offline:
            reason = f"it is not in the cache, and HF_HUB_OFFLINE forbids the download; {ALTERNATIVE}"
        elif not connected or isinstance(error, errors.LocalEntryNotFoundError | ConnectionError):
            reason = f"it is not in the cache, and the hub cannot be reached; {ALTERNATIVE}"
        else:
            first_line = (str(error) or type(error).__name__).splitlines()[0]
            reason = f"the download failed ({first_line.rstrip('.')}); try again, and it will be resumed"
        raise ModelNotFoundError(f"{repo}: {reason}") from error


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status of an error or of one of its causes: huggingface_hub may wrap the original error."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__ or error.__context__
    return None


def _collect_files(get: Callable[[str], Path | None]) -> list[Path]:
    """Return a model's required files, config.json first, then the weights; empty if `get` lacks one of them."""
    config = get("config.json")
    if config is None:
        return []
    for name in (*WEIGHTS, "model.bin"):  # model.bin is CTranslate2's
        weights = get(name)
        if weights is None:
            continue
        if not name.endswith(".index.json"):
            return [config, weights]
        names = shard_names(weights)
        shards = [path for path in map(get, names) if path is not None]
        return [config, weights, *shards] if len(shards) == len(names) else []
    return []


def _verify(path: Path, sha256: str | None) -> None:
    """Verify a downloaded file, and remove it if it is damaged.

    Args:
        path: The file in the cache.
        sha256: The expected SHA-256; None takes the one that huggingface_hub uses as the name of the link's target, if
            it does.

    Raises:
        FormatError: The file is damaged.
    """
    blob = path.resolve()
    if sha256 is None and _SHA256.fullmatch(blob.name):
        sha256 = blob.name
    if sha256 is None:
        return
    with open(blob, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        raise FormatError(
            f"{path.name}: the download is damaged (SHA-256 {found[:12]}..., not {sha256[:12]}...) and was removed; "
            "try again"
        )


def cached_folder(model: HubModel, root: str | PathLike[str] | None = None) -> Path | None:
    """Return the folder of a model in the cache, without using the network.

    Args:
        model: The repository.
        root: Folder of the cache; None is huggingface_hub's own.

    Returns:
        The folder; None if a file is missing.
    """
    found = _collect_files(_Repository(model, root).find_cached)
    return found[0].parent if found else None


def fetch(model: HubModel, root: str | PathLike[str] | None = None) -> Path:
    """Download a model unless it is in the cache, and verify the SHA-256 of its weights.

    Only the files that a model needs are downloaded: config.json, the weights, the vocabulary, and those in `OPTIONAL`.
    An interrupted download is resumed.

    Args:
        model: The repository.
        root: Folder of the cache; None is huggingface_hub's own.

    Returns:
        The model's folder.

    Raises:
        ModelNotFoundError: The model cannot be downloaded, or the repository contains no Whisper model.
        FormatError: The download is damaged; it is then removed.
    """
    repository = _Repository(model, root)
    found = _collect_files(repository.find_cached)
    if not found:
        repository.check_connection()
        # the optional files first, because with the weights a model counts as complete
        for name in OPTIONAL:
            repository.download(name)
        if model.sha256 is None:  # the known models have the packaged vocabulary
            repository.download("added_tokens.json" if repository.download("vocab.json") else "tokenizer.json")
        found = _collect_files(repository.download)
        if not found:
            raise ModelNotFoundError(
                f"{model.repo}: it contains no supported Whisper model; one has config.json and {WEIGHTS[0]}"
            )
    has_one_file = len(found) == 2
    for path in found[1:]:
        _verify(path, model.sha256 if has_one_file else None)
    return found[0].parent


def describe_source(path: str | PathLike[str]) -> str:
    """Return a short description of a model's origin.

    Returns:
        "organization/name@commit" for a folder in huggingface_hub's cache, otherwise the last part of the path.
    """
    place = Path(os.path.abspath(path))
    for folder in (place, place.parent):
        if folder.parent.name == "snapshots" and (found := _CACHED.fullmatch(folder.parent.parent.name)):
            return f"{found[1]}/{found[2]}@{folder.name}"
    return place.name


# ---- converted models -----------------------------------------------------------------------------------------------


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
    checkpoint = open_checkpoint(fetch(model, root))
    if not checkpoint.alignment_heads:
        checkpoint = replace(checkpoint, alignment_heads=model.alignment_heads)
    stored = "float16" if dtype is None and _fits_float16(checkpoint) else dtype
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_apr(checkpoint, path, stored, provenance={"source": f"{model.repo}@{commit}"})
    except OSError:  # the disk is full, or the folder is read-only
        return checkpoint
    return read_apr(path, verify=False)


def available_models() -> list[str]:
    """Return the names of the models that `load_model` knows. "digits" comes with the package."""
    return [*BUNDLED, *known_models()]


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
        with as_file(assets.joinpath(f"{name}.pt")) as path, as_file(assets.joinpath(f"{name}.md")) as card:
            return replace(
                open_checkpoint(path),
                alignment_heads=BUNDLED[str(name)],
                license=read_license(card),
                provenance={"source": f"whisper_apr's {name}"},
            )
    is_named = isinstance(name, str) and name in known_models()
    if not is_named and os.path.exists(name):
        return open_checkpoint(name, exact=exact)
    model = find_model(name) if isinstance(name, str) else None
    if model is None:
        names = available_models()
        meant = did_you_mean(os.fspath(name), names) or f"; the names are {', '.join(names)}"
        raise ModelNotFoundError(f"no model named {os.fspath(name)!r}, and no such file{meant}")
    return open_model(model, dtype, download_root)
