"""Say what a number of cores would do with a corpus, from figures that are measured here: python benchmarks/corpus.py

Measured are the time to load the model, the speed of one worker with one thread, and the time to read a recording to
its spectrogram, which every part of a divided recording repeats. From these, the workers' schedule is simulated: each
takes the next task when it is free, as `whisper-apr corpus` has it. The lengths of recordings are drawn log-normally
(median 10 minutes, standard deviation of the logarithm 1.2, seed 0), and one is of ten hours, the last to begin.

Not in the model: that cores of one machine share its memory bandwidth (measure with as many workers as there are cores:
the speed for each is the report's times_real_time_per_worker), nodes that are lost, and storage slower than the bytes
per second that it says are needed.
"""

import argparse
import heapq
import os
from collections.abc import Iterable
from math import ceil
from time import perf_counter

import numpy as np

from whisper_apr.audio import load_audio, log_mel_spectrogram
from whisper_apr.corpus.items import Item
from whisper_apr.corpus.tasks import Done, Task
from whisper_apr.corpus.work import Settings

LONG = 36_000.0  # seconds of the longest recording
MEDIAN, SIGMA = 600.0, 1.2  # of the others


def lengths(hours: float) -> list[float]:
    """Return the seconds of recordings, of about so many hours together, the longest last."""
    draw = np.random.default_rng(0)
    found: list[float] = []
    left = hours * 3600 - LONG
    while left > 0:
        found.append(min(float(draw.lognormal(np.log(MEDIAN), SIGMA)), LONG))
        left -= found[-1]
    return [*found, LONG]


def tasks(recordings: Iterable[float], split: float | None, reading: float) -> Iterable[tuple[float, float]]:
    """Yield for each task the seconds to transcribe, and the seconds of work to read the recording.

    Args:
        recordings: Seconds of each.
        split: Seconds of a part; None to divide nothing.
        reading: Seconds of work for a second of sound.
    """
    for length in recordings:
        n = ceil(length / split) if split else 1
        if n > 1:  # the task that finds out that the recording is long reads it once
            yield 0.0, length * reading
        for i in range(n):  # a part reads all of it for the loudest sound, and again up to its own end
            yield length / n, length * reading * (1 + (i + 1) / n if n > 1 else 1)


def simulate(work: Iterable[tuple[float, float]], cores: int, load: float, speed: float) -> float:
    """Return the seconds until the last task has ended.

    Args:
        work: What `tasks` yields.
        cores: Workers.
        load: Seconds to load the model.
        speed: Seconds of sound that a worker transcribes in a second, without reading.
    """
    free = [load] * cores
    for sound, reading in work:
        heapq.heapreplace(free, free[0] + sound / speed + reading)
    return max(free)


def measure(model: str, recording: str) -> tuple[float, float, float, float]:
    """Return the seconds to load, the speed of a worker, the seconds to read a second of sound, and its bytes."""
    options = {"batch_size": 8, "temperature": 0.0, "language": "en"}
    started = perf_counter()
    work = Settings(model, options=options, split=None)()
    load = perf_counter() - started
    speeds, readings, duration = [], [], 0.0
    for _ in range(3):
        started = perf_counter()
        outcome = work(Task(Item("recording", recording)))
        took = perf_counter() - started
        assert isinstance(outcome, Done), outcome
        duration = outcome.duration
        started = perf_counter()
        log_mel_spectrogram(load_audio(recording))
        readings.append((perf_counter() - started) / duration)
        speeds.append(duration / (took - readings[-1] * duration))
    return load, float(np.median(speeds)), float(np.median(readings)), os.path.getsize(recording) / duration


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--recording", default="tests/data/en_long.flac", help="a recording of 16 kHz, as FLAC")
    parser.add_argument("--hours", type=float, default=10_000)
    parser.add_argument("--cores", type=int, nargs="+", default=[64, 250, 1000, 4000])
    parser.add_argument(
        "--measured", type=float, nargs=4, metavar=("LOAD", "SPEED", "READING", "BYTES"), help="instead of measuring"
    )
    args = parser.parse_args()
    load, speed, reading, size = args.measured or measure(args.model, args.recording)
    print(
        f"loading {load:.2f} s, {speed:.2f} times real time per worker, reading {1 / reading:.0f} times real time, "
        f"{size / 1000:.1f} kB for a second of sound\n"
    )
    print("| cores | hours | without division, hours | times real time | cores busy, % | storage, MB/s |")
    print("| ----- | ----- | ----------------------- | --------------- | ------------- | ------------- |")
    recordings = lengths(args.hours)
    sound = sum(recordings)
    read = sum(work for _, work in tasks(recordings, 3600.0, reading)) / reading  # seconds of sound, with repetitions
    for cores in args.cores:
        took = simulate(tasks(recordings, 3600.0, reading), cores, load, speed)
        whole = simulate(tasks(recordings, None, reading), cores, load, speed)
        busy = 100 * sound / speed / cores / took
        print(
            f"| {cores} | {took / 3600:.2f} | {whole / 3600:.2f} | {sound / took:.0f} | {busy:.1f} | "
            f"{size * read / took / 1e6:.1f} |"
        )


if __name__ == "__main__":
    main()
