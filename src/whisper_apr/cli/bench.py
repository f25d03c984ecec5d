"""Measure the speed of the kernels, relative to the limits of this machine, and of each stage of a model."""

import argparse

from .. import simd
from ..atomic import check_writable
from .terminal import output_errors, write_stdout

HELP = "measure kernels and the stages of a model on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bench`."""
    from ..bench import pipeline

    pipeline.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the tables, and return the exit status."""
    from ..bench import kernels, pipeline
    from ..bench.measure import machine_line, table

    if args.json:
        with output_errors(args.json):  # now, and not after minutes of measuring
            check_writable(args.json)

    write_stdout(machine_line() + "\n")
    compiled = [name for name in simd.backends() if name != "numpy"]
    simd.set_num_threads(args.threads[0])
    write_stdout(f"\nkernels, {args.threads[0]} threads, with the shapes of the model tiny\n\n")
    cases = kernels.cases([(1500, 384, 1536)], [(1, 384, 51865)], [(1, 6, 1500, 1500, 64)])
    rows = [figure.row() for case in cases for figure in kernels.measure(case, compiled)]
    write_stdout(f"{table(kernels.HEAD, rows)}\n\n")
    pipeline.run(args)
    return 0
