"""Samples as callers have them: checked, scaled to float32, and reduced to the channels that were asked for."""

from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import AudioError
from ..option_values import Kind, choice, either, whole
from .blocks import MAX_CHANNELS
from .diagnostics import Diagnostics

FloatArray = simd.FloatArray
Channel = int | Literal["mix", "each"]

MIX: Final = "mix"
EACH: Final = "each"

CHANNEL = Kind("'mix', 'each' or the number of a channel, counted from 0", either(choice(MIX, EACH), whole(0)).convert)

# A float sample above this is not meant for a full scale of 1. Recordings with headroom and samples that were standardised to unit
# variance stay below it (the crest factor of speech is 4 to 20), and speech at int16's scale exceeds it unless it is 60 dB below
# the largest int16 (32768 / 1000 = 33).
MAX_FLOAT_SAMPLE = 32.0

# Integer samples of these types that never exceed these values were made for a narrower type: at their own type's scale they are
# 96 dB and more below its largest value, which a recording of 24 bits does not reach in its noise.
NARROW_PEAK = {4: 2**15, 8: 2**31}

# Channels cancel each other out where the power of their mean is this small a part of their mean power. Unrelated channels leave
# 1/n of it, and one of 64 channels that alone has sound leaves 1/64.
CANCELLED_POWER = 1e-3
AUDIBLE_POWER = 2.0**-30  # that of the last of 16 bits: cancellation below it is no loss
STRETCH = 1 << 18  # samples for which the powers are compared: 16 s at 16 kHz, 6 s at 44.1 kHz
SHORTEST_STRETCH = 1 << 14  # of the samples that are left at the end


# ---- forms of samples -----------------------------------------------------------------------------------------------


def is_file_bytes(source: object) -> bool:
    """Return whether a source holds the bytes of a file: bytes, a bytearray or a memoryview of single bytes."""
    if isinstance(source, bytes | bytearray):
        return True
    return isinstance(source, memoryview) and source.ndim == 1 and source.format in ("B", "b", "c")


def is_samples(source: object) -> bool:
    """Return whether a source is a whole recording's samples, rather than an iterable of its blocks or a file.

    A list or tuple holds blocks where its first item is an array, and samples otherwise.
    """
    if isinstance(source, list | tuple):
        return not source or not _is_block(source[0])
    return _is_array_like(source) and not is_file_bytes(source)


def _is_array_like(value: object) -> bool:
    if isinstance(value, memoryview) or any(
        hasattr(value, name) for name in ("__array__", "__array_interface__", "__dlpack__")
    ):
        return True
    try:
        return not isinstance(value, bytes | bytearray) and bool(memoryview(value).format)  # type: ignore[arg-type]
    except TypeError:
        return False


def _is_block(value: object) -> bool:
    return not isinstance(value, np.generic) and _is_array_like(value) and getattr(value, "ndim", 1) > 0


def as_array(samples: object, name: str) -> npt.NDArray[Any]:
    """Return samples as an array of integers or floats, `(n,)` or `(n, channels)`, in their own type and without copying.

    Takes arrays, nested lists of numbers, and objects that export a buffer, `__array__` or `__dlpack__`. Raises AudioError, beginning
    with `name`, for everything else: other shapes, complex numbers, booleans, text, objects.
    """
    if isinstance(samples, str | bytes | bytearray | Mapping):
        raise AudioError(f"{name}: samples must be an array or a list of numbers, not {type(samples).__name__}")
    try:
        is_only_dlpack = hasattr(samples, "__dlpack__") and not hasattr(samples, "__array__")
        array = np.from_dlpack(cast(Any, samples)) if is_only_dlpack else np.asarray(samples)
    except Exception as error:  # of foreign code: whatever a tensor on another device or a list of unequal rows raises
        reason = " ".join(str(error).split()) or type(error).__name__
        raise AudioError(f"{name}: a {type(samples).__name__} that cannot become an array: {reason}") from error
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu":
        raise AudioError(f"{name}: samples must be real numbers (n,) or (n, channels), not {array.dtype} {array.shape}")
    if array.ndim == 2:
        rows, channels = array.shape
        if channels > MAX_CHANNELS >= rows:
            raise AudioError(
                f"{name}: an array of shape {array.shape} would have {channels} channels; rows are samples and columns channels, "
                "so transpose it"
            )
        if not 1 <= channels <= MAX_CHANNELS:
            raise AudioError(f"{name}: {channels} channels; 1 to {MAX_CHANNELS} can be read")
    return array


def scaled(samples: npt.NDArray[Any]) -> FloatArray:
    """Return samples as float32: integers divided by their type's largest magnitude, unsigned ones centred first."""
    if samples.dtype.kind in "iu":
        info = np.iinfo(samples.dtype)
        middle = 0 if samples.dtype.kind == "i" else (int(info.max) + 1) // 2
        return (samples.astype(np.float32) - middle) / np.float32(int(info.max) + 1 - middle)
    with np.errstate(over="ignore"):  # a float64 may be too large: it becomes infinite, and is refused as such
        return samples.astype(np.float32, copy=False)


# ---- a recording's blocks -------------------------------------------------------------------------------------------


def _mean(samples: FloatArray) -> FloatArray:
    """Average the channels of `(n, channels)`."""
    n = samples.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        if n <= 2:  # the numbers that `mean` gives, several times as fast
            mixed: FloatArray = samples[:, 0] if n == 1 else (samples[:, 0] + samples[:, 1]) * np.float32(0.5)
        else:
            mixed = samples.mean(axis=1, dtype=np.float32)
    return mixed


class ChannelSelector:
    """Reduces the blocks of one recording, in their order, to float32 samples of the channels that were asked for."""

    def __init__(self, name: str, channel: Channel, diagnostics: Diagnostics) -> None:
        """`name` is what messages call the recording. `channel` is an index, "mix" (the mean) or "each" (all of them)."""
        self.name, self.channel, self.diagnostics = name, channel, diagnostics
        self.n_samples = 0  # so far, of each channel
        self.n_channels = 0  # of the first block
        self._peak = 0.0  # of the output
        self._dtype: np.dtype[Any] | None = None  # of all blocks, where they have the same
        self._stretch = 0  # samples since powers were last compared, and the sums of squares since then:
        self._power, self._mixed_power = 0.0, 0.0

    def push(self, block: npt.NDArray[Any]) -> FloatArray:
        """Return the next block, `(n,)` or `(n, channels)` as `as_array` gives it, as float32 `(n,)`; for "each" `(n, channels)`.

        Raises AudioError for a channel that is not there and for samples that are not finite.
        """
        if block.ndim == 1:
            block = block[:, None]
        here = block.shape[1]
        n_channels = self.n_channels or here
        if self.channel == EACH:
            samples = np.broadcast_to(scaled(block), (len(block), self._same(here, n_channels)))
        elif isinstance(self.channel, int):
            # a block of one channel is every channel's
            if self.channel >= (n_channels if here == 1 else here):
                raise self._missing(here)
            samples = scaled(block[:, min(self.channel, here - 1)])
        else:
            whole = scaled(block)
            samples = _mean(whole)
        self._check(samples)
        if self.channel == MIX and here > 1:
            self._compare(whole, samples)
        if not self.n_channels:
            self.n_channels, self._dtype = here, block.dtype
        elif block.dtype != self._dtype:
            self._dtype = None
        self.n_samples += len(samples)
        return samples

    def _same(self, here: int, n_channels: int) -> int:
        if here in (1, n_channels):
            return n_channels
        raise AudioError(
            f"{self.name}: {n_channels} channels become {here} at sample {self.n_samples}; "
            "channel='each' needs the same number throughout"
        )

    def _missing(self, n: int) -> AudioError:
        have = "1 channel, number 0" if n == 1 else f"{n} channels, numbers 0 to {n - 1}"
        at = f" from sample {self.n_samples} on" if self.n_samples else ""
        return AudioError(f"{self.name}: there is no channel {self.channel}; it has {have}{at}")

    def _check(self, samples: FloatArray) -> None:
        if not samples.size:
            return
        peak = float(max(samples.max(), -samples.min()))  # NaN where one sample is
        if not np.isfinite(peak):
            bad = np.flatnonzero(~np.isfinite(samples.reshape(len(samples), -1)).all(axis=1))
            raise AudioError(
                f"{self.name}: sample {self.n_samples + bad[0]} is not a finite number; the recording is damaged"
            )
        self._peak = max(self._peak, peak)
        if peak > MAX_FLOAT_SAMPLE:
            self.diagnostics.report(
                "scale",
                f"{self.name}: float samples as large as {peak:.0f}, where full scale is 1; "
                "divide samples at int16's scale by 32768",
            )

    def _compare(self, whole: FloatArray, mixed: FloatArray) -> None:
        for begin in range(0, len(mixed), STRETCH):
            part, mixed_part = whole[begin : begin + STRETCH].reshape(-1), mixed[begin : begin + STRETCH]
            with np.errstate(over="ignore", invalid="ignore"):
                self._power += float(np.dot(part, part)) / whole.shape[1]
                self._mixed_power += float(np.dot(mixed_part, mixed_part))
            self._stretch += len(mixed_part)
            if self._stretch >= STRETCH:
                self._judge()

    def _judge(self) -> None:
        """Tell where channels have cancelled each other out since the last call."""
        is_audible = self._power > AUDIBLE_POWER * self._stretch
        if is_audible and self._mixed_power < CANCELLED_POWER * self._power:
            self.diagnostics.report(
                "cancelled",
                f"{self.name}: its channels cancel each other out, so that their mean is silent; choose one, as with channel=0",
            )
        self._stretch, self._power, self._mixed_power = 0, 0.0, 0.0

    def finish(self) -> None:
        """Tell what only the whole recording shows. Nothing may be pushed after it."""
        if self._stretch >= SHORTEST_STRETCH or 0 < self._stretch == self.n_samples:
            self._judge()
        dtype = self._dtype
        if dtype is None or dtype.kind != "i" or dtype.itemsize not in NARROW_PEAK:
            return
        if 0 < self._peak <= NARROW_PEAK[dtype.itemsize] / 2.0 ** (8 * dtype.itemsize - 1):
            self.diagnostics.report(
                "narrow",
                f"{self.name}: {dtype.name} samples no larger than {self._peak:.1e} of that type's largest, which is nearly silent; "
                "convert them to int16, or divide them by their own full scale",
            )
