"""List the models that can be loaded by name, with their sizes and whether they are downloaded."""

import argparse

from .terminal import write_stdout

HELP = "list the models that can be loaded by name"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""


def megabytes(size: int) -> str:
    """Format a number of bytes as `74 MB`."""
    return f"{size / 1e6:.0f} MB"


def run(args: argparse.Namespace) -> int:
    """Print the table, and return the exit status."""
    from ..hub import BUNDLED, cached_folder, converted_files, known_models

    for name in BUNDLED:
        write_stdout(f"{name:16}{'':>8}  included in the package\n")
    for name, model in known_models().items():
        cached = ["downloaded"] if cached_folder(model) else []
        for path in converted_files(model):
            cached.append(f"{path.stem.rsplit('-', 1)[1]} {megabytes(path.stat().st_size)}")
        state = f"; cached: {', '.join(cached)}" if cached else ""
        write_stdout(f"{name:16}{megabytes(model.size or 0):>8}  {model.repo}{state}\n")
    return 0
