"""Resampling: passband, stopband, cost, and streams that equal the whole."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import make_lowpass
from whisper_apr.audio import Resampler, resample
from whisper_apr.audio.resample import _ExactPhases, _lowpass_coefficients, _make_filter, _ratio
from whisper_apr.errors import AudioError

COMMON = [(48000, 16000), (44100, 16000), (8000, 16000), (22050, 16000), (11025, 16000), (96000, 16000), (16000, 44100)]
# Primes, and rates that are not integers, whose filters are interpolated.
ODD = [(65_537, 16000), (7919, 16000), (44_099.5, 16000), (16000, 22_051), (1_000_003, 999_983)]
RATES = COMMON + ODD


def tone(frequency: float, rate: float, n: int) -> np.ndarray:
    return np.cos(2 * np.pi * frequency / rate * np.arange(n))


def resampled_tone(frequency: float, rates: tuple[float, float]) -> np.ndarray:
    """Resample half a second, longer than the filter, and return it in float64."""
    n = max(int(rates[0]) // 2, int(600 * max(1, rates[0] / rates[1])))
    return resample(tone(frequency, rates[0], n).astype(np.float32), *rates).astype(np.float64)


def middle(x: np.ndarray) -> np.ndarray:
    return x[len(x) // 4 : -len(x) // 4]


def level(x: np.ndarray) -> float:
    """Return the root mean square in dB relative to a full-scale tone."""
    return float(10 * np.log10(2 * np.mean(np.square(x, dtype=np.float64)) + 1e-30))


def gain(frequency: float, rates: tuple[float, float]) -> float:
    """Return the gain of a tone, by least squares, in phase and without delay."""
    y = middle(resampled_tone(frequency, rates))
    n = len(resampled_tone(frequency, rates))
    phase = 2 * np.pi * frequency / rates[1] * middle(np.arange(n))
    (cosine, sine), *_ = np.linalg.lstsq(np.stack([np.cos(phase), np.sin(phase)], axis=1), y)
    assert abs(sine) < 1e-4
    return float(cosine)


def test_ratios_with_a_filter_for_each_phase():
    for rates in COMMON:
        assert isinstance(_make_filter(*_ratio(*rates)), _ExactPhases), rates
    for rates in ODD:
        assert not isinstance(_make_filter(*_ratio(*rates)), _ExactPhases), rates


@pytest.mark.parametrize("rates", RATES)
def test_passband_ripple_is_a_thousandth_of_a_decibel(rates):
    """Up to 0.91 of the lower rate's Nyquist frequency."""
    for part in (0.01, 0.3, 0.5, 0.62, 0.8, 0.88, 0.9, 0.905, 0.91):
        assert abs(20 * np.log10(gain(part * min(rates) / 2, rates))) < 0.001, part


@pytest.mark.parametrize("rates", RATES)
def test_a_constant_passes_unchanged(rates):
    """Within rounding, without images."""
    y = resample(np.full(int(1000 * max(1, rates[0] / rates[1])), 0.5, np.float32), *rates)
    np.testing.assert_allclose(middle(y), 0.5, rtol=2e-6)


@pytest.mark.parametrize("rates", RATES)
def test_error_of_a_1_khz_tone_is_below_120_decibels(rates):
    """Compared with the exact tone: errors of gain and phase, images and rounding."""
    frequency = 1000 if min(rates) < 100_000 else 40_000
    y = resampled_tone(frequency, rates)
    wrong = middle(y - tone(frequency, rates[1], len(y)))
    assert level(wrong) < -120


@pytest.mark.parametrize("rates", [r for r in RATES if r[0] > 1.1 * r[1]])
def test_aliases_are_100_decibels_down(rates):
    nyquist, end = rates[1] / 2, rates[0] / 2
    # at the Nyquist frequency, a tone and its image beat if the phases change slowly
    lowest = 1 if rates in COMMON else 1.001
    near, far = np.linspace(lowest * nyquist, 1.2 * nyquist, 9), np.linspace(1.3 * nyquist, end, 9)
    for frequency in [*near, *far]:
        assert level(middle(resampled_tone(float(frequency), rates))) < -100, frequency


@pytest.mark.parametrize("rates", [r for r in RATES if r[0] < r[1]])
def test_images_are_100_decibels_down(rates):
    """Upsampling creates images around multiples of the old rate, which must be removed."""
    for part in (0.1, 0.5, 0.9):
        y = middle(resampled_tone(part * rates[0] / 2, rates))
        power = np.abs(np.fft.rfft(y * np.blackman(len(y)))) ** 2
        frequencies = np.fft.rfftfreq(len(y), 1 / rates[1])
        assert power[frequencies > rates[0] / 2].sum() < 1e-10 * power.sum()


@settings(max_examples=60)
@given(
    rates=st.sampled_from([*RATES, (7, 3), (12000, 16000), (16000, 16000), (147, 160), (1024, 1), (1, 1000.5)]),
    sizes=st.lists(st.one_of(st.integers(0, 3000), st.just(40_000)), max_size=5),
    seed=st.integers(0, 100),
)
def test_stream_equals_whole(rates, sizes, seed):
    """Bit for bit, for blocks of any size."""
    if rates[1] > 100 * rates[0]:
        sizes = [min(n, 50) for n in sizes]
    blocks = [np.random.default_rng([seed, i]).standard_normal(n).astype(np.float32) for i, n in enumerate(sizes)]
    whole = resample(np.concatenate([np.zeros(0, np.float32), *blocks]), *rates)
    stream = Resampler(*rates)
    pieces = [*map(stream.push, blocks), stream.finish()]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert len(whole) == int(np.ceil(np.round(sum(sizes) * rates[1] / rates[0], 9)))


@pytest.mark.parametrize("rates", [(44100, 16000), (16000, 16000), (44_101, 16000)])
@pytest.mark.parametrize(
    ("shape", "axis"), [((700,), 0), ((3, 700), 1), ((700, 2), 0), ((2, 700, 3), 1), ((2, 700, 3), -2)]
)
def test_channels_are_resampled_separately(rates, shape, axis):
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    y = resample(x, *rates, axis=axis)
    assert y.flags.c_contiguous
    assert y.dtype == np.float32
    by_channel = np.moveaxis(x, axis, -1).reshape(-1, 700)
    expected = np.stack([resample(channel, *rates) for channel in by_channel])
    np.testing.assert_array_equal(np.moveaxis(y, axis, -1).reshape(expected.shape), expected)
    stream = Resampler(*rates, axis=axis)
    cut = np.split(x, [1, 300], axis=axis)
    np.testing.assert_array_equal(np.concatenate([*map(stream.push, cut), stream.finish()], axis=axis), y)


def test_no_channels_and_no_samples():
    assert resample(np.zeros((0, 100)), 48000, 16000).shape == (0, 34)
    assert resample(np.zeros((100, 0)), 48000, 16000, axis=0).shape == (34, 0)
    assert resample([], 48000, 16000).shape == (0,)
    assert resample(np.zeros((2, 0)), 44_101, 16000).shape == (2, 0)
    assert Resampler(48000, 16000).finish().shape == (0,)
    assert Resampler(16000, 16000).finish().shape == (0,)


def test_rates_of_any_numeric_type():
    x = np.random.default_rng(1).standard_normal(5000).astype(np.float32)
    expected = resample(x, 22050, 16000)
    for rate in (22050.0, np.float32(22050), np.int64(22050), np.uint16(22050)):
        np.testing.assert_array_equal(resample(x, rate, np.float64(16000)), expected)
    np.testing.assert_array_equal(resample(x, 44_100.5, 16000.5), resample(x, 88_201, 32_001))
    assert len(resample(x, 44_099.7, 16000)) == int(np.ceil(5000 * 16000 / 44_099.7))


def test_samples_are_not_scaled():
    x = np.arange(3000) % 50
    for kind in (np.int16, np.float64, np.float16, np.uint8):
        np.testing.assert_array_equal(
            resample(x.astype(kind), 48000, 16000), resample(x.astype(np.float32), 48000, 16000)
        )
    np.testing.assert_array_equal(resample(x[::-1], 48000, 16000), resample(x[::-1].astype(np.float32), 48000, 16000))


@pytest.mark.parametrize("rate", [44100, 44_101])
def test_stream_memory_is_constant(rate):
    stream = Resampler(rate, 16000)
    block = np.zeros(4410, np.float32)
    kept = [len(stream._kept[0]) for _ in range(50) if stream.push(block) is not None]
    assert max(kept) < 2000


COST = """
import resource, sys
import numpy as np
from whisper_apr.audio import resample
resample(np.zeros(1500, np.float32), 48000, 16000)
for rate in (65_537, 319_993, 999_983, 1_000_000, 1009, 44_099.5, 33_333.3):
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resample(np.zeros(1500, np.float32), rate, 16000)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    grown /= 1 << 20 if sys.platform == "darwin" else 1 << 10
    print(rate, grown)
"""


@pytest.mark.system
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no module resource")
def test_odd_rates_need_little_memory():
    """At most 30 MB for any rate; with a filter per phase, 65,537 Hz took 893 MB and 16 s."""
    run = subprocess.run([sys.executable, "-c", COST], capture_output=True, text=True, timeout=60, check=True)
    for line in run.stdout.splitlines():
        rate, megabytes = map(float, line.split())
        assert megabytes < 30, rate
    assert len(run.stdout.splitlines()) == 7


@pytest.mark.parametrize(
    "rates",
    [
        (0, 16000),
        (16000, -1),
        (float("nan"), 16000),
        (16000, float("inf")),
        ("48000", 16000),
        (None, 16000),
        (True, 16000),
        (1j, 16000),
        ([48000], 16000),
        (10**400, 16000),
    ],
    ids=lambda rates: str(rates)[:20],
)
def test_invalid_rates(rates):
    with pytest.raises(AudioError, match=r"rate_(in|out) must be a number of Hz above 0"):
        resample(np.zeros(10), *rates)


@pytest.mark.parametrize("rates", [(1, 1025), (16000 * 1025, 16000), (1e-300, 16000), (16000, 1e-9)])
def test_rates_that_are_too_far_apart(rates):
    with pytest.raises(AudioError, match="at most 1024 times"):
        Resampler(*rates)


@pytest.mark.parametrize(
    "x", [np.zeros(3, np.complex64), ["a"], [[1, 2], [3]], np.float32(1), np.array([2**70])], ids=repr
)
def test_invalid_samples(x):
    with pytest.raises(AudioError, match="samples must be real numbers with a time axis -1"):
        resample(x, 48000, 16000)


def test_missing_axis():
    for axis in (2, -3):
        with pytest.raises(AudioError, match="axis"):
            resample(np.zeros((2, 10)), 48000, 16000, axis=axis)


def test_channels_that_change():
    stream = Resampler(48000, 16000)
    stream.push(np.zeros((2, 10)))
    with pytest.raises(AudioError, match="channels"):
        stream.push(np.zeros((3, 10)))
    with pytest.raises(AudioError, match="channels"):
        stream.push(np.zeros(10))


def test_stored_filter_equals_its_design():
    """Within the differences of linear algebra between machines."""
    np.testing.assert_allclose(_lowpass_coefficients(), make_lowpass.minimax(), atol=1e-9)
