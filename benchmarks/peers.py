"""Compare with other engines: the same random weights, a separate process for each measurement, medians and ratios.

    python benchmarks/peers.py --sizes tiny base small --threads 1 2 --rounds 5 --json docs/performance/peers.json

The file is written after every round of a size and a number of threads; if it exists, the run continues it. Engines
whose package is not installed, and engines that fail in a round, are listed.

All times are in milliseconds:

- `token`, `beam`: one decoding step with 1 and with 5 beams;
- `whole`: log-mel spectrogram, encoder, a prompt of 4 tokens and 100 greedy tokens;
- `window`: encoder, prompt and 60 tokens;
- `window8`, `token8`: the same and one step with a batch of eight windows, divided by eight;
- `load`: creation of the engine.

`peak` is the peak memory of the process in MB.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import engines
from engines.stages import STAGES, measure
from processes import last_line
from whisper_apr.bench.measure import machine, machine_line, table, write_json
from whisper_apr.bench.models import DIMENSIONS

Row = dict[str, object]  # size, threads, engine, type, rounds, the medians of STAGES, measured (all rounds)
TIMEOUT = 600  # seconds for one measurement, or for writing an engine's files


def run_in_process(*arguments: str) -> str:
    """Run this script with other arguments; see `last_line`."""
    return last_line([sys.executable, __file__, *arguments], TIMEOUT)


def available(names: list[str]) -> list[str]:
    """Return the engines whose packages are installed."""
    found = []
    for name in names:
        try:
            engines.module(name)
            found.append(name)
        except ImportError as error:
            print(f"not installed: {name} ({error})", file=sys.stderr)
    return found


def prepare(names: list[str], sizes: list[str], folder: Path) -> None:
    """Write each engine's files unless they exist."""
    for size, name in product(sizes, names):
        place = folder / size / name
        if not place.exists():
            print(f"writing {place}", file=sys.stderr)
            try:
                run_in_process("--prepare", name, size, str(place))
            except RuntimeError as error:
                print(f"no files of {size} for {name}: {error}", file=sys.stderr)


def add_round(rows: list[Row], size: str, threads: int, names: list[str], folder: Path) -> list[str]:
    """Measure every engine and compute type once, and add the results to `rows`; return messages of failures."""
    failed = []
    for name in names:
        for compute_type in engines.module(name).COMPUTE_TYPES:
            try:
                place = str(folder / size / name)
                found = json.loads(run_in_process("--one", name, compute_type, str(threads), place))
            except RuntimeError as error:
                failed.append(f"{name}, {compute_type}, {size}, threads {threads}: {error}")
                print(f"failed: {failed[-1]}", file=sys.stderr)
                continue
            key = {"size": size, "threads": threads, "engine": name, "type": compute_type}
            row = next((row for row in rows if key.items() <= row.items()), None)
            if row is None:
                rows.append(row := {**key, "rounds": 0, **dict.fromkeys(STAGES), "measured": []})
            row["measured"].append(found)
            row["rounds"] = len(row["measured"])
            for stage in STAGES:
                if found[stage] is not None:
                    row[stage] = statistics.median(m[stage] for m in row["measured"])
    return failed


def rounds_done(rows: list[Row], size: str, threads: int) -> int:
    return max((int(row["rounds"]) for row in rows if (row["size"], row["threads"]) == (size, threads)), default=0)


def ratios(rows: list[Row], stages: tuple[str, ...] = STAGES) -> list[list[object]]:
    """Return, for each size, number of threads and type, the best other engine's time divided by ours, per stage."""
    lines = []
    for ours in (row for row in rows if row["engine"] == "whisper_apr"):
        others = [r for r in rows if r is not ours and all(r[key] == ours[key] for key in ("size", "threads", "type"))]
        best = {stage: min((r[stage] for r in others if r[stage]), default=None) for stage in stages}
        over = [best[stage] / ours[stage] if best[stage] and ours[stage] else None for stage in stages]
        if any(over):
            lines.append([ours["size"], ours["threads"], ours["type"], *over])
    return lines


def earlier(file: Path | None) -> tuple[list[Row], list[str]]:
    """Return the rows and the failures of an earlier run."""
    if not file or not file.exists():
        return [], []
    data = json.loads(file.read_text())
    if data["machine"] != machine():
        raise SystemExit(f"{file} was measured on another machine or with other versions: {data['machine']}")
    return data["rows"], data["failed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engines", nargs="+", default=list(engines.NAMES), choices=engines.NAMES)
    parser.add_argument("--sizes", nargs="+", default=["tiny"], choices=DIMENSIONS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no round after this time")
    parser.add_argument("--folder", type=Path, help="folder for the engines' files (default: a temporary one)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, compute_type, threads, place = options.one
        print(json.dumps(measure(name, compute_type, int(threads), Path(place))))
    elif options.prepare:
        name, size, place = options.prepare
        engines.prepare(name, size, Path(place))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            run(options, options.folder or Path(temporary))


def run(options: argparse.Namespace, folder: Path) -> None:
    (rows, failed), names = earlier(options.json), available(options.engines)
    prepare(names, options.sizes, folder)
    begin = time.monotonic()
    for number, size, threads in product(range(options.rounds), options.sizes, options.threads):
        if rounds_done(rows, size, threads) > number:
            continue
        started = time.monotonic()
        if started - begin > 60 * options.minutes:
            print(f"no time left for round {number + 1} of {size}, threads {threads}", file=sys.stderr)
            continue
        failed += add_round(rows, size, threads, names, folder)
        seconds = time.monotonic() - started
        print(f"round {number + 1} of {size}, threads {threads}: {seconds:.0f} s", file=sys.stderr)
        if options.json:
            write_json(options.json, rows=rows, failed=failed)
    print(machine_line(), "\n")
    head = ("size", "threads", "engine", "type", "rounds", *STAGES)
    print(table(head, [[row[key] for key in head] for row in rows]))
    print("\nThe best other engine's time divided by whisper_apr's, for the same compute type:\n")
    print(table(("size", "threads", "type", *STAGES), ratios(rows)))
    print("\nfailed:\n" + "\n".join(failed) if failed else "")
    if options.svg and rows:
        import charts

        charts.peers(rows, options.svg)


if __name__ == "__main__":
    main()
