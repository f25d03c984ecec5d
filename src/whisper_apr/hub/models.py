"""The models that have a name, and the repositories on the Hugging Face hub that names stand for."""

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

ALTERNATIVE = "give a path, or 'digits', which comes with the package"

# Models in the package, and their alignment heads (see assets/digits.md)
BUNDLED = {"digits": ((3, 0),)}

_REPOSITORY = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w.-]{1,100}))?")


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


def available_models() -> list[str]:
    """Return the names of the models that `load_model` knows. "digits" comes with the package."""
    return [*BUNDLED, *known_models()]
