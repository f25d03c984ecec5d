"""Print the version, the CPU, the kernel backends that it supports, and the number of threads."""

import argparse
import os
import platform

import numpy as np

from .. import __version__, simd
from ..bench.measure import cpu_name
from .terminal import write_stdout

HELP = "print the version, the CPU and the kernel backends that it supports"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""


def _reason() -> str:
    """Return why the backend that is in use was chosen."""
    if simd.backends() == ("numpy",):
        return "there are no compiled kernels: install a wheel, or build the extension"
    if os.environ.get("WHISPER_APR_BACKEND"):
        return "WHISPER_APR_BACKEND says so"
    return "the fastest of them"


def run(args: argparse.Namespace) -> int:
    """Print the table, and return the exit status."""
    rows = {
        "version": f"whisper_apr {__version__}, NumPy {np.__version__}, Python {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "CPU": cpu_name(),
        "backends": ", ".join(simd.backends()),
        "in use": f"{simd.backend()} ({_reason()})",
        "threads": simd.get_num_threads(),
    }
    write_stdout("".join(f"{name + ':':10}{value}\n" for name, value in rows.items()))
    return 0
