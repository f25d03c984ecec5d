"""The operations on sound and on the paths through it, which `whisper_apr.simd` offers with the others."""

import numpy as np
import numpy.typing as npt

from . import dispatch
from .checks import FloatArray, as_float32, as_index, expect, expect_array, expect_type, result_array
from .filters import FilterBank, PhaseTable
from .layout import PANEL


def power_spectrum(audio: npt.ArrayLike, window: FloatArray, hop: int) -> FloatArray:
    """|FFT|^2 of the windowed frames: `(n_samples,)` -> `(n_fft // 2 + 1, n_frames)`, n_fft being the window's length.

    Frames begin at 0, hop, 2 hop ...; nothing is padded: `n_frames = 1 + (n_samples - n_fft) // hop`.
    """
    x, w = as_float32(audio, "audio", 1), as_float32(window, "window", 1)
    expect(len(w) >= 2 and len(w) % 2 == 0, f"the window's length must be even, not {len(w)}")
    hop = as_index(hop, "hop", 1)
    expect(len(x) >= len(w), f"the audio ({len(x)}) must not be shorter than the window ({len(w)})")
    out = np.empty((len(w) // 2 + 1, 1 + (len(x) - len(w)) // hop), np.float32)
    dispatch.impl.power_spectrum(x, w, hop, out)
    return out


def mel_project(power: npt.ArrayLike, filters: FloatArray) -> FloatArray:
    """Sum the spectrum into bands: filters `(n_mels, n_freq)`, power `(n_freq, n_frames)` -> `(n_mels, n_frames)`."""
    p, f = as_float32(power, "power", 2), as_float32(filters, "filters", 2)
    expect(f.shape[1] == p.shape[0], f"filters {f.shape} do not fit a spectrum {p.shape}")
    out = np.empty((f.shape[0], p.shape[1]), np.float32)
    if out.size:
        dispatch.impl.mel_project(p, f, out)
    return out


def median_filter(x: npt.ArrayLike, width: int) -> FloatArray:
    """The median of `width` numbers around each one, along the last axis, mirrored at the ends.

    `width` is odd, 63 at most. A NaN counts as infinity. Where the axis is no longer than half of `width`, x as it is.
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
    """Dynamic time warping: the cheapest way through costs `(n, m)` from the first corner to the last, as the rows and
    the columns of its places. A step goes on by a row, by a column or by both; where two are equally cheap, by a
    column."""
    x = as_float32(cost, "cost", 2)
    n, m = x.shape
    expect(n > 0 and m > 0, f"there must be a row and a column, not shape {x.shape}")
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
    """Resample by up / down, a ratio of whole numbers.

    `out[n] = sum_t x[i + t] * filters[p, t]`, where `i, p = divmod(n * down, up)`. Outputs are made in groups of
    `bank.n_out`, which begin `bank.n_in` samples apart: n groups need `(n - 1) * bank.n_in + bank.reach` samples of x.
    Returns `(n_group * bank.n_out,)` float32, written to `out` where given. An output does not depend on the others.
    """
    expect_type(bank, "bank", FilterBank)
    a = as_float32(x, "x", 1)
    n_group = as_index(n_group, "n_group", 0)
    needed = (n_group - 1) * bank.n_in + bank.reach if n_group else 0
    expect(len(a) >= needed, f"{n_group} groups need {needed} samples, not {len(a)}")
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
    """Filter x at any positions: `out[n] = sum_t x[begins[n] + t] * f[t]`, f being the table's filter at `phases[n]`.

    `begins` `(n,)` int64 are samples of x, `phases` `(n,)` float32 rows of `table.filters`, from 0 to `table.n_phase`;
    between two rows a filter is interpolated linearly. Returns `(n,)` float32, written to `out` where given. An output
    does not depend on the others.
    """
    expect_type(table, "table", PhaseTable)
    a = as_float32(x, "x", 1)
    expect(isinstance(begins, np.ndarray) and begins.ndim == 1, "begins must be a one-dimensional array")
    expect_array(begins, "begins", begins.shape, np.int64)
    expect_array(phases, "phases", begins.shape, np.float32)
    out = result_array(out, begins.shape, a, table.filters, begins, phases)
    if out.size:
        last = len(a) - table.n_tap
        expect(int(begins.min()) >= 0 and int(begins.max()) <= last, f"begins must be from 0 to {last}")
        inside = float(phases.min()) >= 0 and float(phases.max()) <= table.n_phase  # False where one is NaN
        expect(inside, f"phases must be from 0 to {table.n_phase}")
        dispatch.impl.interpolated(a, table.filters, begins, phases, out)
    return out
