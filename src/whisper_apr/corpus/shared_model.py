"""A model in a form whose pages the workers of a machine share."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..formats.apr import write_apr
from ..formats.urls import is_url
from ..hub import BUNDLED, find_checkpoint
from ..recognizer import stored_type


@contextmanager
def shared_model(name: str, compute_type: Any, model_dir: str | None) -> Iterator[str]:
    """Yield the name or path of a model that processes can load without work or memory of their own.

    Models of the hub are downloaded and converted now, once, and an `.apr` file whose type is not changed is mapped as
    it is. Any other model is converted to a temporary `.apr` file.

    Args:
        name: Name, path or URL of the model.
        compute_type: As for `load_model`.
        model_dir: Folder of downloaded models, as for `load_model`.

    Raises:
        WhisperAprError: The model cannot be loaded.
        OSError: There is no room for the temporary file.
    """
    dtype = stored_type(compute_type)
    if name.lower().endswith(".apr") and dtype is None and os.path.isfile(name):
        yield os.path.abspath(name)
        return
    if is_url(name):
        from ..formats.apr.http import open_stream  # imports urllib and ssl

        checkpoint = open_stream(name).checkpoint
    else:
        checkpoint = find_checkpoint(name, dtype, model_dir, exact=compute_type == "float32")
        if name not in BUNDLED and not os.path.exists(name):
            yield name  # the hub's cache has it as an .apr file now
            return
    with tempfile.TemporaryDirectory(prefix="whisper-apr-") as folder:
        path = os.path.join(folder, "model.apr")
        write_apr(checkpoint, path, dtype)
        del checkpoint
        yield path
