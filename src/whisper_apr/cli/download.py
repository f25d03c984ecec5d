"""Download a model into the cache, and print its path. From then on it can be used offline."""

import argparse

from ..errors import OptionError
from .arguments import add_model_dir
from .terminal import write_stdout

HELP = "download a model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `download`."""
    parser.add_argument(
        "name", metavar="NAME", help="a name that 'whisper-apr models' lists, or org/name of the Hugging Face Hub"
    )
    add_model_dir(parser)


def run(args: argparse.Namespace) -> int:
    """Download the model, print its path, and return the exit status."""
    from ..hub import fetch, find_model

    model = find_model(args.name)
    if model is None:
        raise OptionError(
            f"no model is named {args.name!r}; use a name that 'whisper-apr models' lists, or org/name of the Hugging "
            "Face Hub"
        )
    write_stdout(f"{fetch(model, args.model_dir)}\n")
    return 0
