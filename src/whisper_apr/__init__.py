"""OpenAI's Whisper speech recognition on a CPU or in a browser: NumPy and one small compiled extension.

import whisper_apr

model = whisper_apr.load_model("digits")
print(model.transcribe("recording.wav").text)
"""

from importlib.metadata import version

from . import tokenizer, utils
from .audio import VadOptions, load_audio, log_mel_spectrogram, pad_or_trim
from .faster import BatchedInferencePipeline, TranscriptionInfo, WhisperModel, decode_audio
from .inference.decode import DecodingResult, decode
from .inference.language import detect_language
from .inference.live import LiveText, LiveTranscriber
from .inference.options import DecodingOptions
from .inference.results import Segment, Transcription, Word
from .inference.transcribe import transcribe
from .output import format_timestamp
from .recognizer import Recognizer, available_models, load_model

__version__ = version("whisper-apr")

__all__ = [
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
    "utils",
]
