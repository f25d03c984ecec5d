"""The networks with the weights of the package whisper-apr-speakers."""

from functools import lru_cache
from importlib.resources import as_file, files

import numpy as np

from ..errors import OptionError
from .diarization import Diarizer
from .embedding import EmbeddingModel
from .layers import Tensors
from .segmentation import SegmentationModel

PACKAGE = "whisper_apr_speakers"


def _read(name: str) -> Tensors:
    try:
        folder = files(PACKAGE)
    except ModuleNotFoundError as error:
        raise OptionError(
            "speakers are told apart by the package whisper-apr-speakers, which is not installed; run "
            "'pip install whisper-apr[speakers]'"
        ) from error
    with as_file(folder.joinpath(name)) as path, np.load(path) as tensors:
        return {name: tensors[name] for name in tensors.files}


@lru_cache(maxsize=1)
def load_diarizer() -> Diarizer:
    """Return the networks, which are loaded once.

    Raises:
        OptionError: The package whisper-apr-speakers is not installed.
    """
    return Diarizer(SegmentationModel(_read("segmentation.npz")), EmbeddingModel(_read("embedding.npz")))
