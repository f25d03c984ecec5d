"""OpenAI's Whisper speech recognition on a CPU or in a browser: NumPy and one small compiled extension.

>>> import whisper_apr
>>> model = whisper_apr.load_model("digits")
>>> model.transcribe("tests/data/en.wav").text
' three one four one five'
"""

from . import tokenizer, utils
from .audio import VadOptions, load_audio, log_mel_spectrogram, pad_or_trim
from .errors import AudioWarning
from .faster_whisper import BatchedInferencePipeline, TranscriptionInfo, WhisperModel, decode_audio
from .hub import available_models
from .inference.decode import DecodingResult, decode
from .inference.language import detect_language
from .inference.live import LiveText, LiveTranscriber
from .inference.options import DecodingOptions
from .inference.results import Segment, Transcription, Word
from .inference.transcribe_many import transcribe_many
from .output import format_timestamp
from .recognizer import Recognizer, load_model, transcribe

__all__ = [
    "AudioWarning",
    "BatchedInferencePipeline",
    "DecodingOptions",
    "DecodingResult",
    "LiveText",
    "LiveTranscriber",
    "Recognizer",
    "Segment",
    "Transcription",
    "TranscriptionInfo",
    "VadOptions",
    "WhisperModel",
    "Word",
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


def __getattr__(name: str) -> str:
    """`__version__` is looked up when it is asked for: the module that knows it takes longer to import than many of ours."""
    if name == "__version__":
        from importlib.metadata import version

        return version("whisper-apr")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
