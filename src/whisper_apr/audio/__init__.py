"""Load audio, resample it, find the speech in it and compute its log-mel spectrogram.

Names and constants follow openai-whisper's `audio.py` where it has them.
"""

from .load import (
    CHUNK_LENGTH,
    N_SAMPLES,
    SAMPLE_RATE,
    AudioLike,
    AudioReader,
    ReadingOptions,
    check_rate,
    load_audio,
    pad_or_trim,
    stream_audio,
)
from .mel import (
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    N_FFT,
    N_FRAMES,
    MelStream,
    log_mel_spectrogram,
    mel_filters,
    normalize_log_mel,
)
from .resample import Resampler, resample
from .vad import SpeechDetector, SpeechFilter, SpeechMap, VadOptions, join_spans, speech_timestamps, vad_kind

__all__ = [
    "CHUNK_LENGTH",
    "FRAMES_PER_SECOND",
    "HOP_LENGTH",
    "N_FFT",
    "N_FRAMES",
    "N_SAMPLES",
    "SAMPLE_RATE",
    "AudioLike",
    "AudioReader",
    "MelStream",
    "ReadingOptions",
    "Resampler",
    "SpeechDetector",
    "SpeechFilter",
    "SpeechMap",
    "VadOptions",
    "check_rate",
    "join_spans",
    "load_audio",
    "log_mel_spectrogram",
    "mel_filters",
    "normalize_log_mel",
    "pad_or_trim",
    "resample",
    "speech_timestamps",
    "stream_audio",
    "vad_kind",
]
