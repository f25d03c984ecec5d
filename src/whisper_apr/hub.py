"""A model's name becomes verified local files: huggingface_hub's cache first, its network only where the cache lacks something.

What was fetched is written once as an `.apr` of the type that was asked for, beside huggingface_hub's cache; from then on only that is read.
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

ELSEWHERE = "give a path, or 'digits', which comes with the package"
OPTIONAL = ("generation_config.json", "README.md")  # read where a repository has them

# shipped with the package, opened without any network; with their alignment heads (assets/digits.md says how they were found)
BUNDLED = {"digits": ((3, 0),)}

_REPOSITORY = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w.-]{1,100}))?")
_CACHED = re.compile(r"models--(.+?)--(.+)")  # huggingface_hub's name of a repository's folder
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubModel:
    """A repository of the Hugging Face hub."""

    repo: str
    revision: str = "main"  # the known models': a commit, so that a name means the same bytes on every day
    size: int | None = None  # bytes of the weights' file, where known
    sha256: str | None = None  # of the weights' file, where known
    alignment_heads: tuple[tuple[int, int], ...] = ()


@cache
def known_models() -> dict[str, HubModel]:
    """openai-whisper's names, and the official repositories that they stand for (`assets/models.json`)."""
    table = json.loads(files("whisper_apr").joinpath("assets", "models.json").read_bytes())
    models = {
        name: HubModel(**(entry | {"alignment_heads": tuple(map(tuple, entry["alignment_heads"]))}))
        for name, entry in table["models"].items()
    }
    return models | {alias: models[name] for alias, name in table["aliases"].items()}


def find_model(name: str) -> HubModel | None:
    """What a name stands for: one of `known_models`, or `org/name`, `org/name@revision`; None for any other text."""
    if name in known_models():
        return known_models()[name]
    match = _REPOSITORY.fullmatch(name)
    return HubModel(match[1], match[2] or "main") if match else None


class _Files:
    """One repository's files, through huggingface_hub."""

    def __init__(self, model: HubModel, root: str | PathLike[str] | None) -> None:
        try:
            import huggingface_hub
            from huggingface_hub import constants, errors
        except ImportError as error:
            raise ModelNotFoundError(
                f"{model.repo}: fetching a model needs huggingface_hub, which is not installed here; {ELSEWHERE}"
            ) from error
        self._hub: Any = huggingface_hub
        self._errors: Any = errors
        self._is_offline: bool = constants.HF_HUB_OFFLINE
        self._model = model
        self._root = root

    def cached(self, name: str) -> Path | None:
        """A file that is in the cache already; no network call is made."""
        found = self._hub.try_to_load_from_cache(
            self._model.repo, name, cache_dir=self._root, revision=self._model.revision
        )
        return Path(found) if isinstance(found, str) else None  # else: not there, or known not to exist

    def check_connection(self) -> None:
        """Ask once. huggingface_hub goes on asking for half a minute, even where there is no network at all."""
        url = self._hub.hf_hub_url(self._model.repo, "config.json", revision=self._model.revision)
        try:
            self._hub.get_hf_file_metadata(url)
        except Exception as error:
            if _status(error) is None:
                self._fail(error, connected=False)  # what the hub answered, `download` will tell

    def download(self, name: str) -> Path | None:
        """A file, fetched unless it is cached; None where the repository has no such file."""
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
        except Exception as error:  # of huggingface_hub, or of whatever HTTP library its version stands on
            self._fail(error)

    def _fail(self, error: Exception, connected: bool = True) -> NoReturn:
        """Raise what the user is told: one sentence, whichever of the many ways a download can fail."""
        repo, errors = self._model.repo, self._errors
        status = _status(error)
        if isinstance(error, errors.GatedRepoError):
            what = "it is gated: accept its terms on the hub and set HF_TOKEN"
        elif isinstance(error, errors.RepositoryNotFoundError):
            what = f"the hub has no such repository, or it is private (then set HF_TOKEN); {ELSEWHERE}"
        elif isinstance(error, errors.RevisionNotFoundError):
            what = f"it has no revision {self._model.revision!r}"
        elif status is not None:
            what = f"the hub answered {status}; try again later, or {ELSEWHERE}"
        elif self._is_offline:
            what = f"not in the cache, and HF_HUB_OFFLINE forbids to fetch it; {ELSEWHERE}"
        elif not connected or isinstance(error, errors.LocalEntryNotFoundError | ConnectionError):
            what = f"not in the cache, and the hub cannot be reached; {ELSEWHERE}"
        else:
            first_line = (str(error) or type(error).__name__).splitlines()[0]
            what = f"the download failed ({first_line.rstrip('.')}); try again, it goes on where it stopped"
        raise ModelNotFoundError(f"{repo}: {what}") from error


def _status(error: BaseException | None) -> int | None:
    """The HTTP status that an error goes back to. huggingface_hub wraps it where it has looked in its cache in vain."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__ or error.__context__
    return None


def _gather(get: Callable[[str], Path | None]) -> list[Path]:
    """A model's files, config.json first and all of the weights last; empty where `get` lacks one of them."""
    config = get("config.json")
    if config is None:
        return []
    for name in (*WEIGHTS, "model.bin"):  # the last is CTranslate2's
        weights = get(name)
        if weights is None:
            continue
        if not name.endswith(".index.json"):
            return [config, weights]
        shards = [path for path in map(get, shard_names(weights)) if path is not None]
        return [config, weights, *shards] if len(shards) == len(shard_names(weights)) else []
    return []


def _verify(path: Path, sha256: str | None) -> None:
    """Compare a file with its SHA-256, which huggingface_hub's cache also has as the name of what a snapshot links to."""
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
            f"{path.name}: it arrived damaged (SHA-256 {found[:12]}..., not {sha256[:12]}...) and was removed; try again"
        )


def cached_folder(model: HubModel, root: str | PathLike[str] | None = None) -> Path | None:
    """Where a model's files are, if all of them are in the cache (huggingface_hub's own, or `root`). Makes no network call."""
    found = _gather(_Files(model, root).cached)
    return found[0].parent if found else None


def fetch(model: HubModel, root: str | PathLike[str] | None = None) -> Path:
    """A model's folder: from the cache if it is there whole, else from the hub; its weights compared with their SHA-256.

    Only what a model needs is fetched: config.json, the weights, `OPTIONAL`, the tokens. A download that was cut goes on where it
    stopped. Raises ModelNotFoundError where it cannot be had, FormatError where it arrived damaged (it is then removed).
    """
    hub = _Files(model, root)
    found = _gather(hub.cached)
    if not found:
        hub.check_connection()
        # first: once the weights are there, a model counts as fetched
        for name in OPTIONAL:
            hub.download(name)
        if model.sha256 is None:  # else its tokens are those that come with the package
            hub.download("added_tokens.json" if hub.download("vocab.json") else "tokenizer.json")
        found = _gather(hub.download)
        if not found:
            raise ModelNotFoundError(
                f"{model.repo}: no Whisper model is in it that can be read; one has config.json and {WEIGHTS[0]}"
            )
    single = len(found) == 2
    for path in found[1:]:
        _verify(path, model.sha256 if single else None)
    return found[0].parent


def describe_source(path: str | PathLike[str]) -> str:
    """How to name where a model came from: `org/name@commit` for a folder in huggingface_hub's cache, else the path's last part."""
    place = Path(os.path.abspath(path))
    for folder in (place, place.parent):
        if folder.parent.name == "snapshots" and (found := _CACHED.fullmatch(folder.parent.parent.name)):
            return f"{found[1]}/{found[2]}@{folder.name}"
    return place.name


# ---- converted once -------------------------------------------------------------------------------------------------


def _converted_folder(root: str | PathLike[str] | None) -> Path:
    """Where this package keeps what it converted: in `root`, or in huggingface_hub's home. Found without importing that."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(root or home).expanduser() / "whisper-apr"


def _converted_path(model: HubModel, commit: str, dtype: str | None, root: str | PathLike[str] | None) -> Path:
    return _converted_folder(root) / f"{model.repo.replace('/', '--')}-{commit[:12]}-{dtype or 'as-it-is'}.apr"


def converted_files(model: HubModel, root: str | PathLike[str] | None = None) -> list[Path]:
    """The `.apr` files that were made of a model."""
    revision = model.revision[:12] if _COMMIT.fullmatch(model.revision) else "*"
    return sorted(_converted_folder(root).glob(f"{model.repo.replace('/', '--')}-{revision}-*.apr"))


def _read_converted(path: Path) -> Checkpoint | None:
    """A file that was converted before, every block verified; None where it is not there. One that is damaged is removed."""
    if not path.exists():
        return None
    try:
        verify_apr(path)
        return read_apr(path, verify=False)
    except FormatError:
        path.unlink(missing_ok=True)
        return None


def _fits_float16(checkpoint: Checkpoint) -> bool:
    """Whether float16 loses nothing of any matrix: so it is where a repository holds OpenAI's float16 weights as float32."""
    for tensor in checkpoint.tensors.values():
        if isinstance(tensor, np.ndarray) and tensor.ndim > 1:
            with np.errstate(over="ignore"):
                if not np.array_equal(tensor, tensor.astype(np.float16), equal_nan=True):
                    return False
    return True


def open_model(model: HubModel, dtype: str | None = None, root: str | PathLike[str] | None = None) -> Checkpoint:
    """A model of the hub, its matrices of the type `dtype` (as `write_apr` has them; None: as they are), converted if it was not yet.

    root: a folder for downloads and conversions, in the place of huggingface_hub's cache and of a folder beside it. Where that cannot be
    written, the model is opened all the same. Raises ModelNotFoundError and FormatError as `fetch`.
    """
    commit = model.revision
    if not _COMMIT.fullmatch(commit):
        folder = cached_folder(model, root) or fetch(model, root)
        commit = folder.name  # of the snapshot
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
    except OSError:  # no room, or not ours to write: what was fetched still serves
        return checkpoint
    return read_apr(path, verify=False)


def available_models() -> list[str]:
    """The names that `load_model` knows; of `digits` nothing has to be fetched."""
    return [*BUNDLED, *known_models()]


def find_checkpoint(
    name: str | PathLike[str],
    dtype: str | None = None,
    download_root: str | PathLike[str] | None = None,
    exact: bool = False,
) -> Checkpoint:
    """What `load_model` opens for a name or a path; a named model is fetched first, and kept in matrices of `dtype`."""
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
