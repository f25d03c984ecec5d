"""List the models that have a name, their sizes, and which of them are here already."""

import argparse

from .terminal import out

HELP = "list the models that have a name"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def run(args: argparse.Namespace) -> int:
    from ..hub import BUNDLED, cached_folder, converted_files, known_models

    for name in BUNDLED:
        out(f"{name:16}{'':>8}  comes with the package\n")
    for name, model in known_models().items():
        here = ["fetched"] if cached_folder(model) else []
        for path in converted_files(model):
            here.append(f"{path.stem.rsplit('-', 1)[1]} {megabytes(path.stat().st_size)}")
        out(f"{name:16}{megabytes(model.size or 0):>8}  {model.repo}{'; here: ' if here else ''}{', '.join(here)}\n")
    return 0
