"""openai-whisper's `whisper.audio`. What is a tensor there is an array here."""

from os import PathLike
from typing import Any

import numpy as np

from ... import audio
from ...audio import CHUNK_LENGTH, FRAMES_PER_SECOND, HOP_LENGTH, N_FFT, N_FRAMES, N_SAMPLES, SAMPLE_RATE
from ...errors import AudioError
from ._arrays import Array, as_array, check_device, is_array_like
from .utils import exact_div

__all__ = [
    "CHUNK_LENGTH",
    "FRAMES_PER_SECOND",
    "HOP_LENGTH",
    "N_FFT",
    "N_FRAMES",
    "N_SAMPLES",
    "N_SAMPLES_PER_TOKEN",
    "SAMPLE_RATE",
    "TOKENS_PER_SECOND",
    "exact_div",
    "load_audio",
    "log_mel_spectrogram",
    "mel_filters",
    "pad_or_trim",
]

N_SAMPLES_PER_TOKEN = 2 * HOP_LENGTH  # the encoder's second convolution has stride 2
TOKENS_PER_SECOND = exact_div(SAMPLE_RATE, N_SAMPLES_PER_TOKEN)


class LoadError(AudioError, RuntimeError):
    """A recording cannot be read; a RuntimeError, as openai-whisper raises."""


def load_audio(file: str | PathLike[str], sr: int = SAMPLE_RATE) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Load a recording as float32 samples `(n,)`.

    Args:
        file: The path.
        sr: Rate of the result in Hz.

    Raises:
        RuntimeError: The recording cannot be read; it is an AudioError too.
    """
    reader = audio.AudioReader(file, audio.ReadingOptions())
    try:
        return np.concatenate(list(reader.blocks(rate=audio.check_rate(sr))))
    except AudioError as error:
        raise LoadError(f"Failed to load audio: {error}") from error


def pad_or_trim(array: Any, length: int = N_SAMPLES, *, axis: int = -1) -> Array:
    """Cut an array or tensor to `length` along an axis, or pad it with zeros at the end."""
    return audio.pad_or_trim(as_array(array), length, axis=axis).view(Array)


def mel_filters(device: object, n_mels: int) -> Array:
    """Return the mel filterbank `(n_mels, 201)`, for 80 or 128 bands; `device` is the CPU."""
    check_device(device)
    if n_mels not in (80, 128):
        raise AssertionError(f"n_mels must be 80 or 128, not {n_mels}")
    return audio.mel_filters(n_mels).copy().view(Array)


def log_mel_spectrogram(audio: Any, n_mels: int = 80, padding: int = 0, device: object = None) -> Array:
    """Return the log-mel spectrogram of a path, of samples `(n,)`, or of a batch of them `(batch, n)`.

    Args:
        audio: The recording. Samples are an array or a tensor, at 16 kHz.
        n_mels: Mel bands.
        padding: Zeros to append to the samples.
        device: None or the CPU.

    Returns:
        float32 `(n_mels, n // 160)`, or `(batch, n_mels, n // 160)`, which is normalized by the maximum of the batch.
    """
    check_device(device)
    samples = as_array(audio) if is_array_like(audio) else load_audio(audio)
    if samples.ndim != 2:
        return _log_mel_spectrogram(samples, n_mels, padding).view(Array)
    rows = [MelStream(n_mels) for _ in samples]
    mel = np.stack(
        [
            np.concatenate([stream.push(np.asarray(row, np.float32)), stream.finish(padding)], axis=1)
            for stream, row in zip(rows, samples, strict=True)
        ]
    )
    return normalize_log_mel(mel, float(mel.max())).view(Array)


_log_mel_spectrogram, MelStream = audio.log_mel_spectrogram, audio.MelStream  # the parameter hides the module
normalize_log_mel = audio.normalize_log_mel
