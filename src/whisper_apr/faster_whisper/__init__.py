"""faster-whisper's classes, with its names and defaults.

from whisper_apr import WhisperModel

segments, info = WhisperModel("digits").transcribe("recording.wav")
for segment in segments:
    print(segment.start, segment.end, segment.text)

Segments are decoded as they are iterated over. Differences to faster-whisper: a window is always 30 s (`chunk_length`),
the prompt is always reset after a temperature above 0.5 (`prompt_reset_on_temperature`), and a `length_penalty` other
than 1 is the exponent of Wu et al. 2016.
"""

from .audio import decode_audio
from .batched import BatchedInferencePipeline
from .transcribe import TranscriptionInfo, WhisperModel

__all__ = ["BatchedInferencePipeline", "TranscriptionInfo", "WhisperModel", "decode_audio"]
