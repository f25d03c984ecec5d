"""faster_whisper.utils: the models and where they are."""

import json
import logging
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from tqdm.auto import tqdm

from ...errors import ModelNotFoundError, OptionError
from ...output import format_timestamp

__all__ = [
    "available_models",
    "disabled_tqdm",
    "download_model",
    "format_timestamp",
    "get_assets_path",
    "get_end",
    "get_logger",
]

_MODELS: dict[str, str] = json.loads(
    files("whisper_apr").joinpath("assets", "faster_whisper_models.json").read_text(encoding="utf-8")
)
_FILES = ["config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*"]


def available_models() -> list[str]:
    """Return the names of the models that faster-whisper knows."""
    return list(_MODELS)


def get_assets_path() -> str:
    """Return the folder of the package's assets, among them the weights of the voice activity detection."""
    return str(files("whisper_apr").joinpath("assets"))


def get_logger() -> logging.Logger:
    """Return the logger "faster_whisper"."""
    return logging.getLogger("faster_whisper")


def download_model(
    size_or_id: str,
    output_dir: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | None = None,
    revision: str | None = None,
    use_auth_token: str | bool | None = None,
) -> str:
    """Download a CTranslate2 model from the Hugging Face hub, and return its folder.

    Args:
        size_or_id: A name of `available_models()`, or `org/name`.
        output_dir: Folder for the files. None is the cache.
        local_files_only: Whether to use the cache only.
        cache_dir: The cache. None is huggingface_hub's.
        revision: A branch, a tag or a commit.
        use_auth_token: A token of the hub, or True for the one that is stored.

    Raises:
        OptionError: No model has this name.
        ModelNotFoundError: The model cannot be downloaded.
    """
    repo = size_or_id if "/" in size_or_id else _MODELS.get(size_or_id)
    if repo is None:
        raise OptionError(f"no model named {size_or_id!r}; the names are {', '.join(_MODELS)}")
    try:
        import huggingface_hub
    except ImportError as error:
        raise ModelNotFoundError(
            f"{repo}: downloading a model needs huggingface_hub, which is not installed"
        ) from error
    try:
        return str(
            huggingface_hub.snapshot_download(
                repo,
                revision=revision,
                local_files_only=local_files_only,
                cache_dir=cache_dir,
                local_dir=output_dir,
                token=use_auth_token,
                allow_patterns=_FILES,
                tqdm_class=disabled_tqdm,
            )
        )
    except Exception as error:  # huggingface_hub's own, or of the HTTP library that its version uses
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelNotFoundError(f"{repo}: the download failed ({first_line.rstrip('.')})") from error


class disabled_tqdm(tqdm):  # type: ignore[misc]
    """A progress bar that is not shown."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings["disable"] = True
        super().__init__(*arguments, **settings)


def get_end(segments: Sequence[dict[str, Any]]) -> float | None:
    """Return the end of the last word of segments, or of the last segment if none has words; None if there is none."""
    for segment in reversed(segments):
        for word in reversed(segment["words"]):
            return float(word["end"])
    return segments[-1]["end"] if segments else None
