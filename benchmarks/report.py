"""Write docs/performance.md and its charts from the benchmarks' JSON files. A section whose file is missing is omitted.

Run the benchmarks first:

    python benchmarks/kernels.py --json docs/performance/kernels.json
    python benchmarks/pipeline.py --random tiny base small --compute-type float32 int8 --threads 1 2 \\
        --json docs/performance/pipeline.json
    python benchmarks/peers.py --sizes tiny base small --json docs/performance/peers.json
    python benchmarks/speech_peers.py --json docs/performance/speech.json
    python benchmarks/server.py load RECORDING... --json docs/performance/server.json
    node benchmarks/browser.mjs docs/performance/browser.json
    node benchmarks/web_peers.mjs PEERS docs/performance/browser.json
    node benchmarks/web_speech.mjs --peers PEERS --model base --json docs/performance/browser.json RECORDING...
    node benchmarks/web_speakers.mjs --audio FOLDER --json docs/performance/browser.json
    node benchmarks/startup.mjs --json docs/performance/browser.json
    python benchmarks/report.py

The comparisons of engines must have MIN_ROUNDS rounds. The scripts for the browser tell which environment they need.
"""

import argparse
import json
import statistics
from pathlib import Path
from textwrap import fill

import charts
from peers import ratios
from whisper_apr.bench.measure import table
from whisper_apr.bench.pipeline import LEGEND

DOCS = Path(__file__).parent.parent / "docs"

INTRODUCTION = """# Performance

The scripts in `benchmarks/` measured these figures on the machine that each section names. Compare only figures of the
same section: they come from one run, in which the engines alternated. `whisper-apr bench` measures your own machine.
"""
PEERS = """\
All engines run the same random weights on one 30 s window of noise. Each measurement runs in a separate process, the
engines alternate round by round, and the tables show medians over the rounds. Times are in milliseconds. `token` and
`beam` are one decoding step with 1 and with 5 beams. `whole` is the log-mel spectrogram, the encoder, the prompt and
100 tokens. `load` is the creation of the engine, with its files in the system's cache. `peak` is the memory of the
process in MB after one window.

whisper_apr, onnxruntime, openvino and whisper.cpp compute the keys and values of the cross-attention in `encoder`, the
others with the first token. Under float32, whisper_apr keeps the weights in float16, their type in the checkpoint. Its
KV cache has the type in the column, int8 under int4. whisper.cpp runs with flash attention and a float16 KV cache, and
with q8_0 weights under int8. onnxruntime runs with fused attention, and with dynamic quantization under int8. openvino
computes in bfloat16 under int8.
"""
BATCH = """\
`window` is the encoder, the prompt and 60 tokens. `of eight` is the time of a batch of eight windows divided by eight.
The batches of faster-whisper are those of CTranslate2.
"""
KERNELS = """\
Speed in GFLOP/s, GOP/s (int8) or GB/s, and the share of the machine's limit: the peak rate of multiply-adds on
registers only, or the bandwidth of reading as many bytes, measured in the same run with the same backend. Products of
one row are captured in a graph of 32 calls, as in a decoding step. `over scalar` is the speedup of the last backend
over `scalar`, which is compiled without auto-vectorization. NumPy (OpenBLAS) uses the same number of threads.
"""
SPEECH = """\
{minutes:g} minutes of English recordings, joined: talks, meetings, radio from space, calls. Each measurement runs in
a separate process, and the engines alternate round by round. `seconds` is the median time without loading the model,
`range` the lowest and the highest, `with load` includes it; `times` is `seconds` divided by that of whisper_apr with
the same type and batch. `peak` is the memory of the process in MB. `lost` counts the words of whisper_apr's float32
text, which is openai-whisper's, that the engine leaves out; `words` those that it has. `batch` is the number of windows
that are decoded at once.

Every engine decodes greedily and was told the language; the rest are its defaults: windows are decoded again at higher
temperatures if the result looks wrong, and the text is passed on to the next window, unless they are in batches.
"""
ENGINES = {
    "whisper.cpp": "whisper.cpp has float16 weights in the place of float32; it was built for this CPU, and for AVX2.",
    "onnxruntime": "onnxruntime runs by transformers, with dynamic quantization under int8, and passes no text on.",
    "openvino": "openvino is OpenVINO GenAI, with compressed weights under int8; each window is decoded once.",
}
SERVER = """\
`whisper-apr serve` with {model} in {compute_type}, and clients that send one recording after the other, of
{shortest:.0f} to {longest:.0f} seconds: the 50th and 95th percentile of a request's seconds, the hours of recordings
that are transcribed in an hour, and the server's CPU seconds for a minute of recordings, which depend less on what else
the machine does; medians of the rounds, with the lowest and the highest. Every text is that of one client alone.
"""
WEB_PEERS = """\
Milliseconds, with random weights of `tiny`, on one thread, as in a page without COOP and COEP headers; the engines
alternated. `encoder` is one 30 s window, `token` one greedy step. Under float32, whisper_apr keeps the weights in
float16. Under int8, both engines quantize activations on the fly.
"""
WEB_SPEECH = """\
Seconds for one recording, with published weights in int8 that are loaded: the median of the rounds in which the engines
alternated, with the lowest and the highest; on one thread unless said otherwise. Each engine was given the language,
and ran with its defaults. With audio_context="auto", as in the page, whisper_apr does not pad the recording to 30
seconds. `words` are words that differ from the text of the native package with 30 seconds. whisper.cpp has q8_0
weights, and was measured once.
"""
WEB_SPEAKERS = """\
Seconds to find the speakers of a conversation of {minutes} minutes among {speakers} people, joined from recordings of
one person each, without its text: the median of the rounds in which the numbers of threads took turns, with the lowest
and the highest. `cpu` are seconds of the processor.
"""
STARTUP = """\
Seconds until the page is ready, with the model `{model}`, a server on the same machine, and an empty browser profile at
the first visit.
"""
ENCODER = """\
Milliseconds for the encoder of `base` in int8 with one window of 30 s. `wasm128relaxed` is chosen by `fast: true`.
"""
PEERS_COMMAND = "peers.py --sizes tiny base small"
STAGES = ("mel", "encoder", "token", "beam", "whole", "load", "peak")


def _read(folder: Path, name: str) -> dict | None:
    file = folder / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def _paragraph(text: str) -> str:
    """Break a paragraph into lines of at most 120 columns."""
    return fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _paragraphs(text: str) -> str:
    return "\n\n".join(_paragraph(part) for part in text.strip().split("\n\n")) + "\n"


def _head(title: str, command: str, data: dict) -> str:
    about = ", ".join(f"{key} {value}" for key, value in data["machine"].items() if key not in ("backend", "threads"))
    measured = _paragraph(f"{data['date']}; {about}.")
    return f"## {title}\n\n{measured}\n\n```console\n$ python benchmarks/{command}\n```\n"


MIN_ROUNDS = 3


def _require_rounds(rounds: int, what: str) -> None:
    """Refuse a comparison that a single disturbance could decide.

    Raises:
        SystemExit: There are fewer than MIN_ROUNDS rounds.
    """
    if rounds < MIN_ROUNDS:
        raise SystemExit(f"{what}: {rounds} rounds were measured; run at least {MIN_ROUNDS}")


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count != 1 else ''}"


def server(folder: Path) -> list[str]:
    """Return a line for each number of clients."""
    data = _read(folder, "server")
    if data is None:
        return []
    head = ("clients", "p50", "p95", "hours per hour", "range", "CPU s per minute", "range")
    body = []
    for row in data["rows"]:
        _require_rounds(len(row["speeds"]), f"server.json, {row['clients']} clients")
        latencies = (f"{row[name]:.2f}" for name in ("p50", "p95"))
        body.append([row["clients"], *latencies, *_spread(row["speeds"], 1), *_spread(row["costs"])])
    settings, durations = data["settings"], data["durations"]
    model = Path(settings["model"]).name
    text = SERVER.format(**settings | {"model": model}, shortest=min(durations), longest=max(durations))
    return [
        _head("Server", "server.py load RECORDING...", data),
        _paragraphs(" ".join([text.rstrip(), data.get("note", "")])),
        table(head, body) + "\n",
    ]


def peers(folder: Path) -> list[str]:
    data = _read(folder, "peers")
    if data is None:
        return []
    rows = data["rows"]
    charts.peers(rows, folder / "peers.svg")
    parts = [_head("Comparison with other engines", PEERS_COMMAND, data), PEERS]
    parts += ["![Time of the whole pipeline by engine](performance/peers.svg)\n", *_ahead(rows)]
    for size, threads in dict.fromkeys((row["size"], row["threads"]) for row in rows):
        chosen = [row for row in rows if (row["size"], row["threads"]) == (size, threads)]
        rounds = min(row["rounds"] for row in chosen)
        _require_rounds(rounds, f"peers.json, {size}, {_threads(threads)}")
        parts.append(f"### {size}, {_threads(threads)}; {rounds} rounds\n")
        body = [[row[key] for key in ("engine", "type", *STAGES)] for row in sorted(chosen, key=lambda r: r["whole"])]
        parts.append(table(("engine", "type", *STAGES), body) + "\n")
        left_out = sorted({row["engine"] for row in rows} - {row["engine"] for row in chosen})
        if left_out:
            parts.append(_paragraph(f"Not measured in these rounds: {', '.join(left_out)}.") + "\n")
    if data["failed"]:
        parts.append("Failed in this run:\n\n" + "\n".join(_paragraph(f"- {line}") for line in data["failed"]) + "\n")
    return parts + batches(rows)


def _ahead(rows: list[dict]) -> list[str]:
    head = (
        "### Speedup over the best other engine\n\n"
        "The best other engine's figure of the same compute type, divided by whisper_apr's.\n"
    )
    return [head, table(("size", "threads", "type", *STAGES), ratios(rows, STAGES)) + "\n"]


def speech(folder: Path) -> list[str]:
    """Return a table for each machine, model, number of threads and instruction set, the fastest engine first."""
    parts: list[str] = []
    unknown = dict(ENGINES)
    for file in sorted(folder.glob("speech*.json"), key=lambda file: file.stem):
        data = json.loads(file.read_text())
        text = "As above." if parts else SPEECH.format(minutes=data["seconds"] / 60).rstrip()
        engines = {row["engine"] for row in data["rows"]}
        about = [unknown.pop(name) for name in list(unknown) if name in engines]
        parts += _speech_on(data, file.name, " ".join([text, *about]))
    return parts


def _speech_on(data: dict, file: str, text: str) -> list[str]:
    """Return the tables of one machine, after a text."""
    rows = data["rows"]
    text += " " + data["note"] if "note" in data else ""
    title = data.get("title", "Recordings of people")
    parts = [_head(title, f"speech_peers.py --seconds {data['seconds']:g}", data), _paragraphs(text)]
    head = ("engine", "type", "batch", "seconds", "range", "times", "with load", "peak", "words", "lost")
    for case in dict.fromkeys((row["model"], row["threads"], row["avx2"]) for row in rows):
        model, threads, avx2 = case
        chosen = [row for row in rows if (row["model"], row["threads"], row["avx2"]) == case]
        for row in chosen:
            _require_rounds(len(row["measured"]), f"{file}, {row['engine']}, {model}, {_threads(threads)}")
        parts.append(f"### {model}, {_threads(threads)}{', AVX2 alone' if avx2 else ''}\n")
        body = [_speech_line(row, chosen) for row in sorted(chosen, key=lambda row: _median(row, "seconds"))]
        parts.append(table(head, body) + "\n")
    return parts


def _median(row: dict, name: str) -> float:
    return statistics.median(found[name] for found in row["measured"])


def _speech_line(row: dict, others: list[dict]) -> list[object]:
    kind = "float32" if row["type"] == "float16" else row["type"]
    ours = next(r for r in others if (r["engine"], r["type"], r["batch"]) == ("whisper_apr", kind, row["batch"]))
    seconds, spread = _spread([found["seconds"] for found in row["measured"]], 1)
    times = f"{_median(row, 'seconds') / _median(ours, 'seconds'):.2f}"
    peak, words, lost = (f"{_median(row, name):.0f}" for name in ("peak", "words", "lost"))
    load = f"{_median(row, 'with load'):.1f}"
    return [row["engine"], row["type"], row["batch"] or None, seconds, spread, times, load, peak, words, lost]


def batches(rows: list[dict]) -> list[str]:
    head = ("size", "threads", "engine", "type", "window", "of eight", "times", "token", "of eight", "times")
    body = [
        [*(row[key] for key in head[:4]), *(x for of in ("window", "token") for x in _gain(row[of], row[f"{of}8"]))]
        for row in rows
        if row["window8"]
    ]
    return ["### Batches of eight windows\n", BATCH, table(head, body) + "\n"] if body else []


def _gain(alone: float, of_eight: float) -> tuple[float, float, float]:
    return alone, of_eight, alone / of_eight


def pipeline(folder: Path) -> list[str]:
    data = _read(folder, "pipeline")
    if data is None:
        return []
    results = data["results"]
    command = "pipeline.py --random tiny base small --compute-type float32 int8 --threads 1 2"
    return [
        _head("Stages of a window", command, data),
        f"Backend: {data['machine']['backend']}.\n\n{LEGEND}",
        table(list(results[0]), [list(row.values()) for row in results]) + "\n",
    ]


def kernels(folder: Path) -> list[str]:
    """Return a table for each kernel, with a line for each shape and a column for each backend."""
    data = _read(folder, "kernels")
    if data is None:
        return []
    figures = data["figures"]
    charts.kernels(figures, folder / "kernels.svg")
    parts = [_head("Kernels", f"kernels.py --threads {data['threads']}", data), KERNELS]
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
    machine = ", ".join(f"{key} {value}" for key, value in data["machine"].items() if key != "backend")
    parts = ["## In the browser\n", _paragraph(f"{machine}.") + "\n"]
    if speech := data.get("speech"):
        head = ("model", "recording", "engine", "seconds", "range", "words")
        parts += [_part("Recordings", data, "speech"), WEB_SPEECH]
        parts.append(table(head, _speech_rows(speech)) + "\n")
    if speakers := data.get("speakers"):
        parts += [_part("Speakers", data, "speakers"), WEB_SPEAKERS.format(**speakers[0])]
        body = [[row["threads"], *_spread(row["seconds"], 1), *_spread(row["cpu"], 1)] for row in speakers]
        parts.append(table(("threads", "seconds", "range", "cpu", "range"), body) + "\n")
    if startup := data.get("startup"):
        head = ("visit", "seconds", "range")
        body = [[i + 1, *_spread(seconds)] for i, seconds in enumerate(startup["seconds"])]
        parts += [_part("Start of the page", data, "startup"), STARTUP.format(model=startup["model"])]
        parts.append(table(head, body) + "\n")
    if encoder := data.get("encoder"):
        head = ("threads", "backend", "ms", "range")
        parts += [
            _part("Threads and relaxed SIMD", data, "encoder"),
            ENCODER,
            table(head, _encoder_rows(encoder)) + "\n",
        ]
    if rows := data.get("peers"):
        parts.append(_part("Stages", data, "peers"))
        head = ("where", "engine", "type", "encoder", "token")
        parts += [WEB_PEERS, table(head, [[row[key] for key in head] for row in rows]) + "\n"]
    if products := data.get("products"):
        window = ", ".join(f"{name} {time:.1f} ms" for name, time in data["window"].items())
        recording = data["recording"]
        parts.append(_part("Products", data, "products"))
        parts.append(
            _paragraph(
                f"In Chromium, one window with random weights of `tiny` takes: {window}. "
                f"A recording of {recording['long']:.1f} s takes "
                f"{min(recording['times']):.1f} s, after {recording['load']:.1f} s of loading from a local server."
            )
            + "\n"
        )
        parts.append(table(data["head"], products) + "\n")
    return parts


def _part(title: str, data: dict, name: str) -> str:
    return f"### {title}\n\nMeasured on {data['dates'][name]}.\n"


def _spread(times: list[float], digits: int = 2) -> tuple[str, str]:
    """Return the median, and the lowest and the highest if there are several."""
    limits = f"{min(times):.{digits}f} to {max(times):.{digits}f}" if len(times) > 1 else ""
    return f"{statistics.median(times):.{digits}f}", limits


def _encoder_rows(encoder: dict) -> list[list[object]]:
    return [[row["threads"], row["backend"], *_spread(row["ms"], 0)] for row in encoder["rows"]]


def _speech_rows(speech: list[dict]) -> list[list[object]]:
    """Return a row for each measurement, the fastest engine of a recording first."""
    ordered = sorted(speech, key=lambda row: (row["model"], row["recording"], statistics.median(row["seconds"])))
    names = ("model", "recording", "engine")
    return [[*(row[name] for name in names), *_spread(row["seconds"]), row["differing"]] for row in ordered]


SECTIONS = (speech, peers, pipeline, server, kernels, browser)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--docs", type=Path, default=DOCS, help="where performance.md and performance/ are")
    docs = parser.parse_args().docs
    parts = [part for section in SECTIONS for part in section(docs / "performance")]
    (docs / "performance.md").write_text("\n".join([INTRODUCTION, *parts]))


if __name__ == "__main__":
    main()
