"""Resampling beside soxr's high quality: the same sound, and a stop band and pass band that are no worse."""

import numpy as np
import pytest
import soxr

from whisper_apr.audio import resample

pytestmark = pytest.mark.parity

RATES = (8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000)


@pytest.mark.parametrize("rate", RATES)
def test_speech_like_sound_is_the_same(rate):
    """Noise below 0.85 of the lower Nyquist frequency: both leave it as it is, in phase. The ends are left out."""
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
    assert np.sqrt(np.mean(error**2)) < 3e-4 * np.sqrt(
        np.mean(theirs[inside] ** 2.0)
    )  # theirs and ours: 0.001 dB of ripple are 1e-4


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_is_as_clean(rate):
    """1 kHz, against the exact tone: within 10 dB of soxr HQ, where both are bound by float32."""
    x = np.sin(2 * np.pi * 1000 / rate * np.arange(rate)).astype(np.float32)

    def wrong(y: np.ndarray) -> float:
        exact = np.sin(2 * np.pi * 1000 / 16000 * np.arange(len(y)))
        return float(10 * np.log10(np.mean((y - exact)[4000:-4000] ** 2)))

    assert wrong(resample(x, rate, 16000)) < wrong(soxr.resample(x, rate, 16000, quality="HQ")) + 10


@pytest.mark.parametrize("rate", [r for r in RATES if r > 16000])
def test_what_is_folded_back_is_no_more_than_soxrs_limit(rate):
    """From 1.0 of the Nyquist frequency on soxr HQ promises 100 dB and more; so do we, at every frequency tried."""
    n = np.arange(rate)
    for frequency in np.linspace(8010, min(rate / 2, 12000), 12):
        x = np.sin(2 * np.pi * frequency / rate * n).astype(np.float32)
        y = resample(x, rate, 16000)[3000:-3000].astype(np.float64)
        assert 10 * np.log10(2 * np.mean(y**2) + 1e-20) < -100
