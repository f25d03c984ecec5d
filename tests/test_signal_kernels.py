"""The kernels for sound, on every backend, against the same sums in float64."""

import numpy as np
import pytest

import cases
from whisper_apr import simd


def exact_power(audio, window, hop):
    frames = np.lib.stride_tricks.sliding_window_view(audio.astype(np.float64), len(window))[::hop]
    return np.abs(np.fft.rfft(frames * window, axis=-1).T) ** 2


@pytest.mark.parametrize("n_fft", [2, 4, 6, 8, 10, 14, 22, 30, 64, 242, 400, 512])
def test_power_spectrum(backend, n_fft):
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32) + np.float32(0.1)
    for n_frames in (1, 2, 15, 16, 17, 40):
        hop = max(1, n_fft // 3)
        audio = cases.normal(n_fft, n_fft + hop * (n_frames - 1))
        exact = exact_power(audio, window, hop)
        got = simd.power_spectrum(audio, window, hop)
        assert got.shape == exact.shape == (n_fft // 2 + 1, n_frames)
        np.testing.assert_allclose(got, exact, rtol=0, atol=2e-6 * exact.max())


def test_a_tone_does_not_leak_through_rounding(backend):
    """Bins far from a full-scale tone stay 120 dB and more below it: float32 rounding alone."""
    n = np.arange(400 + 160 * 20)
    audio = np.sin(2 * np.pi * 1000 / 16000 * n).astype(np.float32)
    power = simd.power_spectrum(audio, np.hanning(401)[:-1].astype(np.float32), 160)
    assert power[100:].max() < 1e-12 * power.max()


@pytest.mark.parametrize("n_frame", [0, 1, 15, 17, 513])
def test_mel_project(backend, n_frame):
    power = np.abs(cases.normal(1, 33, n_frame))
    dense = cases.normal(2, 7, 33)
    banded = dense * (np.abs(np.arange(33) - 5 * np.arange(7)[:, None]) < 3)
    banded[3] = 0
    for filters in (dense, banded):
        exact = filters.astype(np.float64) @ power
        np.testing.assert_allclose(simd.mel_project(power, filters), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("up", "down", "n_tap"), [(1, 1, 1), (1, 3, 7), (2, 1, 16), (3, 2, 33), (160, 441, 100), (7, 5, 300), (40, 3, 9)]
)
def test_polyphase(backend, up, down, n_tap):
    filters = cases.normal(1, up, n_tap)
    bank = simd.FilterBank.of(filters, down)
    assert bank.n_out * down == bank.n_in * up
    for n_group in (0, 1, 2, 13, 40):
        x = cases.normal(2, max(0, (n_group - 1) * bank.n_in + bank.reach))
        got = simd.polyphase(x, bank, n_group)
        assert got.shape == (n_group * bank.n_out,)
        first, phase = np.divmod(np.arange(len(got)) * down, up)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, (0, n_tap)), n_tap)[first]
        exact = np.einsum("nt,nt->n", windows.astype(np.float64), filters[phase])
        np.testing.assert_allclose(got, exact, rtol=0, atol=1e-6 * n_tap)


def test_polyphase_does_not_depend_on_how_outputs_are_asked_for(compiled_backend):
    bank = simd.FilterBank.of(cases.normal(2, 3, 50), 2)
    x = cases.normal(1, 29 * bank.n_in + bank.reach)
    whole = simd.polyphase(x, bank, 30)
    pieces = [simd.polyphase(x[n * bank.n_in :], bank, min(7, 30 - n)) for n in range(0, 30, 7)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
