"""Draw the charts of docs/performance.md from the benchmarks' JSON files, with matplotlib."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from whisper_apr.bench.models import DIMENSIONS

pyplot.rcParams |= {"svg.hashsalt": "whisper_apr", "axes.spines.top": False, "axes.spines.right": False, "font.size": 9}


def peers(rows: list[dict], file: Path) -> None:
    """Draw the times of the whole pipeline as bars: a row of panels per size, a column per number of threads."""
    sizes = [size for size in DIMENSIONS if any(row["size"] == size for row in rows)]
    counts = sorted({row["threads"] for row in rows})
    bars = max(sum((r["size"], r["threads"]) == (s, t) for r in rows) for s in sizes for t in counts)
    shape = {"figsize": (5 * len(counts), (0.2 * bars + 0.7) * len(sizes)), "layout": "constrained", "squeeze": False}
    figure, axes = pyplot.subplots(len(sizes), len(counts), **shape)
    for line, size in zip(axes, sizes, strict=True):
        for axis, threads in zip(line, counts, strict=True):
            shown = [row for row in rows if (row["size"], row["threads"]) == (size, threads)]
            shown.sort(key=lambda row: -row["whole"])
            colors = ["tab:orange" if row["engine"] == "whisper_apr" else "lightgray" for row in shown]
            names = [f"{row['engine']} {row['type']}" for row in shown]
            drawn = axis.barh(names, [row["whole"] for row in shown], color=colors)
            axis.bar_label(drawn, fmt="%.0f", padding=3)
            axis.margins(x=0.12, y=0.02)
            axis.set_xticks([])
            axis.spines["bottom"].set_visible(False)
            plural = "s" if threads > 1 else ""
            axis.set_title(f"{size}, {threads} thread{plural}: a window and 100 tokens, ms", loc="left", fontsize=10)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def kernels(figures: list[dict], file: Path) -> None:
    """Draw each case's share of the machine's limit: a panel per kernel, a line per shape, a dot per backend."""
    names = list(dict.fromkeys((figure["kernel"], figure["unit"]) for figure in figures))
    backends = list(dict.fromkeys(figure["backend"] for figure in figures))
    shapes = [list(dict.fromkeys(_shape(f) for f in figures if (f["kernel"], f["unit"]) == name)) for name in names]
    heights = [len(of_one) + 1.5 for of_one in shapes]
    shape = {"figsize": (7, 0.2 * sum(heights) + 0.6), "layout": "constrained", "squeeze": False, "sharex": True}
    plot, axes = pyplot.subplots(len(names), 1, height_ratios=heights, **shape)
    for axis, name, of_one in zip(axes[:, 0], names, shapes, strict=True):
        for backend in backends:
            dots = [f for f in figures if (f["kernel"], f["unit"], f["backend"]) == (*name, backend)]
            places = [of_one.index(_shape(figure)) for figure in dots]
            axis.plot([100 * f["share"] for f in dots], places, "o", markersize=4, label=backend)
        axis.set_yticks(range(len(of_one)), of_one)
        axis.set_ylim(len(of_one) - 0.5, -0.5)
        axis.grid(axis="y", color="whitesmoke")
        axis.set_axisbelow(True)
        axis.set_title(f"{name[0]}, {'reading' if name[1] == 'GB/s' else 'arithmetic'}", loc="left", fontsize=10)
    axes[-1, 0].set_xlabel("% of the machine's limit, measured with the backend's own instructions")
    axes[-1, 0].set_xlim(0, 105 * max(1, *(figure["share"] for figure in figures)))
    plot.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(backends), frameon=False)
    plot.savefig(file, metadata={"Date": None})
    pyplot.close(plot)


def _shape(figure: dict) -> str:
    return "x".join(map(str, figure["shape"]))
