"""Measure every kernel on every backend: speed, share of the machine's limit, and speedup over `scalar` and NumPy.

The shapes are those of tests/cases.py.

    pip install '.[bench]'
    python benchmarks/kernels.py --threads 1 --json docs/performance/kernels.json --svg docs/performance/kernels.svg
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from threadpoolctl import threadpool_limits

from whisper_apr import simd
from whisper_apr.bench import kernels
from whisper_apr.bench.measure import machine_line, table, write_json

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import cases


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
    with threadpool_limits(options.threads):  # of NumPy's BLAS
        for case in kernels.cases(cases.ENCODER_PRODUCTS, cases.TOKEN_PRODUCTS, cases.ENCODER_ATTENTIONS):
            figures += kernels.measure(case, options.backends)
            print(case.kernel, case.shape, file=sys.stderr)
    print(machine_line(), f", {options.threads} threads\n")
    print(table(kernels.HEAD, [figure.row() for figure in figures]))
    if options.json:
        write_json(options.json, threads=options.threads, figures=[asdict(figure) for figure in figures])
    if options.svg:
        import charts

        charts.kernels([asdict(figure) for figure in figures], options.svg)


if __name__ == "__main__":
    main()
