"""load_model, and the model that it returns, with openai-whisper's methods."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from math import prod
from os import PathLike
from time import perf_counter
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar, Unpack, overload

from . import simd
from .audio import AudioLike
from .checkpoint import Checkpoint, expected_shapes
from .errors import AudioError, OptionError
from .formats.urls import is_url, redact_url
from .hub import available_models, find_checkpoint
from .inference.align import align
from .inference.decode import DecodingResult
from .inference.decode import decode as decode_windows  # the methods' overloads hide these names in the class
from .inference.keywords import AlignKeywords, DecodeKeywords, TranscribeKeywords
from .inference.language import IntArray
from .inference.language import detect_language as detect
from .inference.options import DecodingOptions
from .inference.results import Alignment, Transcription
from .inference.transcribe import transcribe
from .inference.transcribe_many import TranscribeManyKeywords
from .inference.transcribe_many import transcribe_many as many
from .model import Whisper
from .model.layers import FloatArray, Window, WindowBatch
from .option_docs import same_as
from .option_values import boolean, choice, function, optional, parse, path, shown
from .tokenizer import Tokenizer

_log = logging.getLogger(__name__)

Device = Literal["cpu", "auto"]
ComputeType = Literal["default", "float32", "float16", "int8", "auto", "int8_float32", "int8_float16", "int4"]


class _Origin(NamedTuple):
    """The arguments of `load_model` by which a model can be loaded anew."""

    name: str
    compute_type: ComputeType
    download_root: str | None


class Recognizer(Whisper):
    """A Whisper model with openai-whisper's methods. Made by `load_model`."""

    device = "cpu"  # openai-whisper's scripts pass it to `mel.to(model.device)`

    def __init__(self, checkpoint: Checkpoint, compute_type: str = "float32") -> None:
        super().__init__(checkpoint, compute_type)
        self._compute_type = compute_type
        self._origin: _Origin | None = None  # set by `load_model` unless it read a file object

    def __repr__(self) -> str:
        name = ""
        if self._origin is not None:
            origin = self._origin.name
            name = repr(redact_url(origin) if is_url(origin) else origin) + ", "
        languages = "multilingual" if self.is_multilingual else "English only"
        millions = sum(map(prod, expected_shapes(self.dims).values())) / 1e6
        return f"Recognizer({name}{languages}, {millions:.0f}M parameters, {self._compute_type})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._origin is None:
            raise TypeError(
                "cannot pickle a model that was read from a file object or made from a Checkpoint; "
                "load it by its name, path or URL"
            )
        return _reload, tuple(self._origin)

    def __copy__(self) -> "Recognizer":
        """Return the model itself: weights are never written to, and a transcription leaves no state."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Recognizer":
        return self

    @overload
    def detect_language(self, mel: Window, tokenizer: Tokenizer | None = None) -> tuple[int, dict[str, float]]: ...

    @overload
    def detect_language(
        self, mel: WindowBatch, tokenizer: Tokenizer | None = None
    ) -> tuple[IntArray, list[dict[str, float]]]: ...

    @same_as(detect)
    def detect_language(
        self, mel: FloatArray, tokenizer: Tokenizer | None = None
    ) -> tuple[IntArray | int, list[dict[str, float]] | dict[str, float]]:
        """Detect the language of a window or a batch of windows. See `whisper_apr.detect_language`."""
        return detect(self, mel, tokenizer)

    @overload
    def decode(
        self, mel: Window, options: DecodingOptions | None = None, **changes: Unpack[DecodeKeywords]
    ) -> DecodingResult: ...

    @overload
    def decode(
        self, mel: WindowBatch, options: DecodingOptions | None = None, **changes: Unpack[DecodeKeywords]
    ) -> list[DecodingResult]: ...

    @same_as(decode_windows)
    def decode(
        self, mel: FloatArray, options: DecodingOptions | None = None, **changes: Unpack[DecodeKeywords]
    ) -> DecodingResult | list[DecodingResult]:
        """Decode a window or a batch of windows. See `whisper_apr.decode`."""
        return decode_windows(self, mel, options, **changes)

    @same_as(transcribe)
    def transcribe(self, audio: AudioLike, **options: Unpack[TranscribeKeywords]) -> Transcription:
        """Transcribe a recording. See `whisper_apr.transcribe`."""
        return transcribe(self, audio, **options)

    @same_as(align)
    def align(self, audio: AudioLike, text: str, **options: Unpack[AlignKeywords]) -> Alignment:
        """Find when each word of a known text is spoken. See `whisper_apr.align`."""
        return align(self, audio, text, **options)

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


# faster-whisper's compute types, and what they do to float matrices: (type to store, type to compute with)
_COMPUTE_TYPES: dict[ComputeType, tuple[str | None, str]] = {
    "default": (None, "float32"),
    "float32": (None, "float32"),
    "float16": ("float16", "float16"),
    "int8": ("int8", "int8"),
    "auto": ("int8", "int8"),  # the fastest type that keeps the word error rate
    "int8_float32": ("int8", "int8"),
    "int8_float16": ("int8", "int8"),
    "int4": ("int4", "int4"),
}


def stored_type(compute_type: ComputeType) -> str | None:
    """Return the dtype of `write_apr` that a compute type stores matrices in; None to keep that of the file.

    Raises:
        OptionError: There is no such compute type.
    """
    return _COMPUTE_TYPES[parse("compute_type", choice(*_COMPUTE_TYPES), compute_type)][0]


R = TypeVar("R", bound=Recognizer)


def load_model(
    name: str | PathLike[str] | BinaryIO,
    device: Device | None = None,
    download_root: str | PathLike[str] | None = None,
    in_memory: bool = False,
    *,
    compute_type: ComputeType = "default",
    on_progress: Callable[[int, int], object] | None = None,
) -> Recognizer:
    """Load a model.

    A model of the Hugging Face hub is downloaded once, into huggingface_hub's cache or `download_root`, and converted
    once. After that no network is needed.

    A model that is read from a URL or a file object is returned as soon as the weights of the encoder have arrived, and
    can encode; a thread reads the rest.

    The model pickles as its name, absolute path or URL with `compute_type` and `download_root`, and is loaded anew when
    it is unpickled. One that was read from a file object cannot be pickled.

    Args:
        name: A name of `available_models()`, a path, `org/name` or `org/name@revision` of the Hugging Face hub, the URL
            of an `.apr` file, or a binary file object with an `.apr` file.
        device: "cpu", "auto" or None, which mean the same.
        download_root: Directory of downloaded models. None is huggingface_hub's cache.
        in_memory: Accepted for scripts written for openai-whisper; it has no effect.
        compute_type: How weights are stored and multiplied.

            - "default": as the file stores them, computed in float32.
            - "float32": likewise, but whisper.cpp's quantized types are converted to floats.
            - "float16": weights and KV cache stored in float16, which halves the bytes read per token.
            - "int8" or "auto": float weights quantized to 8 bits, and an 8-bit KV cache; also for quantized files.
            - "int8_float32", "int8_float16": faster-whisper's names of "int8".
            - "int4": float weights quantized to 4 bits in groups of 32, the most sensitive ones to 8 bits (5.3 bits on
              average), and an 8-bit KV cache.
        on_progress: Called with the bytes that have arrived and the size in bytes of a model from a URL or a file
            object, in the thread that reads it.

    Returns:
        The model.

    Raises:
        ModelNotFoundError: No model has this name or path, or it cannot be downloaded.
        FormatError: The file is damaged or is not a Whisper model.
        OptionError: An argument has a value that is not allowed.
    """
    return load_as(
        Recognizer, name, device, download_root, in_memory, compute_type=compute_type, on_progress=on_progress
    )


def load_as(
    kind: type[R],
    name: str | PathLike[str] | BinaryIO,
    device: Device | None = None,
    download_root: str | PathLike[str] | None = None,
    in_memory: bool = False,
    *,
    compute_type: ComputeType = "default",
    on_progress: Callable[[int, int], object] | None = None,
) -> R:
    """Load a model as an instance of `kind`, which is made from a checkpoint and a compute type. See `load_model`."""
    if device is not None and (not isinstance(device, str) or device not in ("cpu", "auto")):
        raise OptionError(f"device must be 'cpu', the only one that whisper_apr supports, not {shown(device)}")
    compute_type = parse("compute_type", choice(*_COMPUTE_TYPES), compute_type)
    download_root = parse("download_root", optional(path), download_root)
    parse("in_memory", boolean, in_memory)
    parse("on_progress", optional(function), on_progress)
    if not isinstance(name, str | PathLike) and not hasattr(name, "read"):
        raise OptionError(f"name must be a model's name, path or URL, or a binary file, not {shown(name)}")
    started = perf_counter()
    if isinstance(name, PathLike) or (isinstance(name, str) and not is_url(name)):
        model = _load_file(kind, name, compute_type, download_root)
    else:
        model = _load_stream(kind, name, compute_type, on_progress)
    if isinstance(name, str | PathLike):
        root = None if download_root is None else os.path.abspath(download_root)
        model._origin = _Origin(_resolved(name), compute_type, root)
    _log.info("loaded %r in %.2f s", model, perf_counter() - started)
    _log.debug("kernels: backend %s, %d threads", simd.backend(), simd.get_num_threads())
    return model


def _load_file(
    kind: type[R], name: str | PathLike[str], compute_type: ComputeType, root: str | PathLike[str] | None
) -> R:
    stored, computed = _COMPUTE_TYPES[compute_type]
    model = kind(find_checkpoint(name, stored, root, exact=compute_type == "float32"), computed)
    _ = model.decoder  # made now, so that damaged weights are found at once
    return model


def _load_stream(
    kind: type[R],
    source: str | BinaryIO,
    compute_type: ComputeType,
    on_progress: Callable[[int, int], object] | None,
) -> R:
    # imported here, as it imports urllib and ssl, which most programs do without
    from .formats.apr.http import ChangedError, open_stream

    computed = _COMPUTE_TYPES[compute_type][1]
    try:
        return kind(open_stream(source, on_progress=on_progress).checkpoint, computed)
    except ChangedError:  # the file changed on the server while it was read: start again, once
        return kind(open_stream(source, on_progress=on_progress).checkpoint, computed)


def _resolved(name: str | PathLike[str]) -> str:
    """Return an absolute path for a path, and names and URLs as they are."""
    is_path = isinstance(name, PathLike) or (name not in available_models() and os.path.exists(name))
    return os.path.abspath(name) if is_path else os.fspath(name)


def _reload(name: str, compute_type: ComputeType, download_root: str | None) -> Recognizer:
    """Load a model that is unpickled."""
    return load_model(name, download_root=download_root, compute_type=compute_type)
