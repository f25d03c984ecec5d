"""From one sampling rate to another: a polyphase FIR filter, linear in phase and without delay.

One low pass, minimax-optimal, serves all ratios: flat to 0.91 of the lower rate's Nyquist frequency (as soxr's high quality) within 0.1 dB,
100 dB and more down from that frequency on. The filter of each phase is the same curve, read where that phase's samples lie.
"""

import math
from functools import lru_cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import AudioError

FloatArray = simd.FloatArray

BETWEEN = 8  # samples on each side from which the prototype is interpolated ...
BETA = 11.2  # ... with this Kaiser window: 110 dB (Kaiser's formula, 0.1102 (A - 8.7))
REACH = (95 + BETWEEN) / 2  # of the filter to each side, in samples of the lower rate
BLOCK = 1 << 16  # samples of a whole recording that are taken at a time: what lies between stays in the cache
MAX_FILTER = 32 << 20  # numbers: a ratio of two large primes needs a filter for each phase


def _length(n: int, rate_in: int, rate_out: int) -> int:
    """How many samples n samples become: as many as begin before the end of the last one."""
    return -(-n * rate_out // rate_in)


def _half(up: int, down: int) -> int:
    """Half of a filter's length in samples of the input."""
    return math.ceil(REACH / min(1.0, up / down))


@lru_cache(maxsize=1)
def _prototype() -> npt.NDArray[np.float64]:
    """The low pass at twice the lower rate, symmetric; tests/make_lowpass.py made it."""
    with files("whisper_apr").joinpath("assets", "lowpass.npy").open("rb") as file:
        return np.asarray(np.load(file, allow_pickle=False), np.float64)


def _low_pass(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The prototype between its samples, t counted in samples of the lower rate: a Kaiser-windowed sinc, which has half a band to fall off in."""
    prototype = _prototype()
    u = 2 * t + len(prototype) // 2
    first = np.floor(u).astype(np.int64) - (BETWEEN - 1)
    padded = np.pad(prototype, 2 * BETWEEN)
    y = np.zeros(t.shape)
    for i in range(2 * BETWEEN):
        distance = u - (first + i)
        window = np.i0(BETA * np.sqrt(np.maximum(0, 1 - (distance / BETWEEN) ** 2)))
        y += padded[np.clip(first + i + 2 * BETWEEN, 0, len(padded) - 1)] * np.sinc(distance) * window
    return y


@lru_cache(maxsize=4)
def _bank(up: int, down: int) -> simd.FilterBank:
    """The filters of all phases, each of which sums to the same, so that no phase is louder than another."""
    half = _half(up, down)
    if 2 * half * math.lcm(up, simd.PAGE) > MAX_FILTER:
        raise AudioError(
            f"sampling rates in the ratio {down}:{up} have too little in common; resample to a common rate first"
        )
    taps = np.arange(2 * half) - (half - 1)
    filters = _low_pass((taps - np.arange(up)[:, None] / up) * min(1.0, up / down))
    filters *= _prototype().sum() / filters.sum(axis=1, keepdims=True)
    return simd.FilterBank.of(filters.astype(np.float32), down)


class Resampler:
    """Resamples a stream in blocks of any size: what `push` and `finish` give, joined, is what `resample` gives of the whole."""

    def __init__(self, rate_in: float, rate_out: float) -> None:
        """Rates in Hz, whole numbers above 0. Raises AudioError where they have too little in common."""
        if rate_in < 1 or rate_out < 1 or rate_in != int(rate_in) or rate_out != int(rate_out):
            raise AudioError(f"sampling rates must be whole numbers above 0, not {rate_in} and {rate_out}")
        common = math.gcd(int(rate_in), int(rate_out))
        self.up, self.down = int(rate_out) // common, int(rate_in) // common
        self._bank = _bank(self.up, self.down) if self.up != self.down else None
        self._kept = np.zeros(0, np.float32)  # what later groups of outputs need, from the next group's first sample on
        if self._bank:  # before the first sample there are zeros: half of a filter, less the middle
            self._kept = np.zeros(_half(self.up, self.down) - 1, np.float32)
        self._n_in = 0
        self._n_out = 0

    def push(self, x: npt.ArrayLike) -> FloatArray:
        """The outputs that are certain once these samples have come, in whole groups (16 outputs where the output's rate divides the input's)."""
        block = np.asarray(x, np.float32)
        if self._bank is None:
            return block
        self._n_in += len(block)
        self._kept = np.concatenate([self._kept, block])
        return self._groups(max(0, (len(self._kept) - self._bank.reach) // self._bank.n_in + 1))

    def finish(self) -> FloatArray:
        """The outputs that are left; after the last sample there are zeros."""
        if self._bank is None:
            return np.zeros(0, np.float32)
        left = _length(self._n_in, self.down, self.up) - self._n_out
        n_group = -(-left // self._bank.n_out)
        missing = (n_group - 1) * self._bank.n_in + self._bank.reach - len(self._kept)
        self._kept = np.pad(self._kept, (0, max(0, missing)))
        return self._groups(n_group)[:left]

    def _groups(self, n: int) -> FloatArray:
        assert self._bank is not None
        y = simd.polyphase(self._kept, self._bank, n)
        self._kept = self._kept[n * self._bank.n_in :]
        self._n_out += len(y)
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
    out = np.empty(_length(len(samples), rate_in, rate_out), np.float32)
    done = 0
    for begin in range(0, len(samples) + BLOCK, BLOCK):
        part = stream.push(samples[begin : begin + BLOCK]) if begin < len(samples) else stream.finish()
        out[done : done + len(part)] = part
        done += len(part)
    return out
