"""Measure how fast this machine runs the kernels and a model: each kernel's share of the machine's limit, then each stage of a window."""

import argparse

from .. import simd
from ..atomic import check_writable
from .terminal import out, writing

HELP = "measure kernels and a model's stages on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..bench import pipeline

    pipeline.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from ..bench import kernels, pipeline
    from ..bench.measure import machine_line, table

    if args.json:
        with writing(args.json):  # minutes before it is written
            check_writable(args.json)

    out(machine_line() + "\n")
    compiled = [name for name in simd.backends() if name != "numpy"]
    simd.set_num_threads(args.threads[0])
    out(f"\nkernels, {args.threads[0]} threads, the shapes of tiny\n\n")
    cases = kernels.cases([(1500, 384, 1536)], [(1, 384, 51865)], [(1, 6, 1500, 1500, 64)])
    rows = [figure.row() for case in cases for figure in kernels.measure(case, compiled)]
    out(f"{table(kernels.HEAD, rows)}\n\n")
    pipeline.run(args)
    return 0
