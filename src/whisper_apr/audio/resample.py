"""Sampling rate conversion with a linear-phase polyphase FIR low-pass filter.

One prototype filter serves all ratios. Its passband extends to 0.91 of the lower rate's Nyquist frequency, with a
ripple of 0.001 dB (up to 0.36 of the Nyquist frequency, the gain is 1 within 4e-7). Its stopband begins at the Nyquist
frequency, with an attenuation of 100 dB or more. It spans 124 samples of the lower rate.

A ratio of small integers has few phases, each with its own filter in the bank. For any other ratio the kernel
interpolates between the filters of a table of phases, so that the cost depends on the number of samples but not on the
ratio.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from numbers import Integral, Real
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import AudioError
from ..option_values import parse, shown, whole

if TYPE_CHECKING:
    from fractions import Fraction

FloatArray = simd.FloatArray

FILTER_LENGTH = 124  # samples of the lower rate; LENGTH in tests/make_lowpass.py, which designs the filter
MAX_RATE = 1e12  # Hz, far above any recording's
AXIS = whole(-64, 63)  # NumPy's arrays have at most 64 dimensions
MAX_RATIO = 1024  # of the two rates; for a larger one, a filter would be longer than many recordings
MAX_BANK_SIZE = 1 << 20  # coefficients in a bank with a filter for each phase
# Phases of the table per sample of the lower rate. Linear interpolation leaves images of a frequency f (in cycles per
# sample of that rate) at (f / TABLE_PHASES)^2 of its level: -119 dB at the edge of the passband, -156 dB at a tenth of
# it.
TABLE_PHASES = 512
# For rates that are not integers: the ratio's error is below 2^-48, a sample in 500 years at 16 kHz.
MAX_DENOMINATOR = 1 << 24
BLOCK_OUTPUTS = 1 << 16  # outputs whose positions are computed at a time
MAX_JOINED = 1 << 14  # samples in a block that is copied whole, because a copy costs less than a second kernel call


def _output_length(n: int, up: int, down: int) -> int:
    """Return the output length for n samples: the number of outputs that begin before the last sample's end."""
    return -(-n * up // down)


def _as_fraction(value: float, name: str) -> "Fraction":
    from fractions import Fraction  # imported here, as it imports decimal

    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value <= MAX_RATE:
        raise AudioError(f"{name} must be a number of Hz above 0 and at most {MAX_RATE:g}, not {shown(value)}")
    return Fraction(int(value) if isinstance(value, Integral) else float(value))


def _ratio(rate_in: float, rate_out: float) -> tuple[int, int]:
    """Return the ratio of the output rate to the input rate as coprime integers `(up, down)`."""
    ratio = _as_fraction(rate_out, "rate_out") / _as_fraction(rate_in, "rate_in")
    if not 1 <= max(ratio, 1 / ratio) <= MAX_RATIO:
        raise AudioError(
            f"cannot resample from {rate_in} Hz to {rate_out} Hz: one rate may be at most {MAX_RATIO} times the other"
        )
    ratio = ratio.limit_denominator(MAX_DENOMINATOR)
    return ratio.numerator, ratio.denominator


# ---- the filter -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _lowpass_coefficients() -> npt.NDArray[np.float64]:
    """Return the coefficients c of the prototype filter, which tests/make_lowpass.py designs.

    Its impulse response is h(t) = sum_k c[k] cos(2 pi k t / FILTER_LENGTH) for |t| <= FILTER_LENGTH / 2, otherwise
    zero.
    """
    with files("whisper_apr").joinpath("assets", "lowpass.npy").open("rb") as file:
        return np.asarray(np.load(file, allow_pickle=False), np.float64)


def _half_length(up: int, down: int) -> int:
    """Return half of the filter's length in input samples."""
    return math.ceil(FILTER_LENGTH / 2 / min(1.0, up / down))


def _filters(up: int, down: int, n_phase: int) -> FloatArray:
    """Return the filters `(n_phase + 1, n_tap)` for outputs at 0, 1 / n_phase, ..., 1 input samples after a sample.

    The first tap is `n_tap / 2 - 1` samples before that sample. Each filter is normalized to a sum of 1, so that a
    constant passes unchanged, without images.
    """
    scale = min(1.0, up / down)  # from input samples to samples of the lower rate
    half = _half_length(up, down)
    taps = (np.arange(2 * half) - (half - 1)) * scale
    phases = np.arange(n_phase + 1) / n_phase * scale
    c = _lowpass_coefficients()
    angles = 2 * np.pi / FILTER_LENGTH * np.arange(len(c))
    # cos(a - b) = cos a cos b + sin a sin b, so that the sum over k becomes two matrix products
    by_phase, by_tap = np.outer(phases, angles), np.outer(angles, taps)
    filters = (np.cos(by_phase) * c) @ np.cos(by_tap) + (np.sin(by_phase) * c) @ np.sin(by_tap)
    filters[np.abs(taps - phases[:, None]) > FILTER_LENGTH / 2] = 0
    filters /= filters.sum(axis=1, keepdims=True)
    return filters.astype(np.float32)


class _PolyphaseFilter(Protocol):
    """Computes outputs in units of `n_out`: unit u reads `reach` samples from sample `begin(u)` on."""

    @property
    def n_out(self) -> int:
        """Outputs per unit."""

    @property
    def reach(self) -> int:
        """Samples that a unit reads."""

    def begin(self, unit: int) -> int:
        """Return the first sample that a unit reads; negative if it is in the zeros before the recording."""

    def count(self, end: int) -> int:
        """Return the number of units, from the first on, that read only samples before `end`."""

    def run(self, x: FloatArray, origin: int, unit: int, n_unit: int, out: FloatArray) -> None:
        """Write the outputs of units `unit` to `unit + n_unit` to `out`; x begins at sample `origin`."""


@dataclass(frozen=True, eq=False)
class _ExactPhases:
    """A filter for each phase; a unit is a group of `simd.polyphase`."""

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
class _InterpolatedPhases:
    """Filters interpolated from a table of phases; a unit is one output."""

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
        # begin(u) + reach <= end if and only if u * down // up < limit
        limit = end + self.half - self.reach
        return max(0, (limit * self.up - 1) // self.down + 1)

    def run(self, x: FloatArray, origin: int, unit: int, n_unit: int, out: FloatArray) -> None:
        for at in range(0, n_unit, BLOCK_OUTPUTS):
            n = min(BLOCK_OUTPUTS, n_unit - at)
            first, rest = divmod((unit + at) * self.down, self.up)
            step, phase = np.divmod(rest + self.down * np.arange(n, dtype=np.int64), self.up)
            begins = step + (first - (self.half - 1) - origin)
            phases = (phase * (self.table.n_phase / self.up)).astype(np.float32)
            simd.interpolate(x, self.table, begins, phases, out=out[at : at + n])


@lru_cache(maxsize=4)
def _make_filter(up: int, down: int) -> _PolyphaseFilter:
    half = _half_length(up, down)
    if simd.FilterBank.panel_size(up, 2 * half, down) <= MAX_BANK_SIZE:
        return _ExactPhases(simd.FilterBank.from_filters(_filters(up, down, up)[:-1], down), half)
    n_phase = math.ceil(TABLE_PHASES * min(1.0, up / down))
    return _InterpolatedPhases(simd.PhaseTable(_filters(up, down, n_phase)), half, up, down)


# ---- public names ---------------------------------------------------------------------------------------------------


class Resampler:
    """Resamples a stream in blocks of any size.

    Everything that `push` and `finish` return, concatenated, equals `resample` of the whole, bit for bit.
    """

    def __init__(self, rate_in: float, rate_out: float, *, axis: int = -1) -> None:
        """Set up a stream.

        Args:
            rate_in: The input's sampling rate in Hz; it need not be an integer.
            rate_out: The output's sampling rate in Hz; one rate may be at most 1024 times the other.
            axis: The time axis of the blocks.

        Raises:
            AudioError: A rate is not a positive number, or the rates are too far apart.
            OptionError: `axis` is not a whole number.
        """
        self._up, self._down = _ratio(rate_in, rate_out)
        self._filter = _make_filter(self._up, self._down) if self._up != self._down else None
        self._axis: int = parse("axis", AXIS, axis)
        self._other_axes: tuple[int, ...] | None = None  # the blocks' shape without the time axis
        self._kept: list[FloatArray] = []  # for each channel, the samples from number _origin on
        self._origin = 0
        self._n_in = 0
        self._unit = 0  # the next one to compute

    def push(self, x: npt.ArrayLike) -> FloatArray:
        """Append a block and return the outputs that no later sample can change.

        If the ratio of the rates is one of small integers, outputs come in groups (of 16 for 48 to 16 kHz, of 160 for
        44.1 to 16 kHz).

        Args:
            x: Real numbers, which are not scaled. All axes but the time axis must be as in the first block.

        Returns:
            A float32 array with the shape of `x`, except along the time axis.

        Raises:
            AudioError: `x` is not such a block.
        """
        channels = self._as_channels(x)
        if self._filter is None:
            return self._restore_axes(channels)
        n_unit = self._filter.count(self._n_in + channels.shape[1]) - self._unit
        out = np.empty((len(channels), n_unit * self._filter.n_out), np.float32)
        self._filter_block(channels, n_unit, out)
        return self._restore_axes(out)

    def finish(self) -> FloatArray:
        """Return the remaining outputs, as if zeros followed the last sample.

        A stream without blocks has one channel.
        """
        if self._other_axes is None:
            self._as_channels(np.zeros(0, np.float32))
        n_channel = math.prod(self._other_axes or ())
        if self._filter is None:
            return self._restore_axes(np.empty((n_channel, 0), np.float32))
        left = _output_length(self._n_in, self._up, self._down) - self._unit * self._filter.n_out
        out = np.empty((n_channel, -(-left // self._filter.n_out) * self._filter.n_out), np.float32)
        self._filter_rest(out)
        return self._restore_axes(out[:, :left])

    def whole(self, x: npt.ArrayLike) -> FloatArray:
        """Return the outputs for a recording in a single block, as `push` and `finish` would."""
        channels = self._as_channels(x)
        if self._filter is None:
            return self._restore_axes(channels)
        length = _output_length(channels.shape[1], self._up, self._down)
        out = np.empty((len(channels), -(-length // self._filter.n_out) * self._filter.n_out), np.float32)
        n_unit = self._filter.count(channels.shape[1])
        self._filter_block(channels, n_unit, out)
        self._filter_rest(out[:, n_unit * self._filter.n_out :])
        return self._restore_axes(out[:, :length])

    def _as_channels(self, x: npt.ArrayLike) -> FloatArray:
        """Return a block as `(channels, n)`."""
        try:
            array = np.asarray(x)
            if array.dtype.kind not in "fiub" or not array.ndim:
                raise ValueError(f"{array.dtype} of shape {array.shape}")
            block = array if array.ndim == 1 and self._axis in (-1, 0) else np.moveaxis(array, self._axis, -1)
        except (ValueError, TypeError) as error:  # AxisError is a ValueError
            raise AudioError(f"samples must be real numbers with a time axis {self._axis}: {error}") from error
        other_axes = block.shape[:-1]
        if self._other_axes is None:
            self._other_axes = other_axes
            if self._filter:
                before = -self._filter.begin(0)  # zeros precede the first sample
                self._kept = [np.zeros(before, np.float32) for _ in range(math.prod(other_axes))]
                self._origin = -before
        elif self._other_axes != other_axes:
            raise AudioError(
                f"a block has channels of shape {other_axes}, but the blocks before it had {self._other_axes}"
            )
        rows = block.reshape(math.prod(other_axes), block.shape[-1])
        if rows.dtype != np.float32:
            with np.errstate(over="ignore"):  # values beyond float32's range become infinite
                rows = rows.astype(np.float32, order="C")
        return np.ascontiguousarray(rows, np.float32)

    def _restore_axes(self, channels: FloatArray) -> FloatArray:
        """Return `(channels, n)` in the blocks' original layout."""
        if not self._other_axes:
            only: FloatArray = channels[0]
            return only
        return np.ascontiguousarray(np.moveaxis(channels.reshape(*self._other_axes, channels.shape[1]), -1, self._axis))

    def _filter_rest(self, out: FloatArray) -> None:
        """Write as many units as `out` holds, reading zeros after the last sample."""
        assert self._filter is not None
        n_unit = out.shape[1] // self._filter.n_out
        end = self._filter.begin(self._unit + n_unit - 1) + self._filter.reach
        self._filter_block(np.zeros((len(out), max(0, end - self._n_in)), np.float32), n_unit, out)

    def _filter_block(self, channels: FloatArray, n_unit: int, out: FloatArray) -> None:
        """Append samples `(channels, n)`, and write the next `n_unit` units to the beginning of `out`."""
        assert self._filter is not None
        for i, samples in enumerate(channels):
            self._kept[i] = self._filter_channel(self._kept[i], samples, n_unit, out[i])
        self._unit += n_unit
        self._n_in += channels.shape[1]
        self._origin = self._filter.begin(self._unit)

    def _filter_channel(self, kept: FloatArray, samples: FloatArray, n_unit: int, out: FloatArray) -> FloatArray:
        """Write the next units' outputs for one channel, and return the samples to keep.

        Only the units that begin within the kept samples need these joined with the new ones; the others read the new
        samples in place. A short block is joined whole.
        """
        assert self._filter is not None
        polyphase, start, boundary = self._filter, self._unit, self._origin + len(kept)
        is_short = len(samples) < MAX_JOINED
        joined = n_unit if is_short else min(n_unit, polyphase.count(boundary - 1 + polyphase.reach) - start)
        middle, end = joined * polyphase.n_out, n_unit * polyphase.n_out
        if joined:
            missing = polyphase.begin(start + joined - 1) + polyphase.reach - boundary
            seam = np.concatenate((kept, samples[: max(0, missing)]))
            polyphase.run(seam, self._origin, start, joined, out[:middle])
        if n_unit > joined:
            polyphase.run(samples, boundary, start + joined, n_unit - joined, out[middle:end])
        begin = polyphase.begin(start + n_unit)
        if begin >= boundary:
            return samples[begin - boundary :].copy()
        return np.concatenate((kept[begin - self._origin :], samples))


def resample(x: npt.ArrayLike, rate_in: float, rate_out: float, *, axis: int = -1) -> FloatArray:
    """Resample an array along one axis with a linear-phase polyphase FIR filter.

    The passband extends to 0.91 of the lower rate's Nyquist frequency, with a ripple of 0.001 dB; the stopband begins
    at the Nyquist frequency, with an attenuation of 100 dB or more. There is no delay: the first output is at the time
    of the first input. The recording is assumed to be surrounded by zeros.

    Args:
        x: Real numbers, which are not scaled. Axes other than `axis` are channels, each resampled separately.
        rate_in: Sampling rate of `x` in Hz; it need not be an integer.
        rate_out: Sampling rate of the result in Hz; one rate may be at most 1024 times the other.
        axis: The time axis.

    Returns:
        A C-contiguous float32 array of length `ceil(n * rate_out / rate_in)` along `axis`, where n is the length of
        `x`.

    Raises:
        AudioError: A rate is not a positive number, the rates are too far apart, or `x` does not hold real numbers.
        OptionError: `axis` is not a whole number.
    """
    return Resampler(rate_in, rate_out, axis=axis).whole(x)
