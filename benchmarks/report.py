"""docs/performance.md, and its charts, out of what the benchmarks wrote: run them first, then this. A file that is missing leaves its section out.

python benchmarks/kernels.py --json docs/performance/kernels.json
python benchmarks/pipeline.py --random tiny base small --compute-type float32 int8 --threads 1 2 --json docs/performance/pipeline.json
python benchmarks/peers.py --sizes tiny base small --json docs/performance/peers.json       (on a second machine: peers2.json)
node benchmarks/browser.mjs docs/performance/browser.json       (its head tells the environment; browser.sh sets the same)
node benchmarks/web_peers.mjs PEERS docs/performance/browser.json
python benchmarks/report.py
"""

import argparse
import json
from pathlib import Path

import charts
from peers import ratios
from whisper_apr.bench.measure import table
from whisper_apr.bench.pipeline import LEGEND

DOCS = Path(__file__).parent.parent / "docs"

INTRODUCTION = """# Performance

What was measured with the scripts of `benchmarks/`, on the machine that each section names. Compare only what stands in one section: it is of
one run, in which the commands took turns. Your own figures: `whisper-apr bench`.
"""
PEERS = """The same random weights in every engine, one window of 30 s of noise, each engine in processes of its own, one after the other, round by round; medians
over the rounds. Milliseconds: `token` and `beam` are a step of 1 and of 5 beams, `whole` is mel, encoder, prompt and 100 tokens, `load` until the
engine is made, its files being in the system's cache, `peak` the process's memory in MB after one window. whisper_apr, onnxruntime, openvino and whisper.cpp
make the cross-attention's keys and values in `encoder`, the others with the first token. Under float32, whisper_apr keeps the
weights, which are float16's own, in float16; its keys and values are of the type that stands there, under int4 int8's. whisper.cpp has flash attention, float16's keys and values, and q8_0 under int8; onnxruntime has fused attention, and dynamic quantization; openvino's int8 computes in bfloat16.
"""
BATCH = """A window is the encoder, the prompt and 60 tokens; with eight at once, the time divided by eight. faster-whisper's batches are CTranslate2's.
"""
KERNELS = """GFLOP/s, GOP/s (int8) or GB/s, and the share of the limit: the peak of multiply-adds that never leave the registers, or of reading as many bytes, measured
in this run with the same backend. Products of one row are recorded, 32 to a call, as a token's step makes them. `over scalar` is the last backend's. `scalar` is built without auto-vectorization. NumPy (OpenBLAS) has as many threads.
"""
WEB_PEERS = """Milliseconds, with random weights of tiny, on one thread, as in a page without COOP and COEP headers; the engines took turns. `encoder` is one window of
30 s, `token` one greedy step. Our float32 keeps weights in float16; both int8 quantize activations on the fly.
"""
PEERS_COMMAND = "peers.py --sizes tiny base small"
STAGES = ("mel", "encoder", "token", "beam", "whole", "load", "peak")


def _read(folder: Path, name: str) -> dict | None:
    file = folder / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def _head(title: str, command: str, data: dict) -> str:
    about = ", ".join(f"{key} {value}" for key, value in data["machine"].items() if key not in ("backend", "threads"))
    return f"## {title}\n\n{data['date']}; {about}.\n\n```console\n$ python benchmarks/{command}\n```\n"


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count != 1 else ''}"


def peers(folder: Path) -> list[str]:
    data = _read(folder, "peers")
    if data is None:
        return []
    rows = data["rows"]
    charts.peers(rows, folder / "peers.svg")
    parts = [_head("Beside other engines", PEERS_COMMAND, data), PEERS]
    parts += ["![The whole pipeline, engine by engine](performance/peers.svg)\n", *_ahead(rows)]
    for size, threads in dict.fromkeys((row["size"], row["threads"]) for row in rows):
        chosen = [row for row in rows if (row["size"], row["threads"]) == (size, threads)]
        rounds = max(row["rounds"] for row in chosen)
        parts.append(f"### {size}, {_threads(threads)}; {rounds} round{'s' if rounds != 1 else ''}\n")
        body = [[row[key] for key in ("engine", "type", *STAGES)] for row in sorted(chosen, key=lambda r: r["whole"])]
        parts.append(table(("engine", "type", *STAGES), body) + "\n")
        left_out = sorted({row["engine"] for row in rows} - {row["engine"] for row in chosen})
        if left_out:
            parts.append(f"Left out of these rounds: {', '.join(left_out)}.\n")
    if data["failed"]:
        parts.append("Failed in this run:\n\n" + "\n".join(f"- {line}" for line in data["failed"]) + "\n")
    return parts + batches(rows)


def _ahead(rows: list[dict]) -> list[str]:
    head = "### The best other engine's figure over ours\n\nWith the same type of numbers; above 1 we are ahead.\n"
    return [head, table(("size", "threads", "type", *STAGES), ratios(rows, STAGES)) + "\n"]


def peers_elsewhere(folder: Path) -> list[str]:
    """On a second machine, in short."""
    data = _read(folder, "peers2")
    if data is None:
        return []
    return [
        _head("Beside other engines, on another machine", PEERS_COMMAND, data),
        *_ahead(data["rows"]),
        *batches(data["rows"]),
    ]


def batches(rows: list[dict]) -> list[str]:
    head = ("size", "threads", "engine", "type", "window", "of eight", "times", "token", "of eight", "times")
    body = [
        [*(row[key] for key in head[:4]), *(x for of in ("window", "token") for x in _gain(row[of], row[f"{of}8"]))]
        for row in rows
        if row["window8"]
    ]
    return ["### Eight windows at once\n", BATCH, table(head, body) + "\n"] if body else []


def _gain(alone: float, of_eight: float) -> tuple[float, float, float]:
    return alone, of_eight, alone / of_eight


def pipeline(folder: Path) -> list[str]:
    data = _read(folder, "pipeline")
    if data is None:
        return []
    results = data["results"]
    command = "pipeline.py --random tiny base small --compute-type float32 int8 --threads 1 2"
    return [
        _head("A window, stage by stage", command, data),
        f"With the backend {data['machine']['backend']}. {LEGEND}\n",
        table(list(results[0]), [list(row.values()) for row in results]) + "\n",
    ]


def kernels(folder: Path) -> list[str]:
    """A table for each kernel, a line for each shape, a column for each backend."""
    data = _read(folder, "kernels")
    if data is None:
        return []
    figures = data["figures"]
    charts.kernels(figures, folder / "kernels.svg")
    parts = [_head("The kernels", f"kernels.py --threads {data['threads']}", data), KERNELS]
    parts += ["![Each kernel's share of the limit](performance/kernels.svg)\n"]
    backends = list(dict.fromkeys(figure["backend"] for figure in figures))
    for kernel, unit in dict.fromkeys((figure["kernel"], figure["unit"]) for figure in figures):
        lines: dict[str, dict[str, dict]] = {}
        for figure in figures:
            if (figure["kernel"], figure["unit"]) == (kernel, unit):
                lines.setdefault("x".join(map(str, figure["shape"])), {})[figure["backend"]] = figure
        head = (f"{kernel}, {unit}", "NumPy", *backends, "over scalar")
        parts.append(table(head, [_line(shape, of_one, backends) for shape, of_one in lines.items()]) + "\n")
    return parts


def _line(shape: str, figures: dict[str, dict], backends: list[str]) -> list[object]:
    last = figures[backends[-1]]
    numpy = last["speed"] / last["over_numpy"] if last["over_numpy"] else None
    cells = [f"{figures[name]['speed']:.3g} ({100 * figures[name]['share']:.0f} %)" for name in backends]
    return [shape, numpy, *cells, last["over_scalar"]]


def browser(folder: Path) -> list[str]:
    data = _read(folder, "browser")
    if data is None:
        return []
    parts = [_head("In the browser", "", data).split("```")[0]]
    if rows := data.get("peers"):
        head = ("where", "engine", "type", "encoder", "token")
        parts += [WEB_PEERS, table(head, [[row[key] for key in head] for row in rows]) + "\n"]
    if products := data.get("products"):
        window = ", ".join(f"{name} {time:.1f} ms" for name, time in data["window"].items())
        recording = data["recording"]
        parts.append(
            f"In Chromium, one window through random weights of tiny: {window}. {recording['long']:.1f} s of digits take "
            f"{min(recording['times']):.1f} s, after {recording['load']:.1f} s of loading from the same machine.\n"
        )
        parts.append(table(data["head"], products) + "\n")
    return parts


SECTIONS = (peers, peers_elsewhere, pipeline, kernels, browser)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--docs", type=Path, default=DOCS, help="where performance.md and performance/ are")
    docs = parser.parse_args().docs
    parts = [part for section in SECTIONS for part in section(docs / "performance")]
    (docs / "performance.md").write_text("\n".join([INTRODUCTION, *parts]))


if __name__ == "__main__":
    main()
