"""Timing, the description of the machine, and tables, for all benchmarks."""

import datetime
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from .. import __version__, simd
from ..atomic import write_atomically


def time_calls(function: Callable[[], object], seconds: float = 1.0, at_least: int = 3) -> list[float]:
    """Call a function once to warm up, then repeatedly; return the seconds of each call.

    Args:
        function: The function to time.
        seconds: Calls are repeated until they have taken this long in total.
        at_least: Smallest number of timed calls.
    """
    function()
    times: list[float] = []
    while len(times) < at_least or sum(times) < seconds:
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return times


def median_time(function: Callable[[], object], seconds: float = 1.0, at_least: int = 3) -> float:
    """Return the median of `time_calls`: typical seconds of a call."""
    return statistics.median(time_calls(function, seconds, at_least))


def fastest_time(function: Callable[[], object], seconds: float = 0.2) -> float:
    """Return the minimum of `time_calls`: the seconds of an undisturbed call, at least the clock's resolution."""
    # with a browser's coarse clock, a call may seem to take no time
    return max(min(time_calls(function, seconds, at_least=2)), time.get_clock_info("perf_counter").resolution)


def peak_memory() -> int | None:
    """Return the peak resident set size of this process in bytes, or None if the platform does not report it."""
    # on Linux, ru_maxrss includes the parent's size at fork, before the program started
    with suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_name() -> str:
    """Return the processor's name; on x86 with family and model, since cloud providers give several CPUs one name."""
    about: dict[str, str] = {}
    with suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            key, _, value = line.partition(":")
            about.setdefault(key.strip(), value.strip())
    if "model name" not in about:
        return platform.processor() or platform.machine()
    numbers = [
        f", {key} {about[name]}" for key, name in (("family", "cpu family"), ("model", "model")) if name in about
    ]
    return about["model name"] + "".join(numbers)


def machine() -> dict[str, object]:
    """Return what a measurement depends on: processor, system, versions, backend and threads."""
    import numpy

    return {
        "cpu": cpu_name(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "whisper_apr": __version__,
        "backend": simd.backend(),
        "threads": simd.get_num_threads(),
    }


def machine_line() -> str:
    """Return `machine()` as one line, without the number of threads, which tables list per row."""
    return ", ".join(f"{key} {value}" for key, value in machine().items() if key != "threads")


def write_json(file: Path, **content: object) -> None:
    """Write the date, the machine and the content to a JSON file, atomically."""
    head = {"date": datetime.date.today().isoformat(), "machine": machine()}
    with write_atomically(file) as out:
        out.write(f"{json.dumps(head | content, indent=1)}\n".encode())


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an aligned Markdown table; floats have three significant digits, or none after the point from 100 on."""

    def text(value: object) -> str:
        if value is None:
            return ""
        if not isinstance(value, float):
            return str(value)
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"

    cells = [list(head), *([text(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)
