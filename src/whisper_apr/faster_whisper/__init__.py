"""faster-whisper's classes, with its names and defaults.

from whisper_apr import WhisperModel

segments, info = WhisperModel("digits").transcribe("recording.wav")
for segment in segments:
    print(segment.start, segment.end, segment.text)

Segments are decoded as they are iterated over. A batch of windows honors the temperatures and thresholds, and a prefix,
which faster-whisper ignores there. `whisper_apr.compat.faster_whisper` has the names of all its modules.
"""

from .audio import decode_audio
from .batched import BatchedInferencePipeline
from .results import Segment, TranscriptionInfo, TranscriptionOptions, VadOptions, Word
from .transcribe import WhisperModel

__all__ = [
    "BatchedInferencePipeline",
    "Segment",
    "TranscriptionInfo",
    "TranscriptionOptions",
    "VadOptions",
    "WhisperModel",
    "Word",
    "decode_audio",
]
