"""Filter banks as the resampling kernels read them:

One filter for each phase that occurs, or a table of phases to interpolate in.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .checks import as_float32, as_index, expect, expect_array
from .layout import PANEL, aligned_zeros, div_up


@dataclass(frozen=True, eq=False)
class FilterBank:
    """A polyphase filter in panels: 16 outputs side by side, each column the filter of its output's phase.

    Column `i` of panel `j` is zero outside `starts[j, i] <= t < starts[j, i] + n_tap`. Made by `from_filters`; the constructor
    raises TypeError or ValueError where the arrays do not fit each other.
    """

    panels: npt.NDArray[np.float32]  # (n_panel, k, 16)
    offsets: npt.NDArray[np.int64]  # (n_panel,): the sample of the group at which a panel's first filter begins
    starts: npt.NDArray[
        np.int32
    ]  # (n_panel, 16): the row at which each column's filter begins, ascending along a panel
    n_tap: int  # taps of each filter
    n_in: int  # samples from group to group

    def __post_init__(self) -> None:
        expect(
            isinstance(self.panels, np.ndarray) and self.panels.ndim == 3, "panels must be an array (n_panel, k, 16)"
        )
        n_panel, k, _ = self.panels.shape
        expect(n_panel > 0, "a filter bank has at least one panel")
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
            f"starts must ascend along a panel, from 0 to {k - self.n_tap}",
        )

    @classmethod
    def from_filters(cls, filters: npt.ArrayLike, down: int) -> "FilterBank":
        """Make a bank of filters `(up, n_tap)` for the ratio up / down.

        Filter `p` belongs to the outputs that lie `p / up` of a sample after a sample. `down` is at least 1. Raises
        TypeError for filters that are no real numbers, ValueError for other shapes and for `down` below 1.
        """
        taps = as_float32(filters, "filters", 2)
        up, n_tap = taps.shape
        expect(up > 0 and n_tap > 0, f"there must be a filter and a tap, not shape {taps.shape}")
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
        """How many numbers the panels of `from_filters` will hold, at most."""
        return math.lcm(up, PANEL) * (n_tap + div_up((PANEL - 1) * down, up))

    @property
    def n_out(self) -> int:
        """Outputs of a group."""
        return len(self.panels) * PANEL

    @cached_property
    def reach(self) -> int:
        """Samples that a group reads."""
        return int(self.offsets.max()) + int(self.panels.shape[1])


@dataclass(frozen=True, eq=False)
class PhaseTable:
    """Filters at evenly spaced phases, between which a kernel interpolates linearly: for ratios with too many phases
    for a bank.

    Row `p` of `filters` `(n_phase + 1, n_tap)` float32 is the filter of outputs that lie `p / n_phase` of a sample
    after a sample; the last row is therefore the first one, a sample later. The constructor raises TypeError or
    ValueError for anything else.
    """

    filters: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        is_matrix = isinstance(self.filters, np.ndarray) and self.filters.ndim == 2
        expect(is_matrix, "filters must be an array (n_phase + 1, n_tap)")
        expect(
            len(self.filters) > 1 and self.filters.shape[1] > 0, "a table has at least two filters, of at least a tap"
        )
        expect_array(self.filters, "filters", self.filters.shape, np.float32)

    @property
    def n_phase(self) -> int:
        return len(self.filters) - 1

    @property
    def n_tap(self) -> int:
        return int(self.filters.shape[1])
