"""Capture and replay of kernel calls, as in CUDA graphs: a sequence of calls is repeated without Python's overhead."""

import threading
from types import TracebackType
from typing import Any

from . import dispatch

_capturing = threading.Lock()


class Graph:
    """A sequence of kernel calls, captured once and replayed on the same arrays.

    The calls that the current thread makes in a `with graph:` block run as usual and are captured. `replay` repeats
    them on the current contents of the same arrays: each result is written where the captured call wrote it.

    `linear`, `layer_norm`, `attention`, `paged_attention` and `store_pages` are captured; all other operations, and all
    NumPy code, are not. Pass arrays that need no conversion: if an operation copies an argument, `replay` reads that
    copy, not the original array.

    Example:
        >>> import numpy as np
        >>> from whisper_apr import simd
        >>> x, weight = np.ones((1, 4), np.float32), simd.pack(np.ones((2, 4), np.float32))
        >>> graph = simd.Graph()
        >>> with graph:
        ...     y = simd.linear(x, weight)
        >>> x[:] = 2
        >>> if graph.usable:
        ...     graph.replay()  # y is now [[8, 8]]

    Attributes:
        usable: Whether `replay` may be called. False before the `with` block, after one that raised an exception, on
            the backend `numpy`, and if another thread was capturing at the same time.
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
        """Repeat the captured calls, on the backend that is in use now. Call it only if `usable` is true.

        Raises:
            MemoryError: There is not enough memory for a kernel's scratch space.
        """
        self._calls.replay()
