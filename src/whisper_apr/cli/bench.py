"""Measure how fast this machine runs the kernels and a model: each kernel's share of the machine's limit, then each stage of a window."""

import argparse

from .. import simd

HELP = "measure kernels and a model's stages on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..bench import pipeline

    pipeline.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from ..bench import kernels, pipeline
    from ..bench.measure import machine_line, table

    print(machine_line())
    compiled = [name for name in simd.backends() if name != "numpy"]
    simd.set_num_threads(args.threads[0])
    print(f"\nkernels, {args.threads[0]} threads, the shapes of tiny\n")
    cases = kernels.cases([(1500, 384, 1536)], [(1, 384, 51865)], [(1, 6, 1500, 1500, 64)])
    print(table(kernels.HEAD, [figure.row() for case in cases for figure in kernels.measure(case, compiled)]), "\n")
    pipeline.run(args)
    return 0
