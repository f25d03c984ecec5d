"""A model with everything that can be done with it: openai-whisper's methods, on a network that was opened by name or path."""

from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from typing import Any, BinaryIO

import numpy as np

from .audio import AudioLike
from .errors import AudioError, OptionError
from .formats.urls import is_url
from .hub import find_checkpoint
from .inference.decode import DecodingResult, decode
from .inference.language import detect_language
from .inference.options import DecodingOptions
from .inference.results import Segment, Transcription
from .inference.transcribe import transcribe as _transcribe
from .inference.transcribe_many import transcribe_many
from .model import Whisper
from .model.layers import FloatArray
from .option_values import boolean, choice, function, optional, parse, path, shown
from .output import format_timestamp, prefix_speaker


class Recognizer(Whisper):
    """Whisper's network, and what can be done with it."""

    device = "cpu"  # where openai-whisper's scripts move their arrays

    def detect_language(self, mel: FloatArray) -> tuple[np.ndarray | int, list[dict[str, float]] | dict[str, float]]:
        """See `whisper_apr.detect_language`."""
        return detect_language(self, mel)

    def decode(
        self, mel: FloatArray, options: DecodingOptions | None = None, **changes: object
    ) -> DecodingResult | list[DecodingResult]:
        """See `whisper_apr.decode`."""
        return decode(self, mel, options, **changes)

    def transcribe(self, audio: AudioLike, *, verbose: bool | None = None, **options: Any) -> Transcription:
        """See `whisper_apr.transcribe`."""
        return transcribe(self, audio, verbose=verbose, **options)

    def transcribe_many(self, audios: Iterable[AudioLike], **options: Any) -> Iterator[Transcription | AudioError]:
        """See `whisper_apr.transcribe_many`."""
        return transcribe_many(self, audios, **options)


def transcribe(model: Whisper, audio: AudioLike, *, verbose: bool | None = None, **options: Any) -> Transcription:
    """Transcribe a recording of any length, which is read in blocks.

    `audio` is whatever `load_audio` takes: a path, bytes, a binary file, samples, or an iterable of blocks of samples that follow each
    other. `sampling_rate`, `channel`, `track` and `strict` are that function's too. With `channel="each"`, every channel is transcribed
    as a recording of its own; their segments come in the order in which they begin, and the `speaker` of a segment and of its words is the
    number of its channel, as text ("0", "1"). A segment is held back until the other channels have come to its beginning.

    A segment's times are openai-whisper's, which may lie behind the end of the recording or of a clip. With
    `clamp_times=True`, and always with `word_timestamps`, `vad_filter` or `batch_size`, they are held within the sound,
    segments and words are in order without overlap, and text that begins behind the sound's end is dropped;
    `WhisperModel`, `LiveTranscriber` and the command do the same.

    A text may stop before its window's sound does: where `without_timestamps=True`, or after `sample_len` tokens. The
    rest of the window is then not transcribed, as in openai-whisper, unless `word_timestamps=True`: then the next window
    begins behind the last word.

    `clip_timestamps` must be in order, unless `batch_size` is given: then clips may overlap and be in any order. Each is
    transcribed as if it were the only one, and their segments come in the order given. The sound is still read once from
    its beginning to its end, so the segments of a clip wait for those before it in that order.

    `options` are those of TranscribeOptions and DecodingOptions. `on_segment` is called with each segment as it settles,
    `on_progress` after each window, with a time that never goes back; `check_cancelled` before each token: what it raises ends
    the transcription, and leaves the model as it was. With `verbose=True` segments are printed as they settle, unless
    `on_segment` is given.

    Raises AudioError for a recording that cannot be read, OptionError for an option that is unknown or not allowed.
    """
    if parse("verbose", optional(boolean), verbose):
        options = {"on_segment": _print} | options
    return _transcribe(model, audio, **options)


def _print(segment: Segment) -> None:
    text = prefix_speaker(segment.speaker, segment.text)
    print(f"[{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}] {text}", flush=True)


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
