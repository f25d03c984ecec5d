"""Turn recordings into text. Files, folders (with the folders in them) and patterns are taken; - is the standard input. Without
--output-dir the text goes to the standard output, as it settles. With it, it goes into files (all formats of openai-whisper unless
--output-format names one), whose names are written to the standard output; recordings of a folder keep the folders that they lie in."""

import argparse
import sys
from typing import Any

from ..errors import OptionError
from ..output import ALL, FORMATS, LineOptions
from ..output.colors import wants_colors
from .arguments import add_engine, boolean, option, optional, switch
from .decoding import add_decoding, decoding_options
from .inputs import find_inputs, problem_with
from .outputs import Outputs
from .progress import Status, Tally
from .session import Session

HELP = "turn recordings into text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio", nargs="+", metavar="FILE", help="recording, folder of recordings, pattern, or -")
    option(parser, "no-recursive", action="store_true", help="of a folder, leave out the folders in it")
    add_engine(parser)
    # openai-whisper's command has these too: here there is one device, and weights stay as the model's file has them
    option(parser, "device", choices=("cpu",), default="cpu", help=argparse.SUPPRESS)
    option(parser, "fp16", type=boolean, nargs="?", const=True, default=True, help=argparse.SUPPRESS)
    group = parser.add_argument_group("output")
    option(group, "output-format", "-f", choices=(*FORMATS, ALL), help="format of the text (default: plain lines)")
    option(
        group, "output-dir", "-o", help="folder for files, one a recording and format, in place of the standard output"
    )
    existing = group.add_mutually_exclusive_group()
    option(existing, "skip-existing", action="store_true", help="pass over recordings whose files are there already")
    option(existing, "overwrite", action="store_true", help="replace files that are there (default: they are an error)")
    switch(
        group,
        "verbose",
        default=None,
        help="True: print segments with their times; False: print no more than was asked for, and no last line",
    )
    option(
        group,
        "colors",
        "--colours",
        dest="colors",
        action="store_true",
        help="on a terminal: color each word from red to green by its probability; finds word times (NO_COLOR, FORCE_COLOR)",
    )
    switch(group, "highlight-words", help="srt and vtt: underline each word as it is spoken (needs --word-timestamps)")
    for name, meaning in (
        ("max-line-width", "characters of a line"),
        ("max-line-count", "lines of a cue (needs --max-line-width)"),
        ("max-words-per-line", "words of a cue"),
    ):
        option(group, name, type=optional(int), help=f"srt, vtt and ass: {meaning} (needs --word-timestamps)")
    parser.set_defaults(decoding_names=add_decoding(parser))


def _line_options(args: argparse.Namespace) -> LineOptions:
    options = LineOptions(
        max_line_width=args.max_line_width,
        max_line_count=args.max_line_count,
        max_words_per_line=args.max_words_per_line,
        highlight_words=args.highlight_words,
    )
    if not options.is_default and not getattr(args, "word_timestamps", False):
        raise OptionError("how words are laid out (--max-..., --highlight-words) needs --word-timestamps True")
    return options


def _with_colors(args: argparse.Namespace, options: dict[str, Any], lines: bool) -> bool:
    """Whether words are colored; their probabilities come with their times, which are then asked for."""
    if not args.colors:
        return False
    if not lines:
        raise OptionError(
            "--colors is about plain text on the standard output: leave out --output-format, or add --verbose True"
        )
    if options.get("word_timestamps") is False:
        raise OptionError("--colors needs the words' probabilities: leave out --word-timestamps False")
    if wants := wants_colors(sys.stdout):
        options["word_timestamps"] = True
    return wants


def run(args: argparse.Namespace) -> int:
    layout = _line_options(args)
    options = decoding_options(args, args.decoding_names)
    inputs, problems = find_inputs(args.audio, not args.no_recursive)
    outputs = None
    to_files = args.output_dir is not None or args.output_format == ALL
    lines = bool(args.verbose) if to_files else args.output_format in (None, "txt")
    with_colors = _with_colors(args, options, lines)
    if to_files:
        outputs = Outputs(args.output_dir or ".", args.output_format, inputs, layout)
        outputs.check(args.skip_existing, args.overwrite)
    elif args.skip_existing or args.overwrite:
        raise OptionError("--skip-existing and --overwrite are about files: they need --output-dir")
    tally, todo = Tally(), []
    for problem in problems:
        tally.failed(*problem)
    for item in inputs:
        if outputs is not None and outputs.is_done(item):
            tally.n_skipped += 1
        elif reason := problem_with(item):
            tally.failed(item.label, reason)
        else:
            todo.append(item)
    several = len(inputs) + len(problems) > 1
    is_reported = args.verbose is not False and (several or outputs is not None or sys.stderr.isatty())
    try:
        if todo:
            with Status() as status:
                Session(
                    inputs=todo,
                    outputs=outputs,
                    format=args.output_format,
                    layout=layout,
                    lines=lines,
                    with_times=bool(args.verbose),
                    with_colors=with_colors,
                    names_files=args.verbose is not False,
                    with_heads=several,
                    status=status,
                    tally=tally,
                ).run(args, options)
    except KeyboardInterrupt:
        if is_reported:
            tally.report()
        raise
    if is_reported or (tally.n_failed and several):
        tally.report()
    return 1 if tally.n_failed else 0
