"""Kaldi's filterbank energies, beside a direct computation."""

import numpy as np
import pytest

from recordings import speech
from whisper_apr.audio.fbank import fbank


def directly(samples, n_bands):
    """Compute each frame and each band by the formulas of Kaldi's source, in float64."""

    def mel(hertz):
        return 1127 * np.log(1 + hertz / 700)

    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    step = (mel(8000) - mel(20)) / (n_bands + 1)
    rows = []
    for begin in range(0, len(samples) - 399, 160):
        frame = samples[begin : begin + 400].astype(np.float64)
        frame -= frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, 512)) ** 2
        row = []
        for band in range(n_bands):
            left = mel(20) + band * step
            energy = 0.0
            for i in range(256):
                position = (mel(i * 16000 / 512) - left) / step
                energy += power[i] * max(0.0, min(position, 2 - position))
            row.append(np.log(max(energy, np.finfo(np.float32).eps)))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("n_bands", [23, 80])
def test_equals_the_formulas(n_bands, backend):
    samples = speech("en")[8000:16000]
    np.testing.assert_allclose(fbank(samples, n_bands), directly(samples, n_bands), atol=1e-3)


def test_number_of_frames():
    samples = speech("en")
    assert [fbank(samples[:n]).shape for n in (0, 399, 400, 559, 560)] == [(0, 80), (0, 80), (1, 80), (1, 80), (2, 80)]
    whole = fbank(samples)
    np.testing.assert_array_equal(fbank(samples[160 * 520 :])[:5], whole[520:525])  # blocks join
