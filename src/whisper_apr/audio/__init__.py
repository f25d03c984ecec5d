"""Samples in, features out. Names and constants are openai-whisper's."""

from .load import (
    CHUNK_LENGTH,
    N_SAMPLES,
    SAMPLE_RATE,
    AudioReader,
    ReadingOptions,
    Source,
    check_rate,
    load_audio,
    pad_or_trim,
    stream_audio,
)
from .mel import HOP_LENGTH, N_FFT, N_FRAMES, MelStream, bounded, log_mel_spectrogram, mel_filters
from .resample import Resampler, resample
from .vad import SpeechDetector, SpeechFilter, SpeechMap, VadOptions, collect, speech_timestamps, vad_kind

__all__ = [
    "CHUNK_LENGTH",
    "HOP_LENGTH",
    "N_FFT",
    "N_FRAMES",
    "N_SAMPLES",
    "SAMPLE_RATE",
    "AudioReader",
    "MelStream",
    "ReadingOptions",
    "Resampler",
    "Source",
    "SpeechDetector",
    "SpeechFilter",
    "SpeechMap",
    "VadOptions",
    "bounded",
    "check_rate",
    "collect",
    "load_audio",
    "log_mel_spectrogram",
    "mel_filters",
    "pad_or_trim",
    "resample",
    "speech_timestamps",
    "stream_audio",
    "vad_kind",
]
