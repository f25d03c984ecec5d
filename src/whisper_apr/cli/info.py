"""Print the version, the CPU, and the kernels that were picked for it."""

import argparse
import platform

import numpy as np

from .. import __version__, simd
from ..bench.measure import cpu_name
from .terminal import out

HELP = "print the version, the CPU, and which kernels run on it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> int:
    rows = {
        "version": f"whisper_apr {__version__}, NumPy {np.__version__}, Python {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "CPU": cpu_name(),
        "backends": ", ".join(simd.backends()),
        "picked": simd.backend(),
        "threads": simd.get_num_threads(),
    }
    out("".join(f"{name + ':':10}{value}\n" for name, value in rows.items()))
    return 0
