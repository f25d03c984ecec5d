"""Transcribe recordings. Without --output-dir the text is printed as it is decoded. With --output-dir it is written to
files, in all of openai-whisper's formats unless --output-format names one, and the files' paths are printed; subfolders
of a folder are kept. A run with --output-dir that is interrupted resumes when the same command is run again. With
--watch it goes on with recordings that appear in the folders later."""

import argparse
import sys
from typing import Any

from ..errors import OptionError
from ..output import ALL, FORMATS, LineOptions
from .arguments import add_layout_options, add_model_options, boolean, layout_from_args, option, switch
from .colors import wants_colors
from .decoding import add_decoding_options, decoding_options
from .inputs import find_inputs, reason_unreadable
from .outputs import Outputs
from .progress import Status, Tally
from .transcription_run import TranscriptionRun
from .watch import check_arguments, watch

HELP = "transcribe recordings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `transcribe`."""
    parser.add_argument(
        "audio", nargs="+", metavar="FILE", help="recording, folder of recordings, quoted pattern, or - for stdin"
    )
    option(parser, "no-recursive", action="store_true", help="skip the subfolders of folders")
    option(
        parser,
        "watch",
        action="store_true",
        help="go on with recordings that appear in the folders later, until interrupted; needs the extra watch",
    )
    add_model_options(parser)
    # accepted for openai-whisper's sake: the only device is the CPU, and --compute-type takes the place of --fp16
    option(parser, "device", choices=("cpu",), default="cpu", help=argparse.SUPPRESS)
    option(parser, "fp16", type=boolean, nargs="?", const=True, default=True, help=argparse.SUPPRESS)
    group = parser.add_argument_group("output")
    option(
        group,
        "output-format",
        "-f",
        choices=(*FORMATS, ALL),
        metavar="FORMAT",
        help=f"one of {', '.join(FORMATS)}, or {ALL} for those of openai-whisper (default: plain lines)",
    )
    option(
        group,
        "output-dir",
        "-o",
        metavar="FOLDER",
        help="folder to write to, one file per recording and format (default: print the text)",
    )
    existing = group.add_mutually_exclusive_group()
    option(existing, "skip-existing", action="store_true", help="skip recordings whose files exist")
    option(existing, "overwrite", action="store_true", help="replace files that exist (default: an error)")
    switch(
        group,
        "verbose",
        default=None,
        help="True: print segments with their times; False: print neither paths nor totals (default: paths and totals)",
    )
    option(
        group,
        "colors",
        "--colours",
        dest="colors",
        action="store_true",
        help="color words from red to green by their probability, on a terminal (see NO_COLOR and FORCE_COLOR); "
        "turns on --word-timestamps",
    )
    add_layout_options(group, " --word-timestamps")
    parser.set_defaults(decoding_names=add_decoding_options(parser))


def _line_options(args: argparse.Namespace) -> LineOptions:
    options = layout_from_args(args)
    if not options.is_default and not getattr(args, "word_timestamps", False):
        raise OptionError(
            "--max-line-width, --max-line-count, --max-words-per-line and --highlight-words need --word-timestamps True"
        )
    return options


def _use_colors(args: argparse.Namespace, options: dict[str, Any], prints_segments: bool) -> bool:
    """Return whether to color words. If so, turn on word timestamps, as only they come with probabilities."""
    if not args.colors:
        return False
    if not prints_segments:
        raise OptionError(
            "--colors needs plain text on the standard output: leave out --output-format, or add --verbose True"
        )
    if options.get("word_timestamps") is False:
        raise OptionError("--colors needs the words' probabilities: leave out --word-timestamps False")
    if use_colors := wants_colors(sys.stdout):
        options["word_timestamps"] = True
    return use_colors


def run(args: argparse.Namespace) -> int:
    """Check arguments and files, transcribe the recordings, and return the exit status."""
    layout = _line_options(args)
    options = decoding_options(args, args.decoding_names)
    if args.watch:
        check_arguments(args)
    to_files = args.output_dir is not None or args.output_format == ALL
    prints_segments = bool(args.verbose) if to_files else args.output_format in (None, "txt")
    with_colors = _use_colors(args, options, prints_segments)
    if args.watch:
        return watch(args, options, layout)
    inputs, problems = find_inputs(args.audio, not args.no_recursive)
    outputs = None
    if to_files:
        outputs = Outputs(args.output_dir or ".", args.output_format, inputs, layout)
        outputs.check(args.skip_existing, args.overwrite)
    elif args.skip_existing or args.overwrite:
        raise OptionError("--skip-existing and --overwrite need --output-dir")
    tally, pending = Tally(), []
    for problem in problems:
        tally.add_failure(*problem)
    for item in inputs:
        if outputs is not None and outputs.is_done(item):
            tally.n_skipped += 1
        elif reason := reason_unreadable(item):
            tally.add_failure(item.label, reason)
        else:
            pending.append(item)
    several = len(inputs) + len(problems) > 1
    is_reported = args.verbose is not False and (several or outputs is not None or sys.stderr.isatty())
    try:
        if pending:
            with Status() as status:
                TranscriptionRun(
                    inputs=pending,
                    outputs=outputs,
                    format=args.output_format,
                    layout=layout,
                    prints_segments=prints_segments,
                    with_times=bool(args.verbose),
                    with_colors=with_colors,
                    prints_paths=args.verbose is not False,
                    with_headers=several,
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
