"""Models by name: downloaded from the Hugging Face hub once, verified, and kept converted to `.apr`.

`models` knows the names, `download` the hub, `converted` the converted files, and `find` opens what a name or a path
stands for.
"""

from .converted import converted_files, open_model
from .download import cached_folder, describe_source, fetch
from .find import find_checkpoint, is_path
from .models import BUNDLED, HubModel, available_models, find_model, known_models

__all__ = [
    "BUNDLED",
    "HubModel",
    "available_models",
    "cached_folder",
    "converted_files",
    "describe_source",
    "fetch",
    "find_checkpoint",
    "find_model",
    "is_path",
    "known_models",
    "open_model",
]
