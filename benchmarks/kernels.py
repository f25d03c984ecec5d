"""Every kernel on every backend, on the shapes that the tests check: speed, share of the machine's limit, and times over `scalar` and NumPy.

python benchmarks/kernels.py --threads 1 --json docs/performance/kernels.json --svg docs/performance/kernels.svg
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from whisper_apr import simd
from whisper_apr.bench import kernels
from whisper_apr.bench.measure import machine, machine_line, table

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import cases  # the tests' own


def draw(figures: list[kernels.Figure], file: Path) -> None:
    """Each case's share of the machine's limit, a bar for each backend."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(f"{figure.kernel} {'x'.join(map(str, figure.shape))}" for figure in figures))
    backends = list(dict.fromkeys(figure.backend for figure in figures))
    width = 0.8 / len(backends)
    plot, axis = pyplot.subplots(figsize=(9, 0.25 * len(names) * len(backends) ** 0.5 + 1), layout="constrained")
    for i, backend in enumerate(backends):
        shares = {f"{f.kernel} {'x'.join(map(str, f.shape))}": f.share for f in figures if f.backend == backend}
        places = [names.index(name) + i * width for name in shares]
        axis.barh(places, [100 * (share or 0) for share in shares.values()], width, label=backend)
    axis.set_yticks([i + 0.4 - width / 2 for i in range(len(names))], names)
    axis.invert_yaxis()
    axis.set_xlabel("% of the machine's limit, as measured for the backend")
    axis.legend()
    axis.spines[["top", "right"]].set_visible(False)
    plot.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    compiled = [name for name in simd.backends() if name != "numpy"]
    parser.add_argument("--backends", nargs="+", default=compiled, choices=compiled)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    simd.set_num_threads(options.threads)
    figures = []
    for case in kernels.cases(cases.ENCODER_PRODUCTS, cases.TOKEN_PRODUCTS, cases.ENCODER_ATTENTIONS):
        figures += kernels.measure(case, options.backends)
        print(case.kernel, case.shape, file=sys.stderr)
    print(machine_line(), f", {options.threads} threads\n")
    print(table(kernels.HEAD, [figure.row() for figure in figures]))
    if options.json:
        options.json.write_text(
            json.dumps({"machine": machine(), "figures": [asdict(f) for f in figures]}, indent=1) + "\n"
        )
    if options.svg:
        draw(figures, options.svg)


if __name__ == "__main__":
    main()
