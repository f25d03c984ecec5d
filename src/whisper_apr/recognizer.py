"""A model with everything that can be done with it: openai-whisper's methods, on a network that was opened by name or path."""

from importlib.resources import as_file, files
from os import PathLike
from typing import Any

import numpy as np

from .errors import ModelNotFoundError
from .formats import Checkpoint, open_checkpoint
from .inference.decode import DecodingOptions, DecodingResult, decode, detect_language
from .inference.results import Transcription
from .inference.transcribe import Source, transcribe
from .model import Whisper
from .model.layers import FloatArray

BUNDLED = ("digits",)  # shipped with the package, opened without any network


class Recognizer(Whisper):
    """Whisper's network, and what can be done with it."""

    def detect_language(self, mel: FloatArray) -> tuple[np.ndarray | int, list[dict[str, float]] | dict[str, float]]:
        """See `whisper_apr.detect_language`."""
        return detect_language(self, mel)

    def decode(
        self, mel: FloatArray, options: DecodingOptions | None = None, **changes: object
    ) -> DecodingResult | list[DecodingResult]:
        """See `whisper_apr.decode`."""
        return decode(self, mel, options, **changes)

    def transcribe(self, audio: Source, **options: Any) -> Transcription:
        """See `whisper_apr.transcribe`."""
        return transcribe(self, audio, **options)


def load_model(name: str | PathLike[str]) -> Recognizer:
    """Open a model: `digits`, which comes with the package, or a path.

    Raises ModelNotFoundError where nothing is found, FormatError where a file is damaged or no Whisper model.
    """
    return Recognizer(_checkpoint(name))


def _checkpoint(name: str | PathLike[str]) -> Checkpoint:
    if name in BUNDLED:
        with as_file(files("whisper_apr").joinpath("assets", f"{name}.pt")) as path:
            return open_checkpoint(path)
    try:
        return open_checkpoint(name)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"no model named {str(name)!r}, and no such file; 'digits' comes with the package"
        ) from error
