"""Flags that subcommands share, and the types of their values."""

import argparse
from typing import Any

from .. import simd

DEFAULT_MODEL = "base"


def option(parser: argparse._ActionsContainer, name: str, *short: str, **settings: Any) -> None:
    """Add `--some-name`, which openai-whisper's command spells `--some_name`: both are taken."""
    spellings = dict.fromkeys((f"--{name}", f"--{name.replace('-', '_')}"))
    parser.add_argument(*short, *spellings, **settings)


def boolean(text: str) -> bool:
    """openai-whisper's command spells truth as True and False."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise argparse.ArgumentTypeError(f"True or False is expected, not {text!r}")


def switch(parser: argparse._ActionsContainer, name: str, *, help: str, default: Any = False) -> None:
    """`--name`, `--name True` or `--name False`."""
    option(parser, name, type=boolean, nargs="?", const=True, default=default, metavar="True|False", help=help)


def optional(kind: type[int] | type[float]) -> Any:
    """A number, or the word None."""

    def parse(text: str) -> float | None:
        return None if text == "None" else kind(text)

    parse.__name__ = kind.__name__  # argparse names it in its error
    return parse


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def add_engine(parser: argparse.ArgumentParser) -> None:
    """What runs the model, and how."""
    option(
        parser,
        "model",
        default=DEFAULT_MODEL,
        help=f"name or path of a model (default: {DEFAULT_MODEL}; 'digits' comes with the package)",
    )
    # openai-whisper's 0 means: as many as there are
    option(parser, "threads", type=int, default=0, help="threads (default: as many as the process may use)")
    option(parser, "backend", help=f"kernels to run ({', '.join(simd.backends())}; default: the last)")


def use_engine(args: argparse.Namespace) -> None:
    """Set the threads and the backend that were asked for. Raises BackendError for one that cannot be used."""
    if args.backend is not None:
        simd.use_backend(args.backend)
    if args.threads > 0:
        simd.set_num_threads(args.threads)
