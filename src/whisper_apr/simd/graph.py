"""Kernel calls recorded once, and made again at the cost of one."""

import threading
from types import TracebackType
from typing import Any

from . import dispatch

_capturing = threading.Lock()


class Graph:
    """The calls that one thread makes inside of `with recording:`, to be made anew at the cost of one, on the same arrays.

    Only operations of `whisper_apr.simd` between arrays are seen: `linear`, `layer_norm`, `attention`, `paged_attention`, `store_pages`.
    `run` makes them again, with what the arrays then hold: results come to lie where the first calls put them. Arguments that had to be
    copied are not followed. `usable` says whether anything was recorded: NumPy's backend records nothing, and of two threads at once only one records.
    """

    def __init__(self) -> None:
        self._calls: Any = dispatch.kernels.Graph() if dispatch.kernels else None
        self._active = False
        self.usable = False

    def __enter__(self) -> None:
        self._active = dispatch.current != "numpy" and _capturing.acquire(blocking=False)
        if self._active:
            self._calls.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            self._calls.stop()
            _capturing.release()
            self.usable = kind is None

    def replay(self) -> None:
        self._calls.replay()
