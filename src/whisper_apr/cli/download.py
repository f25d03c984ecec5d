"""Fetch a model into the cache, so that it can be used without a network from then on."""

import argparse

from ..errors import OptionError
from .arguments import option
from .terminal import out

HELP = "fetch a model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="a name of 'whisper-apr models', or org/name of the Hugging Face hub"
    )
    option(parser, "model-dir", help="folder to keep it in (default: huggingface_hub's cache)")


def run(args: argparse.Namespace) -> int:
    from ..hub import fetch, find_model

    model = find_model(args.name)
    if model is None:
        raise OptionError(
            f"no model named {args.name!r}; 'whisper-apr models' lists the names, and org/name is one of the hub"
        )
    out(f"{fetch(model, args.model_dir)}\n")
    return 0
