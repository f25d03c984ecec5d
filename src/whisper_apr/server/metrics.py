"""Counters, gauges and histograms in the text format of Prometheus (https://prometheus.io/docs/instrumenting)."""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)  # upper bounds of a histogram's buckets

Labels = tuple[tuple[str, str], ...]


def _line(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{key}="{text}"' for key, text in labels)
    return f"{name}{{{shown}}} {value:.15g}" if labels else f"{name} {value:.15g}"


class Counter:
    """A number for each combination of labels, which only grows. May be used by several threads."""

    kind = "counter"

    def __init__(self, name: str, help: str) -> None:
        self.name = name
        self.help = help
        self._values: defaultdict[Labels, float] = defaultdict(float)
        self._lock = threading.Lock()

    def add(self, value: float = 1, **labels: str) -> None:
        """Add to the number with these labels, whose values must be few and have no quotes."""
        with self._lock:
            self._values[tuple(labels.items())] += value

    def lines(self) -> Iterator[str]:
        """Yield the lines of the samples."""
        with self._lock:
            values = dict(self._values)
        for labels, value in values.items() or {(): 0.0}.items():
            yield _line(self.name, labels, value)


class Gauge:
    """A number that is asked for when it is reported."""

    kind = "gauge"

    def __init__(self, name: str, help: str, read: Callable[[], float]) -> None:
        self.name = name
        self.help = help
        self._read = read

    def lines(self) -> Iterator[str]:
        """Yield the line of the sample."""
        yield _line(self.name, (), self._read())


class Histogram:
    """How many observed values, in seconds, were at most each of some bounds. May be used by several threads."""

    kind = "histogram"

    def __init__(self, name: str, help: str, bounds: tuple[float, ...] = SECONDS) -> None:
        self.name = name
        self.help = help
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count a value."""
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value

    @property
    def mean(self) -> float:
        """The mean of the observed values, 0 if there are none."""
        with self._lock:
            return self._sum / max(1, sum(self._counts))

    def lines(self) -> Iterator[str]:
        """Yield the lines of the buckets, the sum and the count."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        at_most = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
            at_most += count
            yield _line(f"{self.name}_bucket", (("le", bound),), at_most)
        yield _line(f"{self.name}_sum", (), total)
        yield _line(f"{self.name}_count", (), at_most)


class Metrics:
    """The numbers that the server reports at /metrics."""

    def __init__(self) -> None:
        self._all: list[Counter | Gauge | Histogram] = []
        self.requests = self._counter("whisper_apr_requests_total", "Answered requests by path and status.")
        self.audio_seconds = self._counter("whisper_apr_audio_seconds_total", "Seconds of the recordings opened.")
        self.segments = self._counter("whisper_apr_segments_total", "Segments decoded.")
        self.cancelled = self._counter("whisper_apr_cancelled_total", "Requests whose client left before the answer.")
        self.seconds = Histogram("whisper_apr_request_seconds", "Seconds from the beginning of a request to its end.")
        self._all.append(self.seconds)

    def _counter(self, name: str, help: str) -> Counter:
        self._all.append(counter := Counter(name, help))
        return counter

    def add_gauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Add a number that `read` returns when it is asked for."""
        self._all.append(Gauge(name, help, read))

    def text(self) -> str:
        """Return all numbers in Prometheus' format."""
        lines: list[str] = []
        for metric in self._all:
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
        return "\n".join(lines) + "\n"
