"""docs/performance.md out of what the benchmarks wrote: run them first, then this.

python benchmarks/kernels.py --json docs/performance/kernels.json --svg docs/performance/kernels.svg
python benchmarks/pipeline.py --random tiny base small --compute-type float32 int8 --threads 1 2 --json docs/performance/pipeline.json
python benchmarks/peers.py --sizes tiny base small --json docs/performance/peers.json --svg docs/performance/peers.svg
python benchmarks/report.py
"""

import datetime
import json
from pathlib import Path

from whisper_apr.bench.kernels import HEAD
from whisper_apr.bench.measure import table

DOCS = Path(__file__).parent.parent / "docs"
FIGURES = DOCS / "performance"

INTRODUCTION = """# Performance

What was measured with the scripts of `benchmarks/`, on the machine that each section names. Every ratio is of one run, in which the
commands took turns; medians, on a machine that does other things too. Your own figures: `whisper-apr bench`.
"""


def _section(title: str, command: str, name: str) -> tuple[dict[str, object], str]:
    file = FIGURES / f"{name}.json"
    data = json.loads(file.read_text())
    about = ", ".join(f"{key} {value}" for key, value in data["machine"].items() if key != "threads")
    day = datetime.date.fromtimestamp(file.stat().st_mtime)
    return data, f"## {title}\n\n{day}; {about}.\n\n```console\n$ python benchmarks/{command}\n```\n"


def _peers(rows: list[dict[str, object]]) -> str:
    from peers import STAGES, ratios

    parts = []
    for size, threads in dict.fromkeys((row["size"], row["threads"]) for row in rows):
        chosen = [row for row in rows if (row["size"], row["threads"]) == (size, threads)]
        head = [key for key in chosen[0] if key not in ("size", "threads")]
        body = [
            [None if row[key] != row[key] else row[key] for key in head]
            for row in sorted(chosen, key=lambda r: r["whole"])
        ]
        parts.append(f"### {size}, {threads} thread{'s' if threads != 1 else ''}\n\n{table(head, body)}\n")
    parts.append(
        "### The fastest other engine's figure over ours\n\nWith the same type of numbers; above 1 we are ahead.\n\n"
        + table(["size", "threads", "type", *STAGES], ratios(rows))
        + "\n"
    )
    return "\n".join(parts)


def main() -> None:
    text = [INTRODUCTION]
    data, head = _section("Beside other engines", "peers.py --sizes tiny base small", "peers")
    legend = (
        "Milliseconds; the same random weights in every engine, one window of 30 s. `token` and `beam` are a step of 1 and of 5 beams, `whole` is "
        "mel, encoder, prompt and 100 tokens, `load` until the engine is made, `peak` the process's memory in MB. Of float32, weights are "
        "float16 in whisper.cpp, CTranslate2's file and ours.\n"
    )
    text += [head, legend, "![The whole pipeline, engine by engine](performance/peers.svg)\n", _peers(data["rows"])]
    data, head = _section(
        "The pipeline", "pipeline.py --random tiny base small --compute-type float32 int8 --threads 1 2", "pipeline"
    )
    results = data["results"]
    text += [head, "Milliseconds, and MB.\n", table(list(results[0]), [list(row.values()) for row in results]) + "\n"]
    data, head = _section("The kernels", "kernels.py", "kernels")
    rows = [
        ["x".join(map(str, v)) if isinstance(v, list) else v for v in figure.values()] for figure in data["figures"]
    ]
    limit = "The limit is a loop of multiply-adds that never leaves the registers, or reading as many bytes, with the same instructions.\n"
    text += [head, limit, "![Each kernel's share of the limit](performance/kernels.svg)\n", table(HEAD, rows) + "\n"]
    (DOCS / "performance.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
