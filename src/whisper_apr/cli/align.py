"""Align a known text with a recording: find when each of its words is spoken. TEXT is a UTF-8 file; each of its lines
becomes a subtitle. Words that are not spoken, and speech that is not in the text, are reported as messages, and in json
as "skipped" and "added"."""

import argparse
import io
from pathlib import Path

from ..errors import OptionError
from ..inference.known_text import MAX_CHARACTERS, SEGMENT_UNITS
from ..inference.results import Alignment, Progress
from ..output import FORMATS, format_timestamp, write
from ..output.writers import write_file
from .arguments import (
    add_layout_options,
    add_model_options,
    language,
    layout_from_args,
    model_from_args,
    option,
    switch,
)
from .inputs import STDIN, Input, check_stdin, reason_unreadable
from .progress import Status
from .terminal import print_message, write_stdout

HELP = "find when the words of a known text are spoken"
MAX_BYTES = 4 * MAX_CHARACTERS  # the most that a text's characters take in UTF-8
MAX_LISTED = 5  # skipped words, or stretches of added speech, that messages name; of the others they give the number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `align`."""
    parser.add_argument("audio", metavar="AUDIO", help="recording, or - for stdin")
    parser.add_argument("text", metavar="TEXT", help="file with the text that is spoken")
    add_model_options(parser)
    option(
        parser,
        "language",
        type=language,
        help="language of the text, as a code or an English name (default: detect that of the recording)",
    )
    option(
        parser,
        "segments",
        choices=SEGMENT_UNITS,
        default="lines",
        help="what becomes a subtitle: each of the text's lines, or each of its sentences (default: lines)",
    )
    recording = parser.add_argument_group("recording")
    option(
        recording,
        "channel",
        type=_channel,
        default="mix",
        help="channel to listen to: its number from 0, or mix (the mean of all) (default: mix)",
    )
    option(
        recording,
        "track",
        type=int,
        help="audio track, from 0, of a file with several (default: the one a player chooses)",
    )
    switch(recording, "strict", help="fail on a recording that would only cause a warning (default: False)")
    group = parser.add_argument_group("output")
    option(
        group,
        "output-format",
        "-f",
        choices=FORMATS,
        metavar="FORMAT",
        help=f"one of {', '.join(FORMATS)} (default: by the suffix of --output, otherwise srt)",
    )
    option(group, "output", "-o", metavar="FILE", help="file to write (default: print the result)")
    option(group, "overwrite", action="store_true", help="replace the file if it exists (default: an error)")
    add_layout_options(group)


def _channel(text: str) -> int | str:
    """Parse a channel's number, or "mix"."""
    return text if text == "mix" else int(text)


_channel.__name__ = "channel"  # argparse uses it in error messages


def run(args: argparse.Namespace) -> int:
    """Align the text, print or write the result, and return the exit status."""
    layout = layout_from_args(args)
    suffix = Path(args.output or "").suffix[1:].lower()
    format = args.output_format or (suffix if suffix in FORMATS else "srt")
    if args.overwrite and args.output is None:
        raise OptionError("--overwrite needs --output")
    if args.output is not None and not args.overwrite and Path(args.output).exists():
        raise OptionError(f"{args.output} already exists; use --overwrite to replace it")
    recording = Input(args.audio, args.audio)
    if args.audio == STDIN:
        check_stdin()
    elif reason := reason_unreadable(recording):
        raise OptionError(f"{args.audio}: {reason}")
    text = _read(args.text)
    with Status() as status:
        status.show(f"loading {args.model}")
        model = model_from_args(args)
        status.begin([recording])
        result = model.align(
            recording.source(),
            text,
            language=args.language,
            segments=args.segments,
            channel=args.channel,
            track=args.track,
            strict=args.strict,
            on_progress=lambda progress: _show(status, progress),
            check_cancelled=status.tick,
        )
        status.end(0, failed=False)
    if args.output is not None:
        write_file(result, format, args.output, layout)
    else:
        printed = io.StringIO()
        write(result, format, printed, layout)
        write_stdout(printed.getvalue() + ("\n" if format == "json" else ""))
    _report(result)
    return 0


def _show(status: Status, progress: Progress) -> None:
    status.update(0, progress)


def _read(path: str) -> str:
    """Return the text of a file. Raises OptionError if it is too large or not UTF-8."""
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OptionError(f"{path} has more than {MAX_BYTES} bytes; align it in parts")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OptionError(f"{path} is not a text in UTF-8; save it in that encoding") from None


def _report(result: Alignment) -> None:
    """Print what of the text is not spoken, and what is spoken and not in the text."""
    if n := len(result.skipped):
        some = ", ".join(word.word.strip() for word in result.skipped[:MAX_LISTED])
        more = f" and {n - MAX_LISTED} more" if n > MAX_LISTED else ""
        print_message(f"not spoken: {some}{more}")
    for added in result.added[:MAX_LISTED]:
        begin, end = map(format_timestamp, (added.start, added.end))
        print_message(f"not in the text: {begin} to {end}: {added.text.strip()}")
    if (n := len(result.added)) > MAX_LISTED:
        print_message(f"not in the text: {n - MAX_LISTED} more stretches of speech")
