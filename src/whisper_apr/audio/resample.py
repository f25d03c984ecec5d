"""Resampling from one sampling rate to another: a linear-phase FIR low pass, evaluated at each output's place between
the input's samples.

One filter serves all ratios. Up to 0.91 of the lower rate's Nyquist frequency its gain is 1 within 0.001 dB (up to 0.36
of it within 4e-7); from the Nyquist frequency on it takes off 100 dB and more. It spans 124 samples of the lower rate.

A ratio of small whole numbers has few phases, and each gets a filter of its own. Any other ratio takes its filters from
a table of phases, between which the kernel interpolates, so that the cost depends on the number of samples and not on
the ratio.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib.resources import files
from numbers import Integral, Real
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import AudioError

FloatArray = simd.FloatArray

LENGTH = 124  # of the filter, in samples of the lower rate; tests/make_lowpass.py chose it
MAX_RATE = 1e12  # Hz, far above any recording's
MAX_RATIO = 1024  # of the two rates: beyond it a filter would be longer than many recordings
MAX_BANK = 1 << 20  # numbers in a bank with a filter for each phase
# Phases of a table per sample of the lower rate. Interpolating linearly leaves images of a frequency f (in cycles per
# sample of that rate) at (f / TABLE_PHASES)^2 of its level: -119 dB at the edge of the pass band, -156 dB at a tenth of
# it.
TABLE_PHASES = 512
# Of a ratio of rates that are no whole numbers: it is off by less than 2^-48, a sample in 500 years at 16 kHz.
MAX_DENOMINATOR = 1 << 24
BLOCK = 1 << 16  # outputs whose places are computed at a time
FEW = 1 << 14  # samples that are sooner copied than converted in two calls


def _length(n: int, up: int, down: int) -> int:
    """How many samples n samples become: as many as begin before the end of the last one."""
    return -(-n * up // down)


def _rate(value: float, name: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value <= MAX_RATE:
        raise AudioError(f"{name} must be a number of Hz above 0, at most {MAX_RATE:g}, not {value!r:.40}")
    return Fraction(int(value) if isinstance(value, Integral) else float(value))


def _ratio(rate_in: float, rate_out: float) -> tuple[int, int]:
    """Return (up, down): the output's rate over the input's, as whole numbers with no common divisor."""
    ratio = _rate(rate_out, "rate_out") / _rate(rate_in, "rate_in")
    if not 1 <= max(ratio, 1 / ratio) <= MAX_RATIO:
        raise AudioError(
            f"cannot resample from {rate_in} Hz to {rate_out} Hz: one rate may be at most {MAX_RATIO} times the other"
        )
    ratio = ratio.limit_denominator(MAX_DENOMINATOR)
    return ratio.numerator, ratio.denominator


# ---- the filter -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _series() -> npt.NDArray[np.float64]:
    """The filter's coefficients c:

    H(t) = sum_k c[k] cos(2 pi k t / LENGTH), zero where |t| > LENGTH / 2. tests/make_lowpass.py made them.
    """
    with files("whisper_apr").joinpath("assets", "lowpass.npy").open("rb") as file:
        return np.asarray(np.load(file, allow_pickle=False), np.float64)


def _half(up: int, down: int) -> int:
    """Half of a filter's length in samples of the input."""
    return math.ceil(LENGTH / 2 / min(1.0, up / down))


def _filters(up: int, down: int, n_phase: int) -> FloatArray:
    """Return the filters `(n_phase + 1, n_tap)` of outputs that lie 0, 1 / n_phase ... 1 of an input's sample after a
    sample.

    The first tap lies `n_tap / 2 - 1` samples before that sample. Each filter sums to 1: a constant passes unchanged,
    with no images.
    """
    scale = min(1.0, up / down)  # from samples of the input to samples of the lower rate
    half = _half(up, down)
    taps = (np.arange(2 * half) - (half - 1)) * scale
    phases = np.arange(n_phase + 1) / n_phase * scale
    c = _series()
    turns = 2 * np.pi / LENGTH * np.arange(len(c))
    # cos(a - b) = cos a cos b + sin a sin b: the sum over k becomes two products of matrices
    by_phase, by_tap = np.outer(phases, turns), np.outer(turns, taps)
    filters = (np.cos(by_phase) * c) @ np.cos(by_tap) + (np.sin(by_phase) * c) @ np.sin(by_tap)
    filters[np.abs(taps - phases[:, None]) > LENGTH / 2] = 0
    filters /= filters.sum(axis=1, keepdims=True)
    return filters.astype(np.float32)


class _Converter(Protocol):
    """Makes outputs from samples, in units of a few: unit u reads `reach` samples from sample `begin(u)` on."""

    @property
    def n_out(self) -> int:
        """Outputs of a unit."""

    @property
    def reach(self) -> int:
        """Samples that a unit reads."""

    def begin(self, unit: int) -> int:
        """Return the first sample that a unit reads; it is negative where the unit reads zeros before the recording."""

    def count(self, end: int) -> int:
        """Return how many units, from the first on, read samples before `end` only."""

    def run(self, x: FloatArray, origin: int, unit: int, n_unit: int, out: FloatArray) -> None:
        """Write the outputs of n_unit units, from `unit` on, to `out`; x begins at sample `origin`."""


@dataclass(frozen=True, eq=False)
class _EachPhase:
    """A filter for each phase. Units are the groups of `simd.polyphase`."""

    bank: simd.FilterBank
    half: int

    @property
    def n_out(self) -> int:
        return self.bank.n_out

    @property
    def reach(self) -> int:
        return self.bank.reach

    def begin(self, unit: int) -> int:
        return unit * self.bank.n_in - (self.half - 1)

    def count(self, end: int) -> int:
        return max(0, (end + self.half - 1 - self.reach) // self.bank.n_in + 1)

    def run(self, x: FloatArray, origin: int, unit: int, n_unit: int, out: FloatArray) -> None:
        simd.polyphase(x[self.begin(unit) - origin :], self.bank, n_unit, out=out)


@dataclass(frozen=True, eq=False)
class _Interpolated:
    """A table of phases. Units are outputs."""

    table: simd.PhaseTable
    half: int
    up: int
    down: int
    n_out: int = 1

    @property
    def reach(self) -> int:
        return self.table.n_tap

    def begin(self, unit: int) -> int:
        return unit * self.down // self.up - (self.half - 1)

    def count(self, end: int) -> int:
        # begin(u) + reach <= end where u * down / up, rounded down, is below `limit`
        limit = end + self.half - self.reach
        return max(0, (limit * self.up - 1) // self.down + 1)

    def run(self, x: FloatArray, origin: int, unit: int, n_unit: int, out: FloatArray) -> None:
        for at in range(0, n_unit, BLOCK):
            n = min(BLOCK, n_unit - at)
            first, rest = divmod((unit + at) * self.down, self.up)
            step, phase = np.divmod(rest + self.down * np.arange(n, dtype=np.int64), self.up)
            begins = step + (first - (self.half - 1) - origin)
            phases = (phase * (self.table.n_phase / self.up)).astype(np.float32)
            simd.interpolate(x, self.table, begins, phases, out=out[at : at + n])


@lru_cache(maxsize=4)
def _converter(up: int, down: int) -> _Converter:
    half = _half(up, down)
    if simd.FilterBank.panel_size(up, 2 * half, down) <= MAX_BANK:
        return _EachPhase(simd.FilterBank.from_filters(_filters(up, down, up)[:-1], down), half)
    n_phase = math.ceil(TABLE_PHASES * min(1.0, up / down))
    return _Interpolated(simd.PhaseTable(_filters(up, down, n_phase)), half, up, down)


# ---- the public names -----------------------------------------------------------------------------------------------


class Resampler:
    """Resamples a stream in blocks of any size.

    What `push` and `finish` return, joined, is what `resample` returns for the whole, bit for bit.
    """

    def __init__(self, rate_in: float, rate_out: float, *, axis: int = -1) -> None:
        """Set the rates in Hz, of which one may be at most 1024 times the other, and the blocks' axis of time.

        Raises AudioError for rates that are no numbers above 0 or too far apart.
        """
        self._up, self._down = _ratio(rate_in, rate_out)
        self._converter = _converter(self._up, self._down) if self._up != self._down else None
        self._axis = axis
        self._others: tuple[int, ...] | None = None  # the blocks' shape without time
        self._kept: list[FloatArray] = []  # of each channel, the samples from number _origin on
        self._origin = 0
        self._n_in = 0
        self._unit = 0  # the next one to be made

    def push(self, x: npt.ArrayLike) -> FloatArray:
        """Return the outputs that no later sample can change, float32, with the shape of x but for the axis of time.

        Where the rates are in a ratio of small whole numbers, outputs come in groups (of 16 for 48 to 16 kHz, of 160
        for 44.1 kHz). All blocks have as many channels as the first. Raises AudioError for what is no such block.
        """
        channels = self._channels(x)
        if self._converter is None:
            return self._shaped(channels)
        n_unit = self._converter.count(self._n_in + channels.shape[1]) - self._unit
        out = np.empty((len(channels), n_unit * self._converter.n_out), np.float32)
        self._convert(channels, n_unit, out)
        return self._shaped(out)

    def finish(self) -> FloatArray:
        """Return the outputs that are left; a stream without blocks has one channel.

        After the last sample there are zeros.
        """
        if self._others is None:
            self._channels(np.zeros(0, np.float32))
        n_channel = math.prod(self._others or ())
        if self._converter is None:
            return self._shaped(np.empty((n_channel, 0), np.float32))
        left = _length(self._n_in, self._up, self._down) - self._unit * self._converter.n_out
        out = np.empty((n_channel, -(-left // self._converter.n_out) * self._converter.n_out), np.float32)
        self._finish(out)
        return self._shaped(out[:, :left])

    def whole(self, x: npt.ArrayLike) -> FloatArray:
        """Return what `push` and `finish` return for a single block, joined."""
        channels = self._channels(x)
        if self._converter is None:
            return self._shaped(channels)
        length = _length(channels.shape[1], self._up, self._down)
        out = np.empty((len(channels), -(-length // self._converter.n_out) * self._converter.n_out), np.float32)
        n_unit = self._converter.count(channels.shape[1])
        self._convert(channels, n_unit, out)
        self._finish(out[:, n_unit * self._converter.n_out :])
        return self._shaped(out[:, :length])

    def _channels(self, x: npt.ArrayLike) -> FloatArray:
        """Return a block as `(channels, n)`."""
        try:
            array = np.asarray(x)
            if array.dtype.kind not in "fiub" or not array.ndim:
                raise ValueError(f"{array.dtype} of shape {array.shape}")
            block = array if array.ndim == 1 and self._axis in (-1, 0) else np.moveaxis(array, self._axis, -1)
        except (ValueError, TypeError) as error:  # AxisError is a ValueError
            raise AudioError(f"samples must be real numbers with an axis {self._axis} of time: {error}") from error
        others = block.shape[:-1]
        if self._others is None:
            self._others = others
            if self._converter:
                before = -self._converter.begin(0)  # before the first sample there are zeros
                self._kept = [np.zeros(before, np.float32) for _ in range(math.prod(others))]
                self._origin = -before
        elif self._others != others:
            raise AudioError(f"a block has channels of shape {others}, the blocks before it {self._others}")
        rows = block.reshape(math.prod(others), block.shape[-1])
        if rows.dtype != np.float32:
            with np.errstate(over="ignore"):  # what is beyond float32's range becomes infinite
                rows = rows.astype(np.float32, order="C")
        return np.ascontiguousarray(rows, np.float32)

    def _shaped(self, channels: FloatArray) -> FloatArray:
        """Return `(channels, n)` with the blocks' axes."""
        if not self._others:
            only: FloatArray = channels[0]
            return only
        return np.ascontiguousarray(np.moveaxis(channels.reshape(*self._others, channels.shape[1]), -1, self._axis))

    def _finish(self, out: FloatArray) -> None:
        """Write as many units as `out` holds, with zeros after the last sample."""
        assert self._converter is not None
        n_unit = out.shape[1] // self._converter.n_out
        end = self._converter.begin(self._unit + n_unit - 1) + self._converter.reach
        self._convert(np.zeros((len(out), max(0, end - self._n_in)), np.float32), n_unit, out)

    def _convert(self, channels: FloatArray, n_unit: int, out: FloatArray) -> None:
        """Take samples in, and write the next units to the beginning of `out`."""
        assert self._converter is not None
        for i, samples in enumerate(channels):
            self._kept[i] = self._convert_channel(self._kept[i], samples, n_unit, out[i])
        self._unit += n_unit
        self._n_in += channels.shape[1]
        self._origin = self._converter.begin(self._unit)

    def _convert_channel(self, kept: FloatArray, samples: FloatArray, n_unit: int, out: FloatArray) -> FloatArray:
        """Write the next units' outputs of one channel; returns which samples to keep.

        Only the units that begin within the samples that were kept need them joined with the new ones; the others read
        these alone. Of few samples all are joined: a copy costs less than a second call.
        """
        assert self._converter is not None
        convert, start, boundary = self._converter, self._unit, self._origin + len(kept)
        few = len(samples) < FEW
        joined = n_unit if few else min(n_unit, convert.count(boundary - 1 + convert.reach) - start)
        middle, end = joined * convert.n_out, n_unit * convert.n_out
        if joined:
            missing = convert.begin(start + joined - 1) + convert.reach - boundary
            seam = np.concatenate((kept, samples[: max(0, missing)]))
            convert.run(seam, self._origin, start, joined, out[:middle])
        if n_unit > joined:
            convert.run(samples, boundary, start + joined, n_unit - joined, out[middle:end])
        begin = convert.begin(start + n_unit)
        if begin >= boundary:
            return samples[begin - boundary :].copy()
        return np.concatenate((kept[begin - self._origin :], samples))


def resample(x: npt.ArrayLike, rate_in: float, rate_out: float, *, axis: int = -1) -> FloatArray:
    """Resample samples along one axis, of length n to `ceil(n * rate_out / rate_in)`; returns C-contiguous float32.

    x holds real numbers, which are taken as they are (integers are not scaled); its other axes are channels, each
    resampled by itself. The rates are in Hz and need not be whole numbers; one may be at most 1024 times the other. The
    first output lies at the first input's time; before and after the recording there are zeros.

    The gain is 1 within 0.001 dB up to 0.91 of the lower rate's Nyquist frequency; from that frequency on, 100 dB and
    more are taken off. Raises AudioError for rates that are no numbers above 0 or too far apart, and for samples that
    are no real numbers.
    """
    return Resampler(rate_in, rate_out, axis=axis).whole(x)
