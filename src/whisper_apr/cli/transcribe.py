"""Turn recordings into text. Files, folders and patterns are taken; - is the standard input. Without --output-dir the text goes to
the standard output, as it settles; with it, into files (all formats of openai-whisper unless --output-format names one)."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from ..errors import AudioError, OptionError, WhisperAprError
from ..inference.heard import Progress
from ..inference.results import Segment, Transcription
from ..output import ALL, FORMATS, LineOptions, format_timestamp, write, write_files
from . import fail
from .arguments import add_engine, boolean, open_engine, option, optional, switch
from .decoding import add_decoding, decoding_options
from .files import STDIN, output_names, recordings

HELP = "turn recordings into text"
SPEAKERS = 2  # channels that are decoded at once where each is transcribed apart: the two sides of a call


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio", nargs="+", metavar="FILE", help="recording, folder of recordings, pattern, or -")
    add_engine(parser)
    # openai-whisper's command has these too: here there is one device, and weights stay as the model's file has them
    option(parser, "device", choices=("cpu",), default="cpu", help=argparse.SUPPRESS)
    option(parser, "fp16", type=boolean, nargs="?", const=True, default=True, help=argparse.SUPPRESS)
    group = parser.add_argument_group("output")
    option(group, "output-format", "-f", choices=(*FORMATS, ALL), help="format of the text (default: plain lines)")
    option(
        group, "output-dir", "-o", help="folder for files, one a recording and format, in place of the standard output"
    )
    switch(
        group,
        "verbose",
        default=None,
        help="True: print segments with their times; False: print nothing but what was asked for (default: plain text)",
    )
    switch(group, "highlight-words", help="srt and vtt: underline each word as it is spoken (needs --word-timestamps)")
    for name, meaning in (
        ("max-line-width", "characters of a line"),
        ("max-line-count", "lines of a cue (needs --max-line-width)"),
        ("max-words-per-line", "words of a cue"),
    ):
        option(group, name, type=optional(int), help=f"srt and vtt: {meaning} (needs --word-timestamps)")
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


class _Terminal:
    """What is seen of a recording while it is transcribed: segments on stdout, a bar on stderr where that is a terminal."""

    def __init__(self, paths: Sequence[str], shows: bool, with_times: bool) -> None:
        self._paths, self._shows, self._with_times = paths, shows, with_times
        self._bar: Any = None

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def on_segment(self, _: int, segment: Segment) -> None:
        text = segment.text.strip()
        if not self._shows or not text:
            return
        if self._with_times:
            text = f"[{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}] {text}"
        if self._bar is not None and sys.stdout.isatty():
            self._bar.clear()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def on_progress(self, index: int, progress: Progress) -> None:
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm

            tqdm.monitor_interval = 0  # no thread to watch a bar
            self._bar = tqdm(
                total=progress.total,
                desc=os.path.basename(self._paths[index]),
                leave=False,
                mininterval=0,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]",
            )
        self._bar.update(progress.done - self._bar.n)


def _write(result: Transcription, name: str, args: argparse.Namespace) -> None:
    if not args.to_stdout:
        write_files(result, args.output_format or ALL, args.output_dir or ".", name, args.lines)
    elif not args.shows_lines:
        write(result, args.output_format, sys.stdout, args.lines)
        if args.output_format == "json":
            sys.stdout.write("\n")
        sys.stdout.flush()


def run(args: argparse.Namespace) -> int:
    args.lines = _line_options(args)
    args.to_stdout = args.output_dir is None and args.output_format != ALL
    args.shows_lines = args.output_format in (None, "txt") if args.to_stdout else args.verbose is not False
    options = decoding_options(args, args.decoding_names)
    batch_size = options.pop("batch_size", None)
    paths = recordings(args.audio)
    names = output_names(paths)
    model = open_engine(args)
    terminal = _Terminal(paths, args.shows_lines, bool(args.verbose))
    results = model.transcribe_many(
        (sys.stdin.buffer if path == STDIN else path for path in paths),
        batch_size=batch_size if batch_size is not None else SPEAKERS if options.get("channel") == "each" else 1,
        independent_windows=batch_size is not None,
        return_errors=True,
        on_segment=terminal.on_segment,
        on_progress=terminal.on_progress,
        **options,
    )
    failed = 0
    with closing(terminal):
        for path, name, result in zip(paths, names, results, strict=True):
            terminal.close()
            try:
                if isinstance(result, AudioError):
                    raise result
                _write(result, name, args)
            except WhisperAprError as error:
                fail(error if path in str(error) else f"{path}: {error}")
                failed += 1
    if failed and len(paths) > 1:
        fail(f"{failed} of {len(paths)} recordings could not be transcribed")
    return 1 if failed else 0
