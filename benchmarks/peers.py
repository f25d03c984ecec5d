"""Side by side with other engines: the same random weights, every engine in processes of its own, in turn, medians and ratios of one run.

    python benchmarks/peers.py --sizes tiny base small --threads 1 2 --rounds 5 --json docs/performance/peers.json --svg docs/performance/peers.svg

An engine whose package is not installed is left out, and named. Times are in milliseconds; `token` and `beam` are one step of 1 and of 5
beams; `whole` is mel, encoder, a prompt of 4 tokens and 100 greedy tokens; `load` is until the engine is made; `peak` is the process's memory in MB.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import engines
from whisper_apr.bench.measure import machine, machine_line, median_time, peak_memory, table
from whisper_apr.bench.models import DIMENSIONS, random_checkpoint
from whisper_apr.bench.pipeline import a_window

N_TOKENS, N_BEAM, BEAMS = 100, 40, 5
FEW = 4  # steps that are subtracted: what reading the prompt and setting up cost falls out
STAGES = ("mel", "encoder", "token", "beam", "whole", "load", "peak")


def measure_once(name: str, compute_type: str, threads: int, folder: Path) -> dict[str, object]:
    """In a fresh process: every stage of one engine, and the first tokens, which engines of one type must agree on."""
    begin = time.perf_counter()
    engine = engines.module(name).Engine(folder, compute_type, threads)
    load = time.perf_counter() - begin
    audio = a_window()
    mel = engine.mel(audio)
    features = engine.encode(mel)
    tokens = engine.greedy(features, N_TOKENS + FEW)
    peak = peak_memory() or 0
    few, many = (median_time(lambda n=n: engine.greedy(features, n), 0.3) for n in (FEW, FEW + N_TOKENS))
    times = {
        "mel": median_time(lambda: engine.mel(audio), 0.3),
        "encoder": median_time(lambda: engine.encode(mel), 1.0),
        "token": (many - few) / N_TOKENS,
        "beam": float("nan"),
        "whole": median_time(lambda: engine.greedy(engine.encode(engine.mel(audio)), N_TOKENS), 1.0),
        "load": load,
    }
    if hasattr(engine, "beam"):
        few, many = (median_time(lambda n=n: engine.beam(features, n, BEAMS), 0.3) for n in (FEW, FEW + N_BEAM))
        times["beam"] = (many - few) / N_BEAM
    return {**{stage: 1000 * value for stage, value in times.items()}, "peak": peak / 1e6, "tokens": tokens[:FEW]}


def _in_a_process(name: str, compute_type: str, threads: int, folder: Path) -> dict[str, object]:
    command = [sys.executable, __file__, "--one", name, compute_type, str(threads), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} {compute_type}: {done.stderr.strip().splitlines()[-1]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _available(names: list[str]) -> list[str]:
    found = []
    for name in names:
        try:
            engines.module(name)
            found.append(name)
        except ImportError as error:
            print(f"left out: {name} ({error})", file=sys.stderr)
    return found


def compare(size: str, threads: int, names: list[str], rounds: int, folder: Path) -> list[dict[str, object]]:
    """A row for each engine and type: medians over the rounds, in each of which every engine has its turn."""
    runs = [(name, compute_type) for name in names for compute_type in engines.module(name).COMPUTE_TYPES]
    results: dict[tuple[str, str], list[dict[str, object]]] = {run: [] for run in runs}
    for _ in range(rounds):
        for run in runs:
            results[run].append(_in_a_process(*run, threads, folder))
    rows = []
    for (name, compute_type), measured in results.items():
        medians = {stage: statistics.median(float(str(m[stage])) for m in measured) for stage in STAGES}
        rows.append({"size": size, "threads": threads, "engine": name, "type": compute_type, **medians})
        print(f"{size} {threads} {name} {compute_type}: first tokens {measured[0]['tokens']}", file=sys.stderr)
    return rows


def ratios(rows: list[dict[str, object]]) -> list[list[object]]:
    """For each size, number of threads and type: the fastest other engine's time over ours, stage by stage."""
    lines = []
    for ours in (row for row in rows if row["engine"] == "whisper_apr"):
        others = [
            row
            for row in rows
            if row["engine"] != "whisper_apr" and all(row[key] == ours[key] for key in ("size", "threads", "type"))
        ]
        if others:
            best = [
                min((float(str(row[stage])) for row in others if row[stage] == row[stage]), default=0)
                for stage in STAGES
            ]
            over = [b / float(str(ours[stage])) for b, stage in zip(best, STAGES, strict=True)]
            lines.append([ours["size"], ours["threads"], ours["type"], *over])
    return lines


def draw(rows: list[dict[str, object]], file: Path) -> None:
    """The whole pipeline as bars, a panel for each size and number of threads."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    keys = sorted(
        {(str(row["size"]), int(str(row["threads"]))) for row in rows},
        key=lambda k: (list(DIMENSIONS).index(k[0]), k[1]),
    )
    figure, axes = pyplot.subplots(len(keys), 1, figsize=(8, 2.6 * len(keys)), squeeze=False, layout="constrained")
    for axis, (size, threads) in zip(axes[:, 0], keys, strict=True):
        shown = sorted(
            (r for r in rows if (r["size"], r["threads"]) == (size, threads)), key=lambda r: -float(str(r["whole"]))
        )
        colours = ["tab:orange" if row["engine"] == "whisper_apr" else "tab:gray" for row in shown]
        bars = axis.barh(
            [f"{row['engine']} {row['type']}" for row in shown], [row["whole"] for row in shown], color=colours
        )
        axis.bar_label(bars, fmt="%.0f", padding=3)
        axis.set_title(
            f"{size}, {threads} thread{'s' if threads > 1 else ''}: one window and 100 tokens, ms", loc="left"
        )
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engines", nargs="+", default=list(engines.NAMES), choices=engines.NAMES)
    parser.add_argument("--sizes", nargs="+", default=["tiny"], choices=DIMENSIONS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the engines' files are kept; a temporary one unless given")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, compute_type, threads, folder = options.one
        print(json.dumps(measure_once(name, compute_type, int(threads), Path(folder))))
        return
    names, rows = _available(options.engines), []
    with tempfile.TemporaryDirectory() as temporary:
        for size in options.sizes:
            folder = (options.folder or Path(temporary)) / size
            if not folder.exists():
                folder.mkdir(parents=True)
                checkpoint = random_checkpoint(DIMENSIONS[size])
                for name in names:
                    engines.module(name).prepare(checkpoint, folder)
            for threads in options.threads:
                rows += compare(size, threads, names, options.rounds, folder)
    print(machine_line(), "\n")
    print(table(list(rows[0]), [list(row.values()) for row in rows]))
    print("\nThe fastest other engine's figure over whisper_apr's, the same type of numbers:\n")
    print(table(["size", "threads", "type", *STAGES], ratios(rows)))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    if options.svg:
        draw(rows, options.svg)


if __name__ == "__main__":
    main()
