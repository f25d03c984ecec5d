"""OpenAI's Whisper speech recognition on a CPU or in a browser: NumPy and one small compiled extension.

import whisper_apr

model = whisper_apr.load_model("digits")
print(model.transcribe("recording.wav").text)
"""

from importlib.metadata import version

from .audio import load_audio, log_mel_spectrogram, pad_or_trim
from .inference.decode import DecodingResult, decode
from .inference.language import detect_language
from .inference.options import DecodingOptions
from .inference.results import Segment, Transcription, Word
from .inference.transcribe import transcribe
from .recognizer import Recognizer, available_models, load_model

__version__ = version("whisper-apr")

__all__ = [
    "DecodingOptions",
    "DecodingResult",
    "Recognizer",
    "Segment",
    "Transcription",
    "Word",
    "available_models",
    "decode",
    "detect_language",
    "load_audio",
    "load_model",
    "log_mel_spectrogram",
    "pad_or_trim",
    "transcribe",
]
