"""Samples from the caller: validated, scaled to float32, and reduced to the requested channels."""

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

# A float sample above this cannot be meant for a full scale of 1. Recordings with headroom and samples standardized to
# unit variance stay below it (the crest factor of speech is 4 to 20). Speech at int16's scale exceeds it, unless it is
# 60 dB below the largest int16 (32768 / 1000 = 33).
MAX_FLOAT_SAMPLE = 32.0

# Integers of these sizes in bytes that never exceed these values were made for a narrower type: at their own type's
# scale they are at least 96 dB below full scale, where even the noise of a 24-bit recording is louder.
NARROW_PEAK = {4: 2**15, 8: 2**31}

# Channels cancel each other out if the power of their mean is less than this part of their mean power. Uncorrelated
# channels leave 1/n of it; if only one of 64 channels has sound, 1/64 remains.
CANCELED_POWER = 1e-3
AUDIBLE_POWER = 2.0**-30  # one unit of 16-bit audio, squared; quieter audio may cancel without loss
POWER_WINDOW = 1 << 18  # samples over which powers are compared: 16 s at 16 kHz, 6 s at 44.1 kHz
MIN_POWER_WINDOW = 1 << 14  # samples, of the last, incomplete window


# ---- input types ----------------------------------------------------------------------------------------------------


def is_file_bytes(source: object) -> bool:
    """Return whether a source is the bytes of a file: bytes, a bytearray or a memoryview of single bytes."""
    if isinstance(source, bytes | bytearray):
        return True
    return isinstance(source, memoryview) and source.ndim == 1 and source.format in ("B", "b", "c")


def is_samples(source: object) -> bool:
    """Return whether a source is an array of all samples, rather than an iterable of blocks or a file.

    A list or tuple holds blocks if its first item is an array, and samples otherwise.
    """
    if isinstance(source, list | tuple):
        return not source or not _is_block(source[0])
    return _is_array_like(source) and not is_file_bytes(source)


def _is_array_like(value: object) -> bool:
    if isinstance(value, memoryview) or any(
        hasattr(value, name) for name in ("__array__", "__array_interface__", "__dlpack__", "detach")
    ):
        return True
    try:
        return not isinstance(value, bytes | bytearray) and bool(memoryview(value).format)  # type: ignore[arg-type]
    except TypeError:
        return False


def _is_block(value: object) -> bool:
    return not isinstance(value, np.generic) and _is_array_like(value) and getattr(value, "ndim", 1) > 0


def detached(value: Any) -> Any:
    """Return a tensor of torch as an array, also one that requires gradients; any other value as it is."""
    if not hasattr(value, "detach"):
        return value
    value = value.detach().cpu()
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":  # a type that NumPy lacks
        value = value.float()
    return value.numpy()


def as_array(samples: object, name: str) -> npt.NDArray[Any]:
    """Convert samples to an array of integers or floats without changing their dtype, and without copying if possible.

    Args:
        samples: An array, nested lists of numbers, a tensor, or an object that exports a buffer, `__array__` or
            `__dlpack__`.
        name: What the samples are called in error messages.

    Returns:
        An array `(n,)` or `(n, channels)`.

    Raises:
        AudioError: The samples have another shape, or are not real numbers.
    """
    if isinstance(samples, str | bytes | bytearray | Mapping):
        raise AudioError(f"{name}: samples must be an array or a list of numbers, not {type(samples).__name__}")
    try:
        samples = detached(samples)
        is_only_dlpack = hasattr(samples, "__dlpack__") and not hasattr(samples, "__array__")
        array = np.from_dlpack(cast(Any, samples)) if is_only_dlpack else np.asarray(samples)
    except Exception as error:  # foreign code: a tensor on another device, rows of unequal length, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise AudioError(
            f"{name}: a {type(samples).__name__} that cannot be converted to an array: {reason}"
        ) from error
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu":
        raise AudioError(f"{name}: samples must be real numbers (n,) or (n, channels), not {array.dtype} {array.shape}")
    if array.ndim == 2:
        rows, channels = array.shape
        if channels > MAX_CHANNELS >= rows:
            raise AudioError(
                f"{name}: an array of shape {array.shape} would have {channels} channels; rows are samples and columns "
                "are channels, so transpose it"
            )
        if not 1 <= channels <= MAX_CHANNELS:
            raise AudioError(f"{name}: {channels} channels; 1 to {MAX_CHANNELS} can be read")
    return array


def scale_to_float32(samples: npt.NDArray[Any]) -> FloatArray:
    """Convert samples to float32 with full scale at 1.

    Integers are divided by the largest magnitude of their dtype; unsigned ones are centered first.
    """
    if samples.dtype.kind in "iu":
        info = np.iinfo(samples.dtype)
        middle = 0 if samples.dtype.kind == "i" else (int(info.max) + 1) // 2
        return (samples.astype(np.float32) - middle) / np.float32(int(info.max) + 1 - middle)
    with np.errstate(over="ignore"):  # a float64 beyond float32's range becomes infinite, which the caller rejects
        return samples.astype(np.float32, copy=False)


def as_mono(samples: object) -> FloatArray:
    """Return samples `(n,)` as float32, with their values. Raises AudioError if they are not numbers `(n,)`."""
    if isinstance(samples, np.ndarray) and samples.dtype == np.float32 and samples.ndim == 1:
        return samples
    array = as_array(samples, "the samples")
    if array.ndim != 1:
        raise AudioError(f"the samples: one channel (n,) is needed, not an array of shape {array.shape}")
    return array.astype(np.float32)


# ---- channels -------------------------------------------------------------------------------------------------------


def _mix_down(samples: FloatArray) -> FloatArray:
    """Return the mean of the channels of `(n, channels)`."""
    n = samples.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        if n <= 2:  # the same numbers as `mean`, several times as fast
            mixed: FloatArray = samples[:, 0] if n == 1 else (samples[:, 0] + samples[:, 1]) * np.float32(0.5)
        else:
            mixed = samples.mean(axis=1, dtype=np.float32)
    return mixed


class ChannelSelector:
    """Converts the blocks of one recording to float32 samples of the requested channels, and checks the samples."""

    def __init__(self, name: str, channel: Channel, diagnostics: Diagnostics) -> None:
        """Set up a selector.

        Args:
            name: Name of the recording in error messages.
            channel: A channel's number, "mix" for the mean, or "each" for all channels.
            diagnostics: Where problems are reported.
        """
        self.name, self.channel, self.diagnostics = name, channel, diagnostics
        self.n_samples = 0  # per channel, so far
        self.n_channels = 0  # of the first block
        self._peak = 0.0  # of the output
        self._dtype: np.dtype[Any] | None = None  # common to all blocks, or None
        # since powers were last compared: samples, and the sums of squares of the channels and of their mean
        self._n_power, self._power, self._mixed_power = 0, 0.0, 0.0

    def push(self, block: npt.NDArray[Any]) -> FloatArray:
        """Convert the next block.

        Args:
            block: `(n,)` or `(n, channels)`, as `as_array` returns it.

        Returns:
            float32 samples `(n,)`, or `(n, channels)` for "each".

        Raises:
            AudioError: The channel does not exist, or a sample is not finite.
        """
        if block.ndim == 1:
            block = block[:, None]
        here = block.shape[1]
        n_channels = self.n_channels or here
        if self.channel == EACH:
            samples = np.broadcast_to(scale_to_float32(block), (len(block), self._same_channels(here, n_channels)))
        elif isinstance(self.channel, int):
            # a block with one channel supplies every channel
            if self.channel >= (n_channels if here == 1 else here):
                raise self._missing_channel(here)
            samples = scale_to_float32(block[:, min(self.channel, here - 1)])
        else:
            whole = scale_to_float32(block)
            samples = _mix_down(whole)
        self._check_range(samples)
        if self.channel == MIX and here > 1:
            self._add_power(whole, samples)
        if not self.n_channels:
            self.n_channels, self._dtype = here, block.dtype
        elif block.dtype != self._dtype:
            self._dtype = None
        self.n_samples += len(samples)
        return samples

    def _same_channels(self, here: int, n_channels: int) -> int:
        if here in (1, n_channels):
            return n_channels
        raise AudioError(
            f"{self.name}: {n_channels} channels become {here} at sample {self.n_samples}; "
            "channel='each' needs the same number throughout"
        )

    def _missing_channel(self, n: int) -> AudioError:
        have = "1 channel, number 0" if n == 1 else f"{n} channels, numbers 0 to {n - 1}"
        at = f" from sample {self.n_samples} on" if self.n_samples else ""
        return AudioError(f"{self.name}: there is no channel {self.channel}; it has {have}{at}")

    def _check_range(self, samples: FloatArray) -> None:
        if not samples.size:
            return
        peak = float(max(samples.max(), -samples.min()))  # NaN if any sample is NaN
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

    def _add_power(self, channels: FloatArray, mixed: FloatArray) -> None:
        """Accumulate the power of the channels `(n, channels)` and of their mean `(n,)`, window by window."""
        for begin in range(0, len(mixed), POWER_WINDOW):
            part, mixed_part = channels[begin : begin + POWER_WINDOW].reshape(-1), mixed[begin : begin + POWER_WINDOW]
            with np.errstate(over="ignore", invalid="ignore"):
                self._power += float(np.dot(part, part)) / channels.shape[1]
                self._mixed_power += float(np.dot(mixed_part, mixed_part))
            self._n_power += len(mixed_part)
            if self._n_power >= POWER_WINDOW:
                self._check_cancellation()

    def _check_cancellation(self) -> None:
        """Report whether the channels have canceled each other out since the last call."""
        is_audible = self._power > AUDIBLE_POWER * self._n_power
        if is_audible and self._mixed_power < CANCELED_POWER * self._power:
            self.diagnostics.report(
                "cancelled",
                f"{self.name}: its channels cancel each other out, so that their mean is silent; "
                "choose one, as with channel=0",
            )
        self._n_power, self._power, self._mixed_power = 0, 0.0, 0.0

    def finish(self) -> None:
        """Report problems that only the whole recording shows; call it after the last block."""
        if self._n_power >= MIN_POWER_WINDOW or 0 < self._n_power == self.n_samples:
            self._check_cancellation()
        dtype = self._dtype
        if dtype is None or dtype.kind != "i" or dtype.itemsize not in NARROW_PEAK:
            return
        if 0 < self._peak <= NARROW_PEAK[dtype.itemsize] / 2.0 ** (8 * dtype.itemsize - 1):
            self.diagnostics.report(
                "narrow",
                f"{self.name}: {dtype.name} samples of at most {self._peak:.1e} of full scale are nearly silent; "
                "convert them to int16, or divide them by their own full scale",
            )
