"""Signal processing: spectra, mel bands, resampling filters, a median filter, and dynamic time warping."""

import numpy as np
import numpy.typing as npt

from . import dispatch
from .checks import FloatArray, as_float32, as_index, expect, expect_array, expect_type, result_array
from .filters import FilterBank, PhaseTable
from .layout import PANEL


def power_spectrum(audio: npt.ArrayLike, window: FloatArray, hop: int) -> FloatArray:
    """Compute `|FFT|^2` of the windowed frames of a signal.

    Frame `f` starts at sample `f * hop`. The signal is not padded; samples after the last whole frame are ignored.

    Args:
        audio: `(n_samples,)`, at least as long as the window.
        window: `(n_fft,)`; n_fft must be even and at least 2.
        hop: Samples from the start of one frame to the start of the next, at least 1.

    Returns:
        `(n_fft // 2 + 1, n_frames)`, where `n_frames = 1 + (n_samples - n_fft) // hop`.

    Raises:
        TypeError: An argument is not an array of real numbers, or hop is not an integer.
        ValueError: A length or hop is out of range, or an array does not have one dimension.
    """
    x, w = as_float32(audio, "audio", 1), as_float32(window, "window", 1)
    expect(len(w) >= 2 and len(w) % 2 == 0, f"the window's length must be even and at least 2, not {len(w)}")
    hop = as_index(hop, "hop", 1)
    expect(len(x) >= len(w), f"audio ({len(x)} samples) must not be shorter than the window ({len(w)})")
    out = np.empty((len(w) // 2 + 1, 1 + (len(x) - len(w)) // hop), np.float32)
    dispatch.impl.power_spectrum(x, w, hop, out)
    return out


def mel_project(power: npt.ArrayLike, filters: FloatArray) -> FloatArray:
    """Sum a power spectrum into mel bands: `filters @ power`.

    Args:
        power: `(n_freq, n_frames)`.
        filters: `(n_mels, n_freq)`. Compiled kernels skip the zeros at both ends of each row.

    Returns:
        `(n_mels, n_frames)`.

    Raises:
        TypeError: An argument is not an array of real numbers.
        ValueError: An argument is not a matrix, or the shapes do not fit.
    """
    p, f = as_float32(power, "power", 2), as_float32(filters, "filters", 2)
    expect(f.shape[1] == p.shape[0], f"filters {f.shape} do not fit a spectrum of shape {p.shape}")
    out = np.empty((f.shape[0], p.shape[1]), np.float32)
    if out.size:
        dispatch.impl.mel_project(p, f, out)
    return out


def median_filter(x: npt.ArrayLike, width: int) -> FloatArray:
    """Replace each element by the median of the `width` elements around it, along the last axis.

    The ends are padded by reflection (`np.pad(..., mode="reflect")`), as in openai-whisper.

    Args:
        x: `(..., n)`.
        width: An odd number from 1 to 63.

    Returns:
        An array of the shape of x. A NaN counts as infinity. If n is at most `width // 2`, which is too short to
            reflect, the elements are returned unchanged.

    Raises:
        TypeError: x is not an array of real numbers, or width is not an integer.
        ValueError: x has no dimensions, or width is even or out of range.
    """
    a = as_float32(x, "x")
    expect(a.ndim >= 1, "x must have at least one dimension")
    width = as_index(width, "width", 1, 63)
    expect(width % 2 == 1, f"width must be odd, not {width}")
    half = width // 2
    if a.shape[-1] <= half:
        return a
    padded = np.pad(a, [(0, 0)] * (a.ndim - 1) + [(half, half)], mode="reflect")
    out = np.empty_like(a)
    if a.size:
        dispatch.impl.median(padded.reshape(-1, padded.shape[-1]), width, out.reshape(-1, a.shape[-1]))
    return out


def dtw(cost: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Find the cheapest path through a cost matrix, from the first corner to the last (dynamic time warping).

    A step advances one row, one column, or both. As in openai-whisper, the path advances one column unless another
    step is strictly cheaper than the two alternatives.

    Args:
        cost: `(n, m)`, neither of which may be 0.

    Returns:
        Two int64 arrays of the same length: the rows and the columns of the path's elements.

    Raises:
        TypeError: cost is not an array of real numbers.
        ValueError: cost is not a matrix, or is empty.
    """
    x = as_float32(cost, "cost", 2)
    n, m = x.shape
    expect(n > 0 and m > 0, f"cost must have at least one row and one column, not shape {x.shape}")
    trace = np.empty((n, m), np.int8)
    dispatch.impl.dtw(x, np.empty(n + 1, np.float32), trace)
    i, j = n - 1, m - 1
    rows, columns = [i], [j]
    while i or j:
        step = 2 if i == 0 else 1 if j == 0 else trace[i, j]
        i -= step != 2
        j -= step != 1
        rows.append(i)
        columns.append(j)
    return np.array(rows[::-1]), np.array(columns[::-1])


def polyphase(x: npt.ArrayLike, bank: FilterBank, n_group: int, *, out: FloatArray | None = None) -> FloatArray:
    """Resample a signal by a rational ratio `up / down`.

    `out[n] = sum over t of x[i + t] * filters[p, t]`, where `i, p = divmod(n * down, up)` and `filters` is what
    `FilterBank.from_filters` packed. Outputs are computed in groups of `bank.n_out`, which start `bank.n_in` samples
    apart. An output does not depend on the other outputs, so a signal can be resampled piecewise.

    Args:
        x: `(n_samples,)`, at least `(n_group - 1) * bank.n_in + bank.reach` samples unless n_group is 0.
        bank: The filters.
        n_group: Number of groups of outputs.
        out: Array for the result, or None.

    Returns:
        `(n_group * bank.n_out,)`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: x is too short, n_group is negative, or `out` is unsuitable.
    """
    expect_type(bank, "bank", FilterBank)
    a = as_float32(x, "x", 1)
    n_group = as_index(n_group, "n_group", 0)
    needed = (n_group - 1) * bank.n_in + bank.reach if n_group else 0
    expect(len(a) >= needed, f"{n_group} groups need at least {needed} samples, not {len(a)}")
    out = result_array(out, (n_group * bank.n_out,), a, bank.panels, bank.offsets, bank.starts)
    if out.size:
        groups = out.reshape(n_group, len(bank.panels), PANEL)
        dispatch.impl.polyphase(a, bank.panels, bank.offsets, bank.starts, bank.n_tap, bank.n_in, groups)
    return out


def interpolate(
    x: npt.ArrayLike,
    table: PhaseTable,
    begins: npt.NDArray[np.int64],
    phases: FloatArray,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """Filter a signal at arbitrary positions, with filters interpolated between the rows of a phase table.

    `out[n] = sum over t of x[begins[n] + t] * f[t]`, where `f` is row `phases[n]` of `table.filters`; between two rows
    it is interpolated linearly. An output does not depend on the other outputs.

    Args:
        x: `(n_samples,)`.
        table: The filters.
        begins: `(n,)` int64: the first sample that each output reads, from 0 to `n_samples - table.n_tap`.
        phases: `(n,)` float32, from 0 to `table.n_phase`.
        out: Array for the result, or None.

    Returns:
        `(n,)`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The shapes do not fit, an element of begins or phases is out of range, or `out` is unsuitable.
    """
    expect_type(table, "table", PhaseTable)
    a = as_float32(x, "x", 1)
    expect(isinstance(begins, np.ndarray) and begins.ndim == 1, "begins must be a one-dimensional array")
    expect_array(begins, "begins", begins.shape, np.int64)
    expect_array(phases, "phases", begins.shape, np.float32)
    out = result_array(out, begins.shape, a, table.filters, begins, phases)
    if out.size:
        highest = len(a) - table.n_tap
        expect(int(begins.min()) >= 0 and int(begins.max()) <= highest, f"begins must be from 0 to {highest}")
        inside = float(phases.min()) >= 0 and float(phases.max()) <= table.n_phase  # False if one is NaN
        expect(inside, f"phases must be from 0 to {table.n_phase}")
        dispatch.impl.interpolated(a, table.filters, begins, phases, out)
    return out
