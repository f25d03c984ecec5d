"""The log-mel spectrogram, Whisper's input features, as openai-whisper's `audio.py` computes it."""

from functools import lru_cache
from os import PathLike

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import AudioError, OptionError
from ..option_values import parse, shown, whole
from .load import N_SAMPLES, SAMPLE_RATE, load_audio
from .samples import as_array, as_mono, scale_to_float32

FloatArray = simd.FloatArray

# Constants of openai-whisper's audio.py.
N_FFT = 400  # samples in a frame, 25 ms
HOP_LENGTH = 160  # samples between frames, 10 ms
FRAMES_PER_SECOND = SAMPLE_RATE // HOP_LENGTH
N_FRAMES = N_SAMPLES // HOP_LENGTH  # 3000 frames in a window of 30 s
MIN_POWER = 1e-10  # of a mel band, before the logarithm
DYNAMIC_RANGE = 8  # log10 units below the recording's maximum, 80 dB

N_MELS = whole(1, 1024)  # far more bands than any model's
BLOCK_FRAMES = 512  # frames transformed at once, few enough that their power spectra stay in the L2 cache


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Convert from the mel scale of Slaney's Auditory Toolbox (1998): linear to 1 kHz (15 mel), then logarithmic."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def mel_filters(n_mels: int) -> FloatArray:
    """Return the mel filterbank, equivalent to `librosa.filters.mel(sr=16000, n_fft=400, n_mels=n_mels)`.

    The filters are triangles of equal area, evenly spaced on Slaney's mel scale from 0 to 8 kHz.

    Args:
        n_mels: Number of bands, 80 or 128 in Whisper's models.

    Returns:
        A read-only float32 array `(n_mels, 201)`, one column per FFT bin.

    Raises:
        OptionError: `n_mels` is not a whole number from 1 to 1024.
    """
    return _mel_filters(parse("n_mels", N_MELS, n_mels))


@lru_cache(maxsize=2)
def _mel_filters(n_mels: int) -> FloatArray:
    highest = 15 + 27 * np.log(SAMPLE_RATE / 2 / 1000) / np.log(6.4)
    corners = _mel_to_hz(np.linspace(0, highest, n_mels + 2))
    frequencies = np.arange(N_FFT // 2 + 1) * SAMPLE_RATE / N_FFT
    widths = np.diff(corners)[:, None]
    distance = corners[:, None] - frequencies
    triangles = np.maximum(0, np.minimum(-distance[:-2] / widths[:-1], distance[2:] / widths[1:]))
    filters = (triangles * (2 / (corners[2:] - corners[:-2]))[:, None]).astype(np.float32)
    filters.flags.writeable = False
    return filters


@lru_cache(maxsize=2)
def hann_window(n: int) -> FloatArray:
    """Return the periodic Hann window of `n` samples, `torch.hann_window(n)`, as a read-only array."""
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)
    window.flags.writeable = False
    return window


class MelArray(np.ndarray[tuple[int, int], np.dtype[np.float32]]):
    """The array that `log_mel_spectrogram` returns, with torch's `.to()`, which scripts for openai-whisper call."""

    def to(self, device: object = None) -> "MelArray":
        """Return the array itself; there are no devices."""
        return self


def log_mel_spectrogram(
    audio: str | PathLike[str] | npt.ArrayLike, n_mels: int = 80, padding: int = 0, device: object = None
) -> MelArray:
    """Compute the log-mel spectrogram of a whole recording.

    Values equal openai-whisper's to within 1e-4: log10 of the power in each mel band, limited to 8 below the maximum,
    plus 4, divided by 4. The frames are 25 ms (400 samples, Hann window) at a hop of 10 ms, and centered: the audio is
    reflected at both ends, repeatedly if it is shorter than half a frame.

    Args:
        audio: A path, or samples `(n,)` at 16 kHz in any form that `load_audio` accepts; integers are divided by the
            largest magnitude of their dtype.
        n_mels: Number of mel bands; a model's `dims.n_mels`.
        padding: Zeros to append, in samples.
        device: ignored; accepted for compatibility with openai-whisper.

    Returns:
        A float32 array `(n_mels, (n + padding) // 160)`.

    Raises:
        AudioError: The file cannot be read, or the samples are not numbers `(n,)`.
        OptionError: `n_mels` or `padding` is not allowed.
    """
    n_mels, padding = parse("n_mels", N_MELS, n_mels), parse("padding", whole(0), padding)
    is_path = isinstance(audio, str | PathLike)
    samples = load_audio(audio) if is_path else scale_to_float32(as_array(audio, "the samples"))
    if samples.ndim != 1:
        raise AudioError(f"a spectrogram needs samples (n,) of one channel, not an array of shape {samples.shape}")
    n_frame = (len(samples) + padding) // HOP_LENGTH
    if n_frame == 0:
        return np.zeros((n_mels, 0), np.float32).view(MelArray)
    if padding:
        samples = np.pad(samples, (0, padding))
    padded = np.pad(samples, N_FFT // 2, mode="reflect")
    # openai-whisper computes one frame more and drops it
    mel = _log_mel_power(padded[: (n_frame - 1) * HOP_LENGTH + N_FFT], n_mels)
    return normalize_log_mel(mel, float(mel.max())).view(MelArray)


def _log_mel_power(samples: FloatArray, n_mels: int) -> FloatArray:
    """Return log10 of the mel bands' power, `(n_mels, n_frame)`, for all complete frames of the samples."""
    n_frame = (len(samples) - N_FFT) // HOP_LENGTH + 1
    mel = np.empty((n_mels, n_frame), np.float32)
    window = hann_window(N_FFT)
    for begin in range(0, n_frame, BLOCK_FRAMES):
        end = min(begin + BLOCK_FRAMES, n_frame)
        power = simd.power_spectrum(samples[begin * HOP_LENGTH : (end - 1) * HOP_LENGTH + N_FFT], window, HOP_LENGTH)
        mel[:, begin:end] = simd.mel_project(power, _mel_filters(n_mels))
    return np.log10(np.maximum(mel, MIN_POWER, out=mel), out=mel)


def normalize_log_mel(log_mel: FloatArray, maximum: float) -> FloatArray:
    """Limit the dynamic range to 80 dB and scale to about -1 to 1, in place, as openai-whisper does.

    Args:
        log_mel: log10 of the mel bands' power, `(n_mels, n_frame)`.
        maximum: The largest value in the whole recording.

    Returns:
        `log_mel`.

    Raises:
        OptionError: `log_mel` is not a float32 array.
    """
    if not isinstance(log_mel, np.ndarray) or log_mel.dtype != np.float32:
        raise OptionError(f"log_mel must be a float32 array, not {shown(log_mel)}")
    np.maximum(log_mel, np.float32(maximum) - DYNAMIC_RANGE, out=log_mel)
    log_mel += 4
    log_mel /= 4
    return log_mel


class MelStream:
    """The mel spectrogram of a recording that arrives in blocks of any size.

    `normalize_log_mel` of everything that `push` and `finish` return, concatenated along time, is the
    `log_mel_spectrogram` of the whole recording. The recording must have more than 200 samples, padding included.
    """

    def __init__(self, n_mels: int = 80) -> None:
        """Start a recording, for `n_mels` mel bands. Raises OptionError for an impossible number."""
        self.n_mels: int = parse("n_mels", N_MELS, n_mels)
        # samples that later frames need, preceded by the reflection at the beginning
        self._kept = np.zeros(0, np.float32)
        self._begun = False
        self._n_in = 0
        self._n_out = 0

    def push(self, samples: FloatArray) -> FloatArray:
        """Append samples and return the frames that are complete.

        Args:
            samples: float32 `(n,)` at 16 kHz.

        Returns:
            log10 of the mel bands' power, `(n_mels, n_frame)`.

        Raises:
            AudioError: `samples` is not an array of numbers `(n,)`.
        """
        samples = as_mono(samples)
        self._n_in += len(samples)
        self._kept = np.concatenate([self._kept, samples])
        if not self._begun:
            if len(self._kept) <= N_FFT // 2:
                return np.zeros((self.n_mels, 0), np.float32)
            self._kept = np.concatenate([self._kept[N_FFT // 2 : 0 : -1], self._kept])
            self._begun = True
        return self._frames(max(0, (len(self._kept) - N_FFT) // HOP_LENGTH + 1))

    def finish(self, padding: int = 0) -> FloatArray:
        """Append `padding` zeros and return the remaining frames, `(n_mels, n_frame)`."""
        first = self.push(np.zeros(parse("padding", whole(0), padding), np.float32))
        self._kept = np.pad(self._kept, (0, N_FFT // 2), mode="reflect")
        return np.concatenate([first, self._frames(self._n_in // HOP_LENGTH - self._n_out)], axis=1)

    def _frames(self, n: int) -> FloatArray:
        if n == 0:
            return np.zeros((self.n_mels, 0), np.float32)
        frames = _log_mel_power(self._kept[: (n - 1) * HOP_LENGTH + N_FFT], self.n_mels)
        self._kept = self._kept[n * HOP_LENGTH :]
        self._n_out += n
        return frames
