"""The names of faster-whisper 1.2.1, module by module."""

from .audio import decode_audio
from .transcribe import BatchedInferencePipeline, WhisperModel
from .utils import available_models, download_model, format_timestamp
from .version import __version__

__all__ = [
    "BatchedInferencePipeline",
    "WhisperModel",
    "__version__",
    "available_models",
    "decode_audio",
    "download_model",
    "format_timestamp",
]
