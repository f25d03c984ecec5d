"""Resampling compared with soxr at high quality (HQ): the same signal, and passband and stopband are no worse."""

import numpy as np
import pytest
import soxr

from whisper_apr.audio import resample

pytestmark = pytest.mark.parity

RATES = (8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000)


@pytest.mark.parametrize("rate", RATES)
def test_passband(rate):
    """Both preserve noise below 0.85 of the lower Nyquist frequency, and its phase. The ends are not compared."""
    rng = np.random.default_rng(rate)
    n = 2 * rate
    spectrum = rng.standard_normal(n // 2 + 1) + 1j * rng.standard_normal(n // 2 + 1)
    spectrum[np.fft.rfftfreq(n, 1 / rate) > 0.85 * min(rate, 16000) / 2] = 0
    x = np.fft.irfft(spectrum, n)
    x = (0.3 * x / np.abs(x).max()).astype(np.float32)
    ours, theirs = resample(x, rate, 16000), soxr.resample(x, rate, 16000, quality="HQ")
    assert abs(len(ours) - len(theirs)) <= 1
    inside = slice(2000, min(len(ours), len(theirs)) - 2000)
    error = ours[inside].astype(np.float64) - theirs[inside]
    # a ripple of 0.001 dB, in theirs and in ours, is an error of 1e-4
    assert np.sqrt(np.mean(error**2)) < 3e-4 * np.sqrt(np.mean(theirs[inside] ** 2.0))


@pytest.mark.parametrize("rate", RATES)
def test_error_of_a_tone(rate):
    """The error of a 1 kHz tone is within 10 dB of soxr's; float32 limits both."""
    x = np.sin(2 * np.pi * 1000 / rate * np.arange(rate)).astype(np.float32)

    def error(y: np.ndarray) -> float:
        exact = np.sin(2 * np.pi * 1000 / 16000 * np.arange(len(y)))
        return float(10 * np.log10(np.mean((y - exact)[4000:-4000] ** 2)))

    assert error(resample(x, rate, 16000)) < error(soxr.resample(x, rate, 16000, quality="HQ")) + 10


@pytest.mark.parametrize("rate", [r for r in RATES if r > 16000])
def test_stopband(rate):
    """Aliases are attenuated by at least 100 dB, as soxr HQ promises from the Nyquist frequency on."""
    n = np.arange(rate)
    for frequency in np.linspace(8010, min(rate / 2, 12000), 12):
        x = np.sin(2 * np.pi * frequency / rate * n).astype(np.float32)
        y = resample(x, rate, 16000)[3000:-3000].astype(np.float64)
        assert 10 * np.log10(2 * np.mean(y**2) + 1e-20) < -100
