"""The log-mel spectrogram that Whisper hears."""

from functools import lru_cache
from os import PathLike

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import AudioError
from .load import N_SAMPLES, SAMPLE_RATE, load_audio
from .samples import as_array, scaled

FloatArray = simd.FloatArray

N_FFT = 400
HOP_LENGTH = 160
BLOCK = 512  # frames whose power is computed at a time: it stays in the cache, and in memory that is there already
N_FRAMES = N_SAMPLES // HOP_LENGTH  # 3000 frames of 10 ms in a window of 30 s


def _hertz_of_mel(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Slaney's scale (Auditory Toolbox, 1998): linear, 3 mel for 200 Hz, up to 1 kHz; above, 27 mel for a factor of 6.4."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


@lru_cache(maxsize=2)
def mel_filters(n_mels: int) -> FloatArray:
    """Triangles of equal area, evenly spaced on Slaney's mel scale from 0 to 8 kHz: `(n_mels, 201)`, read-only."""
    highest = 15 + 27 * np.log(SAMPLE_RATE / 2 / 1000) / np.log(6.4)
    corners = _hertz_of_mel(np.linspace(0, highest, n_mels + 2))
    frequencies = np.arange(N_FFT // 2 + 1) * SAMPLE_RATE / N_FFT
    widths = np.diff(corners)[:, None]
    distance = corners[:, None] - frequencies
    triangles = np.maximum(0, np.minimum(-distance[:-2] / widths[:-1], distance[2:] / widths[1:]))
    filters = (triangles * (2 / (corners[2:] - corners[:-2]))[:, None]).astype(np.float32)
    filters.flags.writeable = False
    return filters


@lru_cache(maxsize=1)
def _window() -> FloatArray:
    """The periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)


class MelArray(np.ndarray):
    """An array that may be told to go to a device, as openai-whisper's scripts tell their tensors: it stays what it is."""

    def to(self, device: object = None) -> "MelArray":
        return self


def log_mel_spectrogram(
    audio: str | PathLike[str] | npt.ArrayLike, n_mels: int = 80, padding: int = 0, device: object = None
) -> MelArray:
    """16 kHz samples `(n_samples,)`, or a path, -> `(n_mels, (n_samples + padding) // 160)`.

    Samples may have any form that `load_audio` takes; integers are divided by their type's largest magnitude.
    `padding` zeros follow the samples. Frames are centred: at both ends the sound is mirrored (where it is shorter than half a frame,
    as often as needed). log10 of the power, no more than 8 below its maximum, plus 4, over 4: openai-whisper's, to within 1e-4.
    `device` is taken for its scripts' sake.
    """
    is_path = isinstance(audio, str | PathLike)
    samples = load_audio(audio) if is_path else scaled(as_array(audio, "the samples"))
    if samples.ndim != 1:
        raise AudioError(f"a spectrogram is made of one channel, not of an array of shape {samples.shape}")
    n_frame = (len(samples) + padding) // HOP_LENGTH
    if n_frame == 0:
        return np.zeros((n_mels, 0), np.float32).view(MelArray)
    if padding:
        samples = np.pad(samples, (0, padding))
    padded = np.pad(samples, N_FFT // 2, mode="reflect")
    # openai-whisper drops the last frame; here it is not made
    mel = _log_bands(padded[: (n_frame - 1) * HOP_LENGTH + N_FFT], n_mels)
    return normalize_log_mel(mel, float(mel.max())).view(MelArray)


def _log_bands(samples: FloatArray, n_mels: int) -> FloatArray:
    """log10 of the bands' power, of as many whole frames as there are in the samples."""
    n_frame = (len(samples) - N_FFT) // HOP_LENGTH + 1
    mel = np.empty((n_mels, n_frame), np.float32)
    for begin in range(0, n_frame, BLOCK):
        end = min(begin + BLOCK, n_frame)
        power = simd.power_spectrum(samples[begin * HOP_LENGTH : (end - 1) * HOP_LENGTH + N_FFT], _window(), HOP_LENGTH)
        mel[:, begin:end] = simd.mel_project(power, mel_filters(n_mels))
    return np.log10(np.maximum(mel, 1e-10, out=mel), out=mel)


def normalize_log_mel(log_bands: FloatArray, maximum: float) -> FloatArray:
    """What the model hears of `log_bands`, in place: no more than 8 below the recording's maximum, plus 4, over 4."""
    np.maximum(log_bands, np.float32(maximum) - 8, out=log_bands)
    log_bands += 4
    log_bands /= 4
    return log_bands


class MelStream:
    """The spectrogram of a recording that comes in blocks of any size: `normalize_log_mel` of all that `push` and `finish` give, joined,
    is the `log_mel_spectrogram` of the whole, which must have more than 200 samples, padding included."""

    def __init__(self, n_mels: int = 80) -> None:
        self.n_mels = n_mels
        self._kept = np.zeros(
            0, np.float32
        )  # samples that later frames need, the mirrored ones before the first included
        self._begun = False
        self._n_in = 0
        self._n_out = 0

    def push(self, samples: FloatArray) -> FloatArray:
        """16 kHz samples -> `(n_mels, n)` log10 of the bands' power, of the frames that are certain by now."""
        self._n_in += len(samples)
        self._kept = np.concatenate([self._kept, samples])
        if not self._begun:
            if len(self._kept) <= N_FFT // 2:
                return np.zeros((self.n_mels, 0), np.float32)
            self._kept = np.concatenate([self._kept[N_FFT // 2 : 0 : -1], self._kept])
            self._begun = True
        return self._frames(max(0, (len(self._kept) - N_FFT) // HOP_LENGTH + 1))

    def finish(self, padding: int = 0) -> FloatArray:
        """The frames that are left, `padding` zeros after the last sample included."""
        first = self.push(np.zeros(padding, np.float32))
        self._kept = np.pad(self._kept, (0, N_FFT // 2), mode="reflect")
        return np.concatenate([first, self._frames(self._n_in // HOP_LENGTH - self._n_out)], axis=1)

    def _frames(self, n: int) -> FloatArray:
        if n == 0:
            return np.zeros((self.n_mels, 0), np.float32)
        frames = _log_bands(self._kept[: (n - 1) * HOP_LENGTH + N_FFT], self.n_mels)
        self._kept = self._kept[n * HOP_LENGTH :]
        self._n_out += n
        return frames
