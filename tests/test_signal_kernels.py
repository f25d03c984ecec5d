"""The signal kernels on every backend, compared with the same computation in float64."""

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


def test_rounding_noise_of_a_tone(backend):
    """Bins far from a full-scale tone are at least 120 dB below it, at the level of float32 rounding."""
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
    bank = simd.FilterBank.from_filters(filters, down)
    assert bank.n_out * down == bank.n_in * up
    for n_group in (0, 1, 2, 13, 40):
        x = cases.normal(2, max(0, (n_group - 1) * bank.n_in + bank.reach))
        got = simd.polyphase(x, bank, n_group)
        assert got.shape == (n_group * bank.n_out,)
        first, phase = np.divmod(np.arange(len(got)) * down, up)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, (0, n_tap)), n_tap)[first]
        exact = np.einsum("nt,nt->n", windows.astype(np.float64), filters[phase])
        np.testing.assert_allclose(got, exact, rtol=0, atol=1e-6 * n_tap)


def test_polyphase_can_be_computed_piecewise(compiled_backend):
    bank = simd.FilterBank.from_filters(cases.normal(2, 3, 50), 2)
    x = cases.normal(1, 29 * bank.n_in + bank.reach)
    whole = simd.polyphase(x, bank, 30)
    pieces = [simd.polyphase(x[n * bank.n_in :], bank, min(7, 30 - n)) for n in range(0, 30, 7)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize(("n_phase", "n_tap"), [(1, 1), (3, 7), (5, 16), (9, 33), (4, 100), (2, 515)])
def test_interpolate(backend, n_phase, n_tap):
    table = simd.PhaseTable(cases.normal(1, n_phase + 1, n_tap))
    rng = np.random.default_rng(n_tap)
    for n in (0, 1, 7, 1025):
        x = cases.normal(2, n_tap + 40)
        begins = rng.integers(0, 41, n)
        phases = np.where(rng.random(n) < 0.2, rng.integers(0, n_phase + 1, n), n_phase * rng.random(n)).astype(
            np.float32
        )
        got = simd.interpolate(x, table, begins, phases)
        assert got.shape == (n,)
        assert got.dtype == np.float32
        row = np.minimum(phases.astype(int), n_phase - 1)
        fraction = (phases.astype(np.float64) - row)[:, None]
        filters = table.filters.astype(np.float64)
        filters = filters[row] * (1 - fraction) + filters[row + 1] * fraction
        windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), n_tap)[begins]
        np.testing.assert_allclose(got, np.einsum("nt,nt->n", windows, filters), rtol=0, atol=1e-6 * n_tap)
        np.testing.assert_array_equal(simd.interpolate(x, table, begins, phases, out=np.empty(n, np.float32)), got)


def test_an_interpolated_output_does_not_depend_on_others(compiled_backend):
    table = simd.PhaseTable(cases.normal(1, 6, 50))
    x, begins = cases.normal(2, 3000), np.arange(2900, dtype=np.int64)
    phases = np.linspace(0, 5, 2900, dtype=np.float32)
    whole = simd.interpolate(x, table, begins, phases)
    for start in (0, 1, 1500, 2899):
        part = slice(start, start + 3)
        np.testing.assert_array_equal(simd.interpolate(x, table, begins[part], phases[part]), whole[part])


def test_positions_and_phases_out_of_range(backend):
    """Windows that leave the signal, and phases below 0, beyond the last filter or NaN, raise ValueError."""
    table = simd.PhaseTable(np.ones((3, 8), np.float32))
    x, one = np.ones(20), np.ones(1, np.float32)
    assert simd.interpolate(x, table, np.array([12], np.int64), 2 * one)[0] == 8
    for begin in (-1, 13, 2**62, -(2**62)):
        with pytest.raises(ValueError, match="begins must be from 0 to 12"):
            simd.interpolate(x, table, np.array([begin], np.int64), one)
    for phase in (-0.001, 2.001, np.nan, np.inf):
        with pytest.raises(ValueError, match="phases must be from 0 to 2"):
            simd.interpolate(x, table, np.array([0], np.int64), np.full(1, phase, np.float32))


def test_inconsistent_filter_banks_are_refused():
    """The arrays determine which memory a kernel reads."""
    bank = simd.FilterBank.from_filters(cases.normal(1, 3, 20), 2)
    parts = {name: getattr(bank, name) for name in ("panels", "offsets", "starts", "n_tap", "n_in")}
    wrong = [
        {"panels": bank.panels[:, :, :8]},
        {"panels": bank.panels.astype(np.float64)},
        {"panels": bank.panels[:, ::2]},
        {"offsets": bank.offsets[:1]},
        {"offsets": bank.offsets - 100},
        {"offsets": bank.offsets.astype(np.int32)},
        {"starts": bank.starts + 1},
        {"starts": bank.starts - 1},
        {"starts": np.ascontiguousarray(bank.starts[:, ::-1])},
        {"starts": bank.starts.tolist()},
        {"n_tap": 21},
        {"n_tap": 0},
        {"n_tap": 2**70},
        {"n_in": 0},
        {"n_in": 1.5},
        {"n_in": 2**70},
    ]
    simd.FilterBank(**parts)
    for change in wrong:
        with pytest.raises((ValueError, TypeError)):
            simd.FilterBank(**parts | change)
    for table in (
        np.ones((1, 5), np.float32),
        np.ones((3, 0), np.float32),
        np.ones((3, 4)),
        np.ones(4, np.float32),
        [[1.0], [2.0]],
    ):
        with pytest.raises((ValueError, TypeError)):
            simd.PhaseTable(table)
