"""Print the version, the CPU, and the kernels that were picked for it."""

import argparse
import platform
import sys

import numpy as np

from .. import __version__, simd

HELP = "print the version, the CPU, and which kernels run on it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def _cpu() -> str:
    """The CPU's name, where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"


def run(args: argparse.Namespace) -> int:
    rows = {
        "version": f"whisper_apr {__version__}, NumPy {np.__version__}, Python {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "CPU": _cpu(),
        "backends": ", ".join(simd.backends()),
        "picked": simd.backend(),
        "threads": simd.get_num_threads(),
    }
    for name, value in rows.items():
        sys.stdout.write(f"{name + ':':10}{value}\n")
    return 0
