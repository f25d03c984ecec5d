"""OpenAI's Whisper speech recognition on a CPU or in a browser: NumPy and one small compiled extension.

>>> import whisper_apr
>>> model = whisper_apr.load_model("digits")
>>> model.transcribe("tests/data/en.wav").text
' three one four one five'
"""

import logging
from typing import TYPE_CHECKING

from . import tokenizer, utils
from .audio import VadOptions, load_audio, log_mel_spectrogram, pad_or_trim
from .errors import (
    AudioError,
    AudioWarning,
    BackendError,
    FormatError,
    ModelNotFoundError,
    OptionError,
    OutputError,
    WhisperAprError,
)
from .faster_whisper import BatchedInferencePipeline, TranscriptionInfo, WhisperModel, decode_audio
from .hub import available_models
from .inference.align import align
from .inference.decode import DecodingResult, decode
from .inference.journal import Journal
from .inference.language import detect_language
from .inference.live import LiveOptions, LiveText, LiveTranscriber, Utterance
from .inference.options import DecodingOptions, TranscribeOptions
from .inference.results import AddedSpeech, Alignment, DroppedText, Progress, Segment, Transcription, Word
from .inference.transcribe import transcribe
from .inference.transcribe_many import transcribe_many
from .output import LineOptions, format_timestamp
from .recognizer import Recognizer, load_model

__all__ = [
    "AddedSpeech",
    "Alignment",
    "AudioError",
    "AudioWarning",
    "BackendError",
    "BatchedInferencePipeline",
    "DecodingOptions",
    "DecodingResult",
    "DroppedText",
    "FormatError",
    "Journal",
    "LineOptions",
    "LiveOptions",
    "LiveText",
    "LiveTranscriber",
    "ModelNotFoundError",
    "OptionError",
    "OutputError",
    "Progress",
    "Recognizer",
    "Segment",
    "TranscribeOptions",
    "Transcription",
    "TranscriptionInfo",
    "Utterance",
    "VadOptions",
    "WhisperAprError",
    "WhisperModel",
    "Word",
    "align",
    "available_models",
    "decode",
    "decode_audio",
    "detect_language",
    "format_timestamp",
    "load_audio",
    "load_model",
    "log_mel_spectrogram",
    "pad_or_trim",
    "tokenizer",
    "transcribe",
    "transcribe_many",
    "utils",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # quiet unless the program configures logging


if TYPE_CHECKING:
    __version__: str  # and not the function, which would hide misspelled names from type checkers
else:

    def __getattr__(name: str) -> str:
        """Return `__version__`, which is looked up on first use because importlib.metadata is slow to import."""
        if name == "__version__":
            from importlib.metadata import version

            return version("whisper-apr")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
