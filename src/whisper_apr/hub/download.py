"""Download models from the Hugging Face hub through huggingface_hub, into its cache, and verify them.

The network is used only if the cache is incomplete.
"""

import os
import re
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from ..errors import FormatError, ModelNotFoundError
from ..formats import lora
from ..formats.safetensors import WEIGHTS, shard_names
from ..formats.vocabulary import FILES as VOCABULARY_FILES
from .models import ALTERNATIVE, HubModel

OPTIONAL = ("generation_config.json", "README.md")  # files that a repository need not have

_CACHED = re.compile(r"models--(.+?)--(.+)")  # huggingface_hub's name of a repository's folder
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
    """Return a model's required files, its configuration first, then the weights; empty if `get` lacks one of them."""
    config = get("config.json")
    names: tuple[str, ...] = (*WEIGHTS, "model.bin")  # model.bin is CTranslate2's
    if config is None:
        config, names = get(lora.CONFIG), lora.WEIGHTS
    if config is None:
        return []
    for name in names:
        weights = get(name)
        if weights is None:
            continue
        if not name.endswith(".json"):
            return [config, weights]
        listed = shard_names(weights)
        shards = [path for path in map(get, listed) if path is not None]
        return [config, weights, *shards] if len(shards) == len(listed) else []
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
    import hashlib  # imported here, as it loads OpenSSL

    with open(blob, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        raise FormatError(
            f"{path.name}: the download is damaged (SHA-256 {found[:12]}..., not {sha256[:12]}...) and was removed; "
            "try again"
        )


def _download_vocabulary(repository: _Repository) -> None:
    """Download the first of the files that list a model's tokens, and those that add to it."""
    for name in VOCABULARY_FILES:
        if repository.download(name) is not None:
            break
    else:
        return
    if name == VOCABULARY_FILES[0]:
        repository.download("added_tokens.json")
    repository.download("tokenizer_config.json")


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
            _download_vocabulary(repository)
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
