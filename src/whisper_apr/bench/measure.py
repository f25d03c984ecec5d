"""Timing, the machine's description, and tables: what every benchmark shares."""

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
    """Seconds that each call took, after one that is not counted; calls go on for `seconds`, and there are `at_least` so many."""
    function()
    times: list[float] = []
    while len(times) < at_least or sum(times) < seconds:
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return times


def median_time(function: Callable[[], object], seconds: float = 1.0, at_least: int = 3) -> float:
    """The median of `time_calls`: on a shared machine the one figure to quote."""
    return statistics.median(time_calls(function, seconds, at_least))


def fastest_time(function: Callable[[], object], seconds: float = 0.2) -> float:
    """The shortest of many runs: what the machine can do where nothing disturbs it."""
    # a browser's clock is so coarse that a call may seem to take no time
    return max(min(time_calls(function, seconds, at_least=2)), time.get_clock_info("perf_counter").resolution)


def peak_memory() -> int | None:
    """The largest resident size of this process so far, in bytes; None where the platform does not tell."""
    # Linux's getrusage counts what the process was before its program began: a copy of whoever started it
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
    """The processor's name, as the system gives it; on x86 with family and model, which tell apart what a cloud calls by one name."""
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
    """What a figure depends on: processor, system, versions, backend and threads."""
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
    """`machine` in a line; threads are told beside each figure."""
    return ", ".join(f"{key} {value}" for key, value in machine().items() if key != "threads")


def write_json(file: Path, **content: object) -> None:
    """The day, the machine, and what was measured; the file is whole at any time."""
    head = {"date": datetime.date.today().isoformat(), "machine": machine()}
    with write_atomically(file) as out:
        out.write(f"{json.dumps(head | content, indent=1)}\n".encode())


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, its columns in line; floats are given to three digits or whole, None is left empty."""

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
