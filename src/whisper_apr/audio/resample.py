"""From one sampling rate to another: a polyphase FIR filter, linear in phase and without delay."""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import AudioError

FloatArray = simd.FloatArray

PASS_BAND = 0.91  # of the lower rate's Nyquist frequency, as soxr's high quality has it; the stop band begins at 1
STOP_BAND_DB = 110.0
MAX_FILTER = 32 << 20  # numbers: a ratio of two large primes needs a filter for each phase


def _length(n: int, rate_in: int, rate_out: int) -> int:
    """How many samples n samples become: as many as begin before the end of the last one."""
    return -(-n * rate_out // rate_in)


@lru_cache(maxsize=4)
def _filters(up: int, down: int) -> FloatArray:
    """A Kaiser-windowed sinc for each of `up` phases: `(up, n_tap)`, each of which sums to 1.

    Length and window by Kaiser's formulas (Nonrecursive digital filter design using the I0-sinh window function, 1974).
    """
    shrink = min(1.0, up / down)  # the lower rate over the input's
    transition = math.pi * (1 - PASS_BAND) * shrink
    half = math.ceil((STOP_BAND_DB - 7.95) / (2.285 * transition) / 2)
    if 2 * half * up > MAX_FILTER:
        raise AudioError(
            f"sampling rates in the ratio {down}:{up} have too little in common; resample to a common rate first"
        )
    beta = 0.1102 * (STOP_BAND_DB - 8.7)
    cutoff = (1 + PASS_BAND) / 2 * shrink
    taps = np.arange(2 * half) - (half - 1)
    filters = np.empty((up, 2 * half), np.float32)
    for phase in range(up):
        t = taps - phase / up
        window = np.i0(beta * np.sqrt(np.maximum(0, 1 - (t / half) ** 2)))
        ideal = np.sinc(cutoff * t) * window
        filters[phase] = ideal / ideal.sum()
    return filters


class Resampler:
    """Resamples a stream in blocks of any size: what `push` and `finish` give, joined, is what `resample` gives of the whole."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        """Rates in Hz, whole numbers above 0. Raises AudioError where they have too little in common."""
        if rate_in < 1 or rate_out < 1 or rate_in != int(rate_in) or rate_out != int(rate_out):
            raise AudioError(f"sampling rates must be whole numbers above 0, not {rate_in} and {rate_out}")
        common = math.gcd(int(rate_in), int(rate_out))
        self.up, self.down = int(rate_out) // common, int(rate_in) // common
        self._filters = _filters(self.up, self.down) if self.up != self.down else None
        self._kept = np.zeros(0, np.float32)  # samples from number _first on, which later outputs need
        self._first = 0
        self._n_in = 0
        self._n_out = 0

    def push(self, x: npt.ArrayLike) -> FloatArray:
        """The outputs that are certain once these samples have come."""
        block = np.asarray(x, np.float32)
        if self._filters is None:
            return block
        self._n_in += len(block)
        self._kept = np.concatenate([self._kept, block])
        half = self._filters.shape[1] // 2
        # output n needs the samples up to number floor(n * down / up) + half
        return self._outputs(max(self._n_out, -(-(self._n_in - half) * self.up // self.down)))

    def finish(self) -> FloatArray:
        """The outputs that are left; after the last sample there are zeros."""
        if self._filters is None:
            return np.zeros(0, np.float32)
        return self._outputs(_length(self._n_in, self.down, self.up))

    def _outputs(self, end: int) -> FloatArray:
        assert self._filters is not None
        half = self._filters.shape[1] // 2
        start = self._n_out * self.down - (half - 1 + self._first) * self.up
        y = simd.polyphase(self._kept, self._filters, self.up, self.down, start, end - self._n_out)
        self._n_out = end
        unneeded = end * self.down // self.up - (half - 1) - self._first
        if unneeded > 0:
            self._kept = self._kept[unneeded:]
            self._first += unneeded
        return y


def resample(x: npt.ArrayLike, rate_in: int, rate_out: int) -> FloatArray:
    """Resample `(n_samples,)` to `(ceil(n_samples * rate_out / rate_in),)` float32.

    The pass band reaches 0.91 of the lower rate's Nyquist frequency; from that frequency on, 100 dB and more are taken off.
    The first output lies at the first input's time. Raises AudioError for rates that are not whole numbers above 0.
    """
    samples = np.asarray(x, np.float32)
    if samples.ndim != 1:
        raise AudioError(f"resample takes one channel, not an array of shape {samples.shape}; call it for each")
    stream = Resampler(rate_in, rate_out)
    return np.concatenate([stream.push(samples), stream.finish()])
