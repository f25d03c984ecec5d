"""Filter banks for resampling, in the layout that the kernels read.

A `FilterBank` holds one filter for each phase of a rational ratio; a `PhaseTable` holds filters at evenly spaced
phases to interpolate between. `PhaseTable` serves ratios with too many phases for a bank.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .checks import as_float32, as_index, expect, expect_array
from .layout import PANEL, aligned_zeros, div_up


@dataclass(frozen=True, eq=False)
class FilterBank:
    """A polyphase FIR filter bank for `simd.polyphase`, packed in panels of 16 outputs.

    Each column of a panel holds the filter of one output, shifted to where its samples start. Create a bank with
    `from_filters`.

    Attributes:
        panels: `(n_panel, k, 16)` float32. Column `i` of panel `j` is zero outside
            `starts[j, i] <= t < starts[j, i] + n_tap`.
        offsets: `(n_panel,)` int64: the sample, relative to the start of a group, at which each panel starts.
        starts: `(n_panel, 16)` int32: the row at which each column's filter starts, ascending within a panel.
        n_tap: Taps of each filter.
        n_in: Input samples from the start of one group of outputs to the start of the next.

    Raises:
        TypeError: A field has the wrong type.
        ValueError: The arrays do not fit each other.
    """

    panels: npt.NDArray[np.float32] = field(repr=False)
    offsets: npt.NDArray[np.int64] = field(repr=False)
    starts: npt.NDArray[np.int32] = field(repr=False)
    n_tap: int
    n_in: int

    def __post_init__(self) -> None:
        is_panels = isinstance(self.panels, np.ndarray) and self.panels.ndim == 3
        expect(is_panels, "panels must be an array of shape (n_panel, k, 16)")
        n_panel, k, _ = self.panels.shape
        expect(n_panel > 0, "a filter bank must have at least one panel")
        expect_array(self.panels, "panels", (n_panel, k, PANEL), np.float32)
        expect_array(self.offsets, "offsets", (n_panel,), np.int64)
        expect_array(self.starts, "starts", (n_panel, PANEL), np.int32)
        as_index(self.n_tap, "n_tap", 1, max(1, k))
        expect(self.n_tap <= k, f"n_tap must be from 1 to {k}, not {self.n_tap}")
        as_index(self.n_in, "n_in", 1)
        expect(int(self.offsets.min()) >= 0, "offsets must not be negative")
        expect(
            int(self.starts.min()) >= 0
            and int(self.starts.max()) + self.n_tap <= k
            and bool((np.diff(self.starts, axis=1) >= 0).all()),
            f"starts must ascend within a panel, from 0 to {k - self.n_tap}",
        )

    @classmethod
    def from_filters(cls, filters: npt.ArrayLike, down: int) -> "FilterBank":
        """Pack the polyphase filters of a resampling ratio `up / down`.

        Args:
            filters: `(up, n_tap)`. Filter `p` serves the outputs that lie `p / up` of a sample after an input sample.
            down: The ratio's denominator, at least 1.

        Returns:
            The bank. Its group of outputs, `n_out`, is the least common multiple of `up` and 16.

        Raises:
            TypeError: `filters` is not an array of real numbers, or `down` is not an integer.
            ValueError: `filters` is not a matrix or is empty, or `down` is less than 1.
        """
        taps = as_float32(filters, "filters", 2)
        up, n_tap = taps.shape
        expect(up > 0 and n_tap > 0, f"filters must have at least one row and one tap, not shape {taps.shape}")
        down = as_index(down, "down", 1)
        n_out = math.lcm(up, PANEL)
        position, phase = np.divmod(np.arange(n_out, dtype=np.int64) * down, up)
        position = position.reshape(-1, PANEL)
        offsets = position[:, 0].copy()
        starts = (position - position[:, :1]).astype(np.int32)
        panels = aligned_zeros((len(position), int(starts.max()) + n_tap, PANEL), np.float32)
        panel, column = np.divmod(np.arange(n_out), PANEL)
        for tap in range(n_tap):
            panels[panel, starts.reshape(-1) + tap, column] = taps[phase, tap]
        return cls(panels, offsets, starts, n_tap, n_out * down // up)

    @staticmethod
    def panel_size(up: int, n_tap: int, down: int) -> int:
        """Return an upper bound of the number of elements of `panels` for these filters, without packing them."""
        return math.lcm(up, PANEL) * (n_tap + div_up((PANEL - 1) * down, up))

    @property
    def n_out(self) -> int:
        """Outputs of a group."""
        return len(self.panels) * PANEL

    @cached_property
    def reach(self) -> int:
        """Input samples that a group reads."""
        return int(self.offsets.max()) + int(self.panels.shape[1])


@dataclass(frozen=True, eq=False)
class PhaseTable:
    """Filters at evenly spaced phases, which `simd.interpolate` interpolates linearly.

    Attributes:
        filters: `(n_phase + 1, n_tap)` float32. Row `p` serves the outputs that lie `p / n_phase` of a sample after an
            input sample. The last row is therefore the first row delayed by one sample.

    Raises:
        TypeError: `filters` is not an array.
        ValueError: `filters` has another shape, dtype or memory layout, or fewer than two rows or one tap.
    """

    filters: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        is_matrix = isinstance(self.filters, np.ndarray) and self.filters.ndim == 2
        expect(is_matrix, "filters must be an array of shape (n_phase + 1, n_tap)")
        shape = self.filters.shape
        expect(shape[0] > 1 and shape[1] > 0, "a phase table must have at least two filters of at least one tap")
        expect_array(self.filters, "filters", shape, np.float32)

    @property
    def n_phase(self) -> int:
        """Phases per input sample: one less than the number of rows."""
        return len(self.filters) - 1

    @property
    def n_tap(self) -> int:
        """Taps of each filter."""
        return int(self.filters.shape[1])
