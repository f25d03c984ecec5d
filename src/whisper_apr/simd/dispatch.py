"""Which backend runs, and on how many threads: chosen at import, changed by `use_backend` and `set_num_threads`.

Whoever calls a kernel takes it from `impl` at that moment: the functions of `_kernels`, or the same of `reference`.
"""

import os
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from ..errors import BackendError
from . import reference
from .checks import as_index

MOST_THREADS = 1 << 16  # what a larger number counts as: threads.c has a limit of its own

INTERFACE = 2  # of the compiled kernels that these modules call
kernels: Any
try:
    from .._simd import _kernels as _compiled

    kernels = _compiled
except ImportError as error:
    if find_spec("whisper_apr._simd._kernels"):  # it is there and refuses: a subinterpreter, or another machine's file
        raise BackendError(f"the compiled kernels cannot be loaded here: {error}") from error
    kernels = None  # none was built for this interpreter: NumPy remains
if kernels is not None and getattr(kernels, "INTERFACE", 1) != INTERFACE:
    raise BackendError(
        "the compiled kernels are of another version than the package; build them again: "
        "python setup.py build_ext --inplace"
    )
impl: Any = reference
current = "numpy"


def backends() -> tuple[str, ...]:
    """The backends that this machine can run, weakest first; `numpy` is always the first of them."""
    return ("numpy", *(kernels.backends() if kernels else ()))


def backend() -> str:
    """The name of the backend in use."""
    return current


class _Switch:
    """Returned by `use_backend`: as a context manager it goes back to the backend that was in use before."""

    def __init__(self, previous: str) -> None:
        self._previous = previous

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        use_backend(self._previous)


def use_backend(name: str) -> _Switch:
    """Switch to a backend at once, for the whole process; in a `with` statement, until its end.

    Raises BackendError for a name that is unknown or that this CPU cannot run.
    """
    global impl, current
    if name not in backends():
        raise BackendError(f"backend {name!r} cannot be used here; this machine runs: {', '.join(backends())}")
    switch = _Switch(current)
    if name == "numpy":
        impl = reference
    else:
        kernels.use_backend(name)
        impl = kernels
    current = name
    return switch


def set_num_threads(n: int) -> None:
    """How many threads a kernel may use (at least 1; a kernel itself uses 256 at most). No result depends on it.

    Raises TypeError for what is no whole number, ValueError below 1.
    """
    n = as_index(n, "the number of threads", 1)
    if kernels:
        kernels.set_num_threads(min(n, MOST_THREADS))


def get_num_threads() -> int:
    """How many threads a kernel may use: at first, what the process's affinity and its cgroup's quota allow."""
    return int(kernels.get_num_threads()) if kernels else 1


def _available_threads() -> int:
    """The CPUs that this process may use: its affinity, and a container's quota (cgroup v2) where there is one."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # not Linux, no cgroup v2, or a quota of "max"
        pass
    return count


use_backend(os.environ.get("WHISPER_APR_BACKEND") or backends()[-1])
set_num_threads(_available_threads())
