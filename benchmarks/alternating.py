"""Measurements of several source trees in alternation: one process for each tree, and ratios of their times.

On a shared machine, speed drifts within seconds. Measurements that alternate between the trees see the same drift, so
the ratio of two neighboring measurements is more reliable than two medians of separate runs.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def source_of(tree: Path) -> Path:
    """Return the folder to put on PYTHONPATH: `tree/src` if it holds the package, or else the tree itself.

    Raises:
        SystemExit: Neither holds the package with its extension built in place.
    """
    for source in (tree / "src", tree):
        if (source / "whisper_apr").is_dir():
            if any((source / "whisper_apr" / "_simd").glob("_kernels.*[od]")):  # .so, .pyd
                return source.resolve()
            raise SystemExit(f"{tree} has no compiled extension; run `python setup.py build_ext --inplace` there")
    raise SystemExit(f"{tree} does not contain src/whisper_apr")


class Worker:
    """A process that imports the package of one source tree and answers requests, one JSON document per line.

    The process must first print a greeting, a JSON object with the folder of the imported package as `package`.
    """

    def __init__(self, source: Path, *command: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(source)}
        self.process = subprocess.Popen(
            [sys.executable, *command], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.greeting = self._receive()
        if Path(self.greeting["package"]).resolve().parent != source:
            raise SystemExit(f"the worker for {source} imported {self.greeting['package']}")

    def _receive(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, request: object) -> Any:
        """Send a request and return the answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._receive()

    def close(self) -> None:
        """Close the worker's input and wait for its end."""
        self.process.communicate()


def in_turn(functions: Sequence[Callable[[], float]], number: int) -> list[float]:
    """Call each function once and return the results in their order; odd rounds call the functions in reverse."""
    results = dict.fromkeys(range(len(functions)), 0.0)
    for i in sorted(results, reverse=bool(number % 2)):
        results[i] = functions[i]()
    return list(results.values())


@dataclass(frozen=True)
class Ratio:
    """The ratios of two trees' times over all rounds."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, times: Sequence[float], base_times: Sequence[float]) -> "Ratio":
        """Divide each round's time by the base's time of the same round."""
        ratios = [time / base for time, base in zip(times, base_times, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))
