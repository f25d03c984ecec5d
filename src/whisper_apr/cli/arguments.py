"""Flags that several subcommands share, and the types of flags' values."""

import argparse
from collections.abc import Callable
from typing import Any

from .. import simd
from ..errors import OptionError
from ..option_values import MAX_WHOLE
from ..output import LineOptions
from ..recognizer import Recognizer, load_model
from ..tokenizer import to_language_code

DEFAULT_MODEL = "base"

# placeholders for values in `--help`, by the name of the flag's type; other types stand for themselves in capitals
METAVARS = {"int": "N", "integer": "N", "float": "X", "str": "TEXT", "comma_separated": "WORDS"}


def option(parser: argparse._ActionsContainer, name: str, *short: str, **settings: Any) -> None:
    """Add a flag in both spellings, `--some-name` and openai-whisper's `--some_name`.

    Args:
        parser: The parser or group to add it to.
        name: The name, with hyphens and without the leading ones.
        *short: Other spellings, such as `-f`.
        **settings: Passed to `add_argument`.
    """
    if "choices" not in settings and "action" not in settings:
        kind = settings.get("type", str).__name__
        settings.setdefault("metavar", METAVARS.get(kind, kind.upper()))
    spellings = dict.fromkeys((f"--{name}", f"--{name.replace('-', '_')}"))
    parser.add_argument(*short, *spellings, **settings)


def boolean(text: str) -> bool:
    """Parse True or False, as openai-whisper's command spells them; case is ignored."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise argparse.ArgumentTypeError(f"must be True or False, not {text!r}")


def switch(parser: argparse._ActionsContainer, name: str, *, help: str, default: Any = False) -> None:
    """Add a flag that is given as `--name`, `--name True` or `--name False`."""
    option(parser, name, type=boolean, nargs="?", const=True, default=default, metavar="True|False", help=help)


def optional(kind: type[int] | type[float]) -> Any:
    """Return a parser of a number or the word None."""

    def parse(text: str) -> float | None:
        return None if text == "None" else kind(text)

    parse.__name__ = kind.__name__  # argparse uses it in error messages
    return parse


def language(text: str) -> str:
    """Check that Whisper knows a language, given as a code or an English name."""
    try:
        to_language_code(text)
    except OptionError as error:  # argparse would replace the message of any other exception
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def languages(text: str) -> list[str]:
    """Parse languages separated by commas."""
    return [language(part) for part in comma_separated(text)]


def comma_separated(text: str) -> list[str]:
    """Split at commas, and drop empty parts."""
    return [part.strip() for part in text.split(",") if part.strip()]


def channel(text: str) -> int | str:
    """Parse a channel's number, or "mix" or "each"."""
    return text if text in ("mix", "each") else int(text)


def speakers(text: str) -> bool | int | str:
    """Parse "auto", a number of speakers, or the path of a file of turns."""
    return True if text == "auto" else int(text) if text.isdigit() else text


def _at_least(low: int) -> Callable[[str], int]:
    def integer(text: str) -> int:  # argparse uses the name in error messages
        if not low <= (number := int(text)) <= MAX_WHOLE:
            raise argparse.ArgumentTypeError(f"must be from {low} to {MAX_WHOLE}, not {number}")
        return number

    return integer


positive = _at_least(1)
not_negative = _at_least(0)


def add_model_dir(parser: argparse.ArgumentParser) -> None:
    """Add `--model-dir`."""
    option(
        parser, "model-dir", metavar="FOLDER", help="folder for downloaded models (default: huggingface_hub's cache)"
    )


def add_model_options(
    parser: argparse.ArgumentParser, *, several_types: bool = False, of_workers: bool = False
) -> None:
    """Add the flags that choose a model and how it runs.

    Args:
        parser: The parser of a subcommand.
        several_types: Whether `--compute-type` takes several types, separated by commas.
        of_workers: Whether `--threads` is the number of each worker's.
    """
    option(
        parser,
        "model",
        default=DEFAULT_MODEL,
        metavar="MODEL",
        help=f"name or path of a model; digits is included in the package (default: {DEFAULT_MODEL})",
    )
    add_model_dir(parser)
    types = "types of the weights, separated by commas" if several_types else "type of the weights"
    option(
        parser,
        "compute-type",
        type=comma_separated if several_types else str,
        metavar="TYPES" if several_types else "TYPE",
        default=["default"] if several_types else "default",
        help=f"{types}: float32, float16, int8 or int4 (default: as in the model's file)",
    )
    if of_workers:
        option(parser, "threads", type=positive, default=1, help="number of threads of each worker (default: 1)")
    else:  # 0 is openai-whisper's default; it means one per CPU
        option(
            parser,
            "threads",
            type=not_negative,
            default=0,
            help="number of threads (default: 0, one per CPU that the process may use)",
        )
    option(
        parser,
        "backend",
        metavar="NAME",
        help=f"instruction set of the kernels: {', '.join(simd.backends())} (default: the last, which is the fastest)",
    )


def model_from_args(args: argparse.Namespace) -> Recognizer:
    """Load the model that the flags name, and set the backend and the number of threads.

    Args:
        args: The parsed arguments, with one `compute_type`.

    Raises:
        BackendError: The backend is unknown or cannot run on this CPU.
        WhisperAprError: The model cannot be loaded.
    """
    if args.backend is not None:
        simd.use_backend(args.backend)
    if args.threads > 0:
        simd.set_num_threads(args.threads)
    return load_model(args.model, download_root=args.model_dir, compute_type=args.compute_type)


def add_layout_options(group: argparse._ActionsContainer, needed: str = "") -> None:
    """Add the flags that lay out words in subtitles.

    Args:
        group: The group to add them to.
        needed: Another flag that all of them need, with a space before it; empty for none.
    """
    needs = f"; needs{needed}" if needed else ""
    switch(
        group,
        "highlight-words",
        help=f"underline each word while it is spoken, in srt and vtt{needs} (default: False)",
    )
    for name, meaning, other in (
        ("max-line-width", "maximum characters per line", ""),
        ("max-line-count", "maximum lines per cue", " --max-line-width"),
        ("max-words-per-line", "maximum words per cue", ""),
    ):
        required = " and".join(filter(None, (other, needed)))
        needs = f"; needs{required}" if required else ""
        option(
            group,
            name,
            type=optional(int),
            help=f"{meaning}, in srt, vtt and ass{needs} (default: None, no limit)",
        )


def layout_from_args(args: argparse.Namespace) -> LineOptions:
    """Return the options that `add_layout_options` added. Raises OptionError for a value that is not allowed."""
    return LineOptions(
        max_line_width=args.max_line_width,
        max_line_count=args.max_line_count,
        max_words_per_line=args.max_words_per_line,
        highlight_words=args.highlight_words,
    )
