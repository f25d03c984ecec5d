"""The names of openai-whisper's models, where their files are, and their alignment heads."""

import base64
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np

from ...errors import ModelNotFoundError, OptionError
from ...hub import fetch, find_model, known_models

# layers and heads of the decoder
_SHAPES = {"tiny": (4, 6), "base": (6, 8), "small": (12, 12), "medium": (24, 16), "large": (32, 20), "turbo": (4, 20)}


class UnknownModelError(ModelNotFoundError, RuntimeError):
    """No model has this name, or it cannot be downloaded; a RuntimeError, as openai-whisper raises."""


@contextmanager
def renamed_errors() -> Iterator[None]:
    """Raise a ModelNotFoundError as an UnknownModelError."""
    try:
        yield
    except ModelNotFoundError as error:
        raise UnknownModelError(str(error)) from error


def model_sources() -> dict[str, str]:
    """Return openai-whisper's model names and their repositories, "organization/name@commit"."""
    order = ["tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium"]
    order += ["large-v1", "large-v2", "large-v3", "large", "large-v3-turbo", "turbo"]
    models = known_models()
    return {name: f"{models[name].repo}@{models[name].revision}" for name in order}


def alignment_heads() -> dict[str, bytes]:
    """Return the alignment heads of the models by name, in the form of `Whisper.set_alignment_heads`."""
    dumps = {}
    for name in model_sources():
        size = "turbo" if "turbo" in name else name.partition(".")[0].partition("-")[0]
        mask = np.zeros(_SHAPES[size], bool)
        for layer, head in known_models()[name].alignment_heads:
            mask[layer, head] = True
        dumps[name] = base64.b85encode(gzip.compress(mask.tobytes(), mtime=0))
    return dumps


def download(url: str, root: str | PathLike[str] | None, in_memory: bool) -> bytes | str:
    """Download a model unless it is in the cache.

    Args:
        url: A value of `_MODELS`, or `org/name` of the Hugging Face hub.
        root: Directory of downloaded models. None is huggingface_hub's cache.
        in_memory: Whether to return the content of the weights' file.

    Returns:
        The path of the weights' file, which `load_model` takes, or its content.

    Raises:
        RuntimeError: The model cannot be downloaded.
    """
    model = find_model(url)
    if model is None:
        raise OptionError(f"url must be a value of _MODELS, or 'organization/name', not {url!r}")
    with renamed_errors():
        folder = fetch(known_models().get(_names().get(url, ""), model), root)
    weights: Path = folder / "model.safetensors"
    if not weights.exists():
        raise UnknownModelError(f"{url}: its weights are in several files; give {str(folder)!r} to load_model")
    return weights.read_bytes() if in_memory else str(weights)


def _names() -> dict[str, str]:
    return {source: name for name, source in model_sources().items()}
