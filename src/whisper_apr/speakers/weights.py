"""The networks with the weights of the package whisper-apr-speakers."""

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from ..errors import OptionError

if TYPE_CHECKING:
    from .diarization import Diarizer


@lru_cache(maxsize=1)
def load_diarizer() -> "Diarizer":
    """Return the networks, which are loaded once.

    Raises:
        OptionError: The package whisper-apr-speakers is not installed.
    """
    from .weight_files import FOLDER, read_folder  # not earlier, because few transcriptions need it

    try:
        folder = files(FOLDER)
    except ModuleNotFoundError as error:
        raise OptionError(
            "speakers are told apart by the package whisper-apr-speakers, which is not installed; run "
            "'pip install whisper-apr[speakers]'"
        ) from error
    return read_folder(folder)
