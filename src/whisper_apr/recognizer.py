"""A model with everything that can be done with it: openai-whisper's methods, on a network that was opened by name or path."""

from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from typing import BinaryIO, Literal, Unpack, overload

import numpy as np

from .audio import AudioLike
from .errors import AudioError, OptionError
from .formats.urls import is_url
from .hub import find_checkpoint
from .inference.decode import DecodingResult, decode
from .inference.keywords import DecodeKeywords, TranscribeKeywords
from .inference.language import detect_language
from .inference.options import DecodingOptions
from .inference.results import Transcription
from .inference.transcribe import transcribe
from .inference.transcribe_many import TranscribeManyKeywords
from .inference.transcribe_many import transcribe_many as many  # the method's overloads hide its name in the class
from .model import Whisper
from .model.layers import FloatArray
from .option_docs import same_as
from .option_values import boolean, choice, function, optional, parse, path, shown


class Recognizer(Whisper):
    """A Whisper model with openai-whisper's methods. Made by `load_model`."""

    device = "cpu"  # openai-whisper's scripts pass it to `mel.to(model.device)`

    @same_as(detect_language)
    def detect_language(self, mel: FloatArray) -> tuple[np.ndarray | int, list[dict[str, float]] | dict[str, float]]:
        """Detect the language of a window or a batch of windows. See `whisper_apr.detect_language`."""
        return detect_language(self, mel)

    @same_as(decode)
    def decode(
        self, mel: FloatArray, options: DecodingOptions | None = None, **changes: Unpack[DecodeKeywords]
    ) -> DecodingResult | list[DecodingResult]:
        """Decode a window or a batch of windows. See `whisper_apr.decode`."""
        return decode(self, mel, options, **changes)

    @same_as(transcribe)
    def transcribe(self, audio: AudioLike, **options: Unpack[TranscribeKeywords]) -> Transcription:
        """Transcribe a recording. See `whisper_apr.transcribe`."""
        return transcribe(self, audio, **options)

    @overload
    def transcribe_many(
        self,
        audios: Iterable[AudioLike],
        *,
        return_errors: Literal[False] = False,
        **options: Unpack[TranscribeManyKeywords],
    ) -> Iterator[Transcription]: ...

    @overload
    def transcribe_many(
        self, audios: Iterable[AudioLike], *, return_errors: bool, **options: Unpack[TranscribeManyKeywords]
    ) -> Iterator[Transcription | AudioError]: ...

    @same_as(many)
    def transcribe_many(
        self, audios: Iterable[AudioLike], *, return_errors: bool = False, **options: Unpack[TranscribeManyKeywords]
    ) -> Iterator[Transcription | AudioError]:
        """Transcribe several recordings together. See `whisper_apr.transcribe_many`."""
        return many(self, audios, return_errors=return_errors, **options)


# faster-whisper's names of types, and what becomes of a model's float matrices: (type to store, type to compute with)
_COMPUTE_TYPES: dict[str, tuple[str | None, str]] = {
    "default": (None, "float32"),
    "float32": (None, "float32"),
    "float16": ("float16", "float16"),
    "int8": ("int8", "int8"),
    "auto": ("int8", "int8"),  # the fastest that keeps the word error rate
    "int8_float32": ("int8", "int8"),
    "int8_float16": ("int8", "int8"),
    "int4": ("int4", "int4"),
}


def load_model(
    name: str | PathLike[str] | BinaryIO,
    device: str | None = None,
    download_root: str | PathLike[str] | None = None,
    in_memory: bool = False,
    *,
    compute_type: str = "default",
    on_progress: Callable[[int, int], None] | None = None,
) -> Recognizer:
    """Open a model: a name of `available_models()`; a path; `org/name` of the Hugging Face hub, `@revision` behind it if wanted; an `.apr`
    file's URL, or a binary file object that it is read from.

    A named model is fetched once, into huggingface_hub's cache or `download_root`, and converted once; then no network is needed.
    device: "cpu", "auto" or None. in_memory: taken for openai-whisper's sake; weights are in memory, or mapped from the file, anyhow.
    compute_type: "default" computes with the weights as they are stored; "float32" too, but makes exact floats of whisper.cpp's quantized
    types; "float16" keeps floats so, and what the decoder remembers of an audio too, half the memory to read for a token; "int8" (also
    "auto") and "int4" quantize floats, and keep what the decoder remembers in int8: name the type for a quantized file too.
    From a URL or a file object the model is there, and can encode, as soon as the encoder's weights have come; the rest is read in a thread
    beside it and `on_progress(bytes that have come, bytes in all)` called there.

    Raises ModelNotFoundError where nothing is found, FormatError where a file is damaged or no Whisper model, OptionError for a device or
    compute_type that does not exist.
    """
    if device is not None and (not isinstance(device, str) or device not in ("cpu", "auto")):
        raise OptionError(f"device must be 'cpu', which is all that this package runs on, not {shown(device)}")
    compute_type = parse("compute_type", choice(*_COMPUTE_TYPES), compute_type)
    download_root = parse("download_root", optional(path), download_root)
    parse("in_memory", boolean, in_memory)
    parse("on_progress", optional(function), on_progress)
    stored, computed = _COMPUTE_TYPES[compute_type]
    if not isinstance(name, str | PathLike) and not hasattr(name, "read"):
        raise OptionError(f"name must be a model's name, path or URL, or a binary file, not {shown(name)}")
    if not isinstance(name, PathLike) and (not isinstance(name, str) or is_url(name)):
        from .formats.apr.http import ChangedError, open_stream  # brings urllib and ssl, which most programs do without

        try:
            return Recognizer(open_stream(name, on_progress=on_progress).checkpoint, computed)
        except ChangedError:  # begun anew, once
            return Recognizer(open_stream(name, on_progress=on_progress).checkpoint, computed)
    checkpoint = find_checkpoint(name, stored, download_root, exact=compute_type == "float32")
    model = Recognizer(checkpoint, computed)
    _ = model.decoder  # what is damaged is found now
    return model
