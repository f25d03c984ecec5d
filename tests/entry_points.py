"""All functions that take a recording, with one signature, for tests that apply to each of them."""

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np

import whisper_apr
from encoded import digits, faster
from whisper_apr import (
    BatchedInferencePipeline,
    LiveTranscriber,
    WhisperModel,
    decode_audio,
    load_audio,
)
from whisper_apr.audio import stream_audio
from whisper_apr.inference.live import LiveText

QUICK = {"temperature": 0.0, "language": "en", "sample_len": 4}
QUICK_FASTER = {"temperature": 0.0, "language": "en", "max_new_tokens": 4, "beam_size": 1}


def _many(source: Any, **reading: Any) -> Any:
    (result,) = digits().transcribe_many([source], **QUICK, **reading)
    return result.text


def _live(source: Any, **reading: Any) -> str:
    """Transcribe samples, the only form of recording that `push` takes."""
    stream = LiveTranscriber(digits(), **QUICK, **reading)
    return stream.push(source).settled_text + stream.finish().settled_text


def _text(found: tuple[Any, Any]) -> str:
    return "".join(segment.text for segment in found[0])


LOADING: dict[str, Callable[..., Any]] = {
    "load_audio": load_audio,
    "stream_audio": lambda source, **reading: np.concatenate(list(stream_audio(source, **reading))),
    "decode_audio": decode_audio,
}
TRANSCRIBING: dict[str, Callable[..., Any]] = {
    "transcribe": lambda source, **reading: digits().transcribe(source, **QUICK, **reading).text,
    "transcribe_many": _many,
    "WhisperModel": lambda source, **reading: _text(faster().transcribe(source, **QUICK_FASTER, **reading)),
    "BatchedInferencePipeline": lambda source, **reading: _text(
        BatchedInferencePipeline(faster()).transcribe(source, vad_filter=False, **QUICK_FASTER, **reading)
    ),
    "detect_language": lambda source, **reading: faster().detect_language(source, **reading)[2],
}
LIVE: dict[str, Callable[..., Any]] = {"LiveTranscriber": _live}

FILES = LOADING | TRANSCRIBING  # functions that take files, samples and blocks
ALL = FILES | LIVE

# functions whose signatures list the options of a transcription
WITH_OPTIONS: dict[str, Callable[..., Any]] = {
    "transcribe": whisper_apr.transcribe,
    "transcribe_many": whisper_apr.transcribe_many,
    "decode": whisper_apr.decode,
    "WhisperModel": WhisperModel.transcribe,
    "Batched": BatchedInferencePipeline.transcribe,
    "live": LiveTranscriber.__init__,
}


class _Heard(Exception):
    """Raised once the samples are known, to end the call."""


def sound(entry_point: str, source: Any, **reading: Any) -> np.ndarray:
    """Return the samples at 16 kHz that a function would transcribe, or that it returns. Nothing is transcribed."""
    heard: list[np.ndarray] = []

    def spectrogram(blocks: Callable[[], Iterator[np.ndarray]], *_: Any) -> None:
        heard.extend(blocks())
        raise _Heard

    def take(_: LiveTranscriber, samples: np.ndarray) -> LiveText:
        heard.append(samples)
        return LiveText((), ())

    with (
        mock.patch("whisper_apr.inference.transcribe.Spectrogram", spectrogram),
        mock.patch.object(LiveTranscriber, "_take", take),
    ):
        try:
            found = ALL[entry_point](source, **reading)
        except _Heard:
            found = None
    return found if entry_point in LOADING else np.concatenate(heard)
