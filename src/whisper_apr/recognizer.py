"""A model with everything that can be done with it: openai-whisper's methods, on a network that was opened by name or path."""

from collections.abc import Callable
from importlib.resources import as_file, files
from os import PathLike
from typing import Any, BinaryIO

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


def load_model(
    name: str | PathLike[str] | BinaryIO,
    *,
    compute_type: str = "float32",
    on_progress: Callable[[int, int], None] | None = None,
) -> Recognizer:
    """Open a model: `digits`, which comes with the package; a path; an `.apr` file's URL, or a binary file object that it is read from.

    compute_type: "float32" computes with the weights as they are stored; "int8" and "int4" quantize those that are floats. From a URL or a
    file object the model is there, and can encode, as soon as the encoder's weights have come; the rest is read in a thread beside it and
    `on_progress(bytes that have come, bytes in all)` called there.

    Raises ModelNotFoundError where nothing is found, FormatError where a file is damaged or no Whisper model.
    """
    if not isinstance(name, PathLike) and (not isinstance(name, str) or name.startswith(("http://", "https://"))):
        from .formats.apr_http import ChangedError, open_stream  # brings urllib and ssl, which most programs do without

        try:
            return Recognizer(open_stream(name, on_progress=on_progress).checkpoint, compute_type)
        except ChangedError:  # begun anew, once
            return Recognizer(open_stream(name, on_progress=on_progress).checkpoint, compute_type)
    model = Recognizer(_checkpoint(name), compute_type)
    _ = model.decoder  # what is damaged is found now
    return model


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
