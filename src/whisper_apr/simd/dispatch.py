"""Selection of the backend and of the number of threads: made at import, changed by `use_backend`, `set_num_threads`.

Callers look a kernel up in `impl` at the time of the call. `impl` is the compiled module `_kernels`, or `reference`,
which has the same functions in NumPy.
"""

import os
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsIndex

from ..errors import BackendError
from . import reference
from .checks import as_index

MAX_THREADS = 1 << 16  # larger numbers are clamped, so that they fit in a C int; threads.c has a lower limit

INTERFACE = 3  # version of the compiled functions' signatures that this package calls
RELAXED = "wasm128relaxed"  # the backend that is in a file of its own
_EXTENSION = "whisper_apr._simd._kernels"
# WebAssembly only: the extension with this backend. It is no module's file, as Pyodide would load it with the package,
# which fails in engines without relaxed SIMD.
_RELAXED_FILE = Path(__file__).parent.parent / "_simd" / "_kernels_relaxed.wasm"


def _import_kernels(wanted: str | None) -> Any:
    """Import the compiled kernels among which a backend is, or None if none were built for this interpreter.

    Raises:
        BackendError: They exist but cannot be loaded: in a subinterpreter, or on another platform.
    """
    if wanted == RELAXED and _RELAXED_FILE.exists():
        loader = ExtensionFileLoader(_EXTENSION, str(_RELAXED_FILE))
        with suppress(ImportError):  # the engine lacks relaxed SIMD: use_backend() says so
            module = module_from_spec(ModuleSpec(_EXTENSION, loader, origin=loader.path))
            loader.exec_module(module)
            return module
    try:
        return import_module(_EXTENSION)
    except ImportError as error:
        if find_spec(_EXTENSION):
            raise BackendError(f"the compiled kernels cannot be loaded: {error}") from error
        return None


kernels: Any = _import_kernels(os.environ.get("WHISPER_APR_BACKEND"))
if kernels is not None and getattr(kernels, "INTERFACE", 1) != INTERFACE:
    raise BackendError(
        "the compiled kernels do not match this version of the package; rebuild them with "
        "`python setup.py build_ext --inplace`"
    )
impl: Any = reference
current = "numpy"


def backends() -> tuple[str, ...]:
    """Return the names of the backends that this machine supports, slowest first, beginning with `numpy`."""
    return ("numpy", *(kernels.backends() if kernels else ()))


def backend() -> str:
    """Return the name of the backend in use."""
    return current


class _BackendSwitch:
    """The result of `use_backend`: as a context manager, it restores the previous backend on exit."""

    def __init__(self, previous: str) -> None:
        self._previous = previous

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        use_backend(self._previous)


def use_backend(name: str) -> _BackendSwitch:
    """Select a backend, effective immediately and for the whole process.

    In a `with` statement, the previous backend is restored at the end of the block.

    Args:
        name: One of `backends()`.

    Returns:
        A context manager that restores the previous backend on exit.

    Raises:
        BackendError: The name is unknown, or this CPU does not support the backend.
    """
    global impl, current
    if name not in backends():
        raise BackendError(f"backend {name!r} is not available; this machine supports: {', '.join(backends())}")
    switch = _BackendSwitch(current)
    if name == "numpy":
        impl = reference
    else:
        kernels.use_backend(name)
        impl = kernels
    current = name
    return switch


def set_num_threads(n: SupportsIndex) -> None:
    """Set the number of threads that the compiled kernels use. No result depends on it.

    Args:
        n: At least 1. Kernels use at most 256 threads.

    Raises:
        TypeError: n is not an integer.
        ValueError: n is less than 1.
    """
    n = as_index(n, "the number of threads", 1)
    if kernels:
        kernels.set_num_threads(min(n, MAX_THREADS))


def get_num_threads() -> int:
    """Return the number of threads that the compiled kernels use.

    The default is the number of CPUs that the process's affinity and its cgroup's quota allow. Returns 1 if there are
    no compiled kernels.
    """
    return int(kernels.get_num_threads()) if kernels else 1


def _available_cpus() -> int:
    """Return the number of CPUs that the process may use, by its affinity and its cgroup v2 quota (in containers)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # not Linux, no cgroup v2, or a quota of "max"
        pass
    return count


use_backend(os.environ.get("WHISPER_APR_BACKEND") or backends()[-1])
set_num_threads(_available_cpus())
