"""Flags that subcommands share, and the types of their values."""

import argparse
from collections.abc import Callable
from typing import Any

from .. import simd
from ..errors import OptionError
from ..option_values import MAX_WHOLE
from ..recognizer import Recognizer, load_model
from ..tokenizer import to_language_code

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


def language(text: str) -> str:
    """A code or an English name that Whisper knows."""
    try:
        to_language_code(text)
    except OptionError as error:  # argparse would put its own words in the place of these
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def languages(text: str) -> list[str]:
    """Several, with commas between."""
    return [language(part) for part in listed(text)]


def listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def channel(text: str) -> int | str:
    """A channel's number, or a word for several."""
    return text if text in ("mix", "each") else int(text)


def _at_least(low: int) -> Callable[[str], int]:
    def integer(text: str) -> int:  # argparse names it in its error
        if not low <= (number := int(text)) <= MAX_WHOLE:
            raise argparse.ArgumentTypeError(f"must be at least {low} and at most {MAX_WHOLE}, not {number}")
        return number

    return integer


positive = _at_least(1)
not_negative = _at_least(0)


def add_engine(parser: argparse.ArgumentParser) -> None:
    """What runs the model, and how."""
    option(
        parser,
        "model",
        default=DEFAULT_MODEL,
        help=f"name or path of a model (default: {DEFAULT_MODEL}; 'digits' comes with the package)",
    )
    option(parser, "model-dir", help="folder of fetched models (default: huggingface_hub's cache)")
    option(
        parser,
        "compute-type",
        default="default",
        help="float32, float16, int8 or int4: how weights are kept and multiplied (default: as the model's file has them)",
    )
    # openai-whisper's 0 means: as many as there are
    option(parser, "threads", type=not_negative, default=0, help="threads (default: as many as the process may use)")
    option(parser, "backend", help=f"kernels to run ({', '.join(simd.backends())}; default: the last)")


def open_engine(args: argparse.Namespace) -> Recognizer:
    """The model, with the threads and on the backend that were asked for. Raises BackendError for one that cannot be used."""
    if args.backend is not None:
        simd.use_backend(args.backend)
    if args.threads > 0:
        simd.set_num_threads(args.threads)
    return load_model(args.model, download_root=args.model_dir, compute_type=args.compute_type)
