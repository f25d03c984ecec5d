"""faster_whisper.feature_extractor: log-mel spectrograms."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ...audio import HOP_LENGTH, N_FFT, SAMPLE_RATE, log_mel_spectrogram, mel_filters
from ...audio.samples import detached
from ...errors import OptionError
from ...simd import FloatArray


class FeatureExtractor:
    """Computes log-mel spectrograms of samples at 16 kHz, of 80 or 128 bands.

    Attributes:
        n_samples: Samples of a window.
        nb_max_frames: Frames of a window.
        time_per_frame: Seconds of a frame.
        mel_filters: `(feature_size, n_fft / 2 + 1)`.
    """

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = 16000,
        hop_length: int = 160,
        chunk_length: int = 30,
        n_fft: int = 400,
    ) -> None:
        """Make an extractor.

        Args:
            feature_size: Number of mel bands.
            sampling_rate: 16000, as all Whisper models need.
            hop_length: Likewise 160 samples.
            chunk_length: Seconds of a window.
            n_fft: Likewise 400 samples.

        Raises:
            OptionError: An argument has a value that no Whisper model needs.
        """
        needed = {"sampling_rate": SAMPLE_RATE, "hop_length": HOP_LENGTH, "n_fft": N_FFT}
        given = {"sampling_rate": sampling_rate, "hop_length": hop_length, "n_fft": n_fft}
        for name, value in needed.items():
            if given[name] != value:
                raise OptionError(f"{name} must be {value}, as Whisper models need, not {given[name]!r}")
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.sampling_rate = sampling_rate
        self.chunk_length = chunk_length
        self.time_per_frame = hop_length / sampling_rate
        self._set_window(chunk_length)
        self.mel_filters = mel_filters(feature_size)

    def _set_window(self, chunk_length: int) -> None:
        self.n_samples = chunk_length * self.sampling_rate
        self.nb_max_frames = self.n_samples // self.hop_length

    @staticmethod
    def get_mel_filters(sr: int, n_fft: int, n_mels: int = 128) -> FloatArray:
        """Return the mel filters `(n_mels, n_fft / 2 + 1)`. Raises OptionError for values no Whisper model needs."""
        return FeatureExtractor(n_mels, sampling_rate=sr, n_fft=n_fft).mel_filters

    def __getattr__(self, name: str) -> Any:
        if name == "stft":
            raise AttributeError(
                "FeatureExtractor.stft needs complex spectra, which whisper_apr does without; "
                "see the guide on switching"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __call__(self, waveform: npt.ArrayLike, padding: int = 160, chunk_length: int | None = None) -> FloatArray:
        """Return the log-mel spectrogram `(feature_size, n_frame)` of samples `(n,)` at 16 kHz.

        Args:
            waveform: The samples.
            padding: Zeros appended to them.
            chunk_length: Seconds of a window from now on, for `n_samples` and `nb_max_frames`. None keeps them.
        """
        if chunk_length is not None:
            self._set_window(chunk_length)
        samples = np.asarray(detached(waveform), np.float32)
        return log_mel_spectrogram(samples, len(self.mel_filters), padding=padding)
