"""Log-mel filterbank energies as Kaldi computes them, the input of many speaker networks."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .. import simd
from .load import SAMPLE_RATE

FloatArray = simd.FloatArray

# Kaldi's defaults (feat/feature-window.h, feat/mel-computations.h).
FRAME = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
N_FFT = 512  # FRAME, padded with zeros to a power of two
PREEMPHASIS = 0.97
LOWEST_HZ = 20
MIN_ENERGY = float(np.finfo(np.float32).eps)  # of a band, before the logarithm
BLOCK_FRAMES = 512  # frames transformed at once, few enough that they stay in the L2 cache


@lru_cache(maxsize=2)
def _filters(n_bands: int) -> FloatArray:
    """Return triangles `(n_bands, 257)`, evenly spaced and straight on the mel scale of O'Shaughnessy (1987)."""

    def mel(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return 1127 * np.log1p(np.asarray(hertz, np.float64) / 700)

    corners = np.linspace(mel(LOWEST_HZ), mel(SAMPLE_RATE / 2), n_bands + 2)[:, None]
    bins = mel(np.arange(N_FFT // 2 + 1) * SAMPLE_RATE / N_FFT)
    width = corners[1] - corners[0]
    triangles = np.maximum(0, np.minimum(bins - corners[:-2], corners[2:] - bins) / width)
    triangles[:, -1] = 0  # Kaldi leaves out the highest frequency
    filters: FloatArray = triangles.astype(np.float32)
    filters.flags.writeable = False
    return filters


@lru_cache(maxsize=1)
def _window() -> FloatArray:
    """Return Povey's window, a Hann window to the power of 0.85."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / (FRAME - 1))
    window: FloatArray = (hann**0.85).astype(np.float32)
    window.flags.writeable = False
    return window


def fbank(samples: npt.ArrayLike, n_bands: int = 80) -> FloatArray:
    """Compute Kaldi's log-mel filterbank energies.

    Values equal those of kaldi-native-fbank without dither to within 1e-3 where a band is not silent:
    frames of 25 ms at a hop of 10 ms without padding, the mean removed, preemphasis, Povey's window, the power in bands
    from 20 Hz to 8 kHz, and the natural logarithm.

    Args:
        samples: `(n,)` at 16 kHz.
        n_bands: Number of bands.

    Returns:
        `(1 + (n - 400) // 160, n_bands)`; no frames for fewer than 400 samples.
    """
    x = np.ascontiguousarray(samples, np.float32)
    n_frame = max(0, 1 + (len(x) - FRAME) // HOP)
    out = np.empty((n_frame, n_bands), np.float32)
    filters, window, flat = _filters(n_bands), _window(), np.ones(N_FFT, np.float32)
    for begin in range(0, n_frame, BLOCK_FRAMES):
        n = min(BLOCK_FRAMES, n_frame - begin)
        frames = np.lib.stride_tricks.sliding_window_view(x[begin * HOP :], FRAME)[::HOP][:n]
        frames = frames - frames.mean(axis=1, keepdims=True)
        padded = np.zeros((n, N_FFT), np.float32)
        padded[:, 1:FRAME] = frames[:, 1:] - np.float32(PREEMPHASIS) * frames[:, :-1]
        padded[:, 0] = frames[:, 0] * np.float32(1 - PREEMPHASIS)
        padded[:, :FRAME] *= window
        energies = simd.mel_project(simd.power_spectrum(padded.reshape(-1), flat, N_FFT), filters)
        out[begin : begin + n] = np.log(np.maximum(energies, MIN_ENERGY)).T
    return out
