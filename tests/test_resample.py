"""Resampling: what passes, what is stopped, and that a stream gives what the whole gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import make_lowpass
from whisper_apr.audio import Resampler, resample
from whisper_apr.audio.resample import _prototype
from whisper_apr.errors import AudioError

RATES = [(48000, 16000), (44100, 16000), (8000, 16000), (22050, 16000), (11025, 16000), (96000, 16000), (16000, 44100)]


def tone(frequency: float, rate: int, n: int) -> np.ndarray:
    return np.cos(2 * np.pi * frequency / rate * np.arange(n)).astype(np.float32)


def amplitude(x: np.ndarray) -> float:
    """Of a steady tone, or of what is left of one: root mean square of the middle, times the root of 2."""
    middle = x[len(x) // 4 : -len(x) // 4].astype(np.float64)
    return float(np.sqrt(2 * np.mean(middle**2)))


@pytest.mark.parametrize("rates", RATES)
def test_the_pass_band_is_flat(rates):
    rate_in, rate_out = rates
    for part in (0.01, 0.3, 0.62, 0.8, 0.88, 0.905, 0.91):
        frequency = part * min(rates) / 2
        y = resample(tone(frequency, rate_in, rate_in // 2), rate_in, rate_out)
        assert abs(20 * np.log10(amplitude(y))) < 0.06
        inside = slice(len(y) // 4, -len(y) // 4)
        expected = tone(frequency, rate_out, len(y))[inside]  # in phase, without delay
        assert np.abs(y[inside] - expected).max() < 0.008


@pytest.mark.parametrize("rates", [r for r in RATES if r[0] > r[1]])
def test_what_would_be_folded_back_is_100_decibels_down(rates):
    rate_in, rate_out = rates
    nyquist = rate_out / 2
    for frequency in np.concatenate([np.linspace(1, 1.2, 9) * nyquist, np.linspace(1.3 * nyquist, rate_in / 2, 9)]):
        y = resample(tone(float(frequency), rate_in, rate_in // 2), rate_in, rate_out)
        assert 20 * np.log10(amplitude(y) + 1e-12) < -100, frequency


@pytest.mark.parametrize("rates", [r for r in RATES if r[0] < r[1]])
def test_images_are_100_decibels_down(rates):
    """A tone that goes up has images about multiples of the old rate: nothing but the tone may be left."""
    rate_in, rate_out = rates
    for part in (0.1, 0.5, 0.9):
        y = resample(tone(part * rate_in / 2, rate_in, rate_in // 2), rate_in, rate_out).astype(np.float64)
        middle = y[len(y) // 4 : -len(y) // 4]
        power = np.abs(np.fft.rfft(middle * np.blackman(len(middle)))) ** 2
        frequencies = np.fft.rfftfreq(len(middle), 1 / rate_out)
        assert power[frequencies > rate_in / 2].sum() < 1e-10 * power.sum()


@settings(max_examples=40)
@given(
    rates=st.sampled_from([*RATES, (7, 3), (12000, 16000), (16000, 16000), (147, 160)]),
    sizes=st.lists(st.integers(0, 3000), max_size=6),
    seed=st.integers(0, 100),
)
def test_a_stream_gives_what_the_whole_gives(rates, sizes, seed):
    """Bit for bit, however it is cut."""
    blocks = [np.random.default_rng([seed, i]).standard_normal(n).astype(np.float32) for i, n in enumerate(sizes)]
    whole = resample(np.concatenate([np.zeros(0, np.float32), *blocks]), *rates)
    stream = Resampler(*rates)
    pieces = [*map(stream.push, blocks), stream.finish()]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    n = sum(sizes)
    assert len(whole) == -(-n * rates[1] // rates[0])


def test_a_streams_memory_does_not_grow():
    stream = Resampler(44100, 16000)
    block = np.zeros(4410, np.float32)
    kept = [len(stream._kept) for _ in range(50) if stream.push(block) is not None]
    assert max(kept) < 2000


def test_levels_are_kept():
    for rates in RATES:
        y = resample(np.full(4000, 0.5, np.float32), *rates)
        middle = y[len(y) // 4 : -len(y) // 4]
        np.testing.assert_allclose(middle, middle[0], atol=2e-6)
        np.testing.assert_allclose(middle, 0.5, rtol=6e-3)  # the pass band's ripple


@pytest.mark.parametrize("rates", [(0, 16000), (16000, -1), (44100.5, 16000)])
def test_rates_that_make_no_sense(rates):
    with pytest.raises(AudioError, match="whole numbers above 0"):
        resample(np.zeros(10), *rates)


def test_rates_with_too_little_in_common():
    with pytest.raises(AudioError, match="too little in common"):
        resample(np.zeros(10), 1_000_003, 999_983)


def test_more_than_one_channel_is_refused():
    with pytest.raises(AudioError, match="one channel"):
        resample(np.zeros((2, 10)), 48000, 16000)


def test_the_filter_is_what_its_script_makes():
    """Within what linear algebra may differ by between machines."""
    np.testing.assert_allclose(_prototype(), make_lowpass.minimax(), atol=2e-6)
