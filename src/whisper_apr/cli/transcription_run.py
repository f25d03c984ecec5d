"""A run of `whisper-apr transcribe`: transcribe the recordings, print or write the results, show progress."""

import argparse
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import AudioError, WhisperAprError
from ..inference.results import Progress, Segment, Transcription
from ..output import LineOptions, format_timestamp, prefix_speaker, write
from ..output.text import clean
from ..recognizer import Recognizer
from .arguments import model_from_args
from .colors import colorize
from .inputs import STDIN, Input
from .outputs import Outputs, list_paths
from .partial import Partials, fingerprint
from .progress import Status, Tally
from .terminal import ReaderGone, print_message, printable, write_stdout

N_CHANNEL = 2  # channels decoded at once with `--channel each`: usually the two sides of a call


@dataclass
class TranscriptionRun:
    """The recordings of a run, in order, and what to print and write of each.

    Attributes:
        inputs: The recordings.
        outputs: The files to write, or None to print the results.
        format: Format of the printed results, or None for plain lines.
        layout: How words are laid out in subtitles.
        prints_segments: Whether to print each segment as soon as it is final.
        with_times: Whether to print a segment's times before its text.
        with_colors: Whether to color words by their probability.
        prints_paths: Whether to print the paths of the files that are written.
        with_headers: Whether to print the recording's name before its text, because there are several.
        status: The terminal's last line.
        tally: The totals.
    """

    inputs: Sequence[Input]
    outputs: Outputs | None
    format: str | None
    layout: LineOptions
    prints_segments: bool
    with_times: bool
    with_colors: bool
    prints_paths: bool
    with_headers: bool
    status: Status
    tally: Tally

    def __post_init__(self) -> None:
        self._last_header = -1  # index of the recording whose name was printed last
        self._duration = 0.0  # seconds, of the current recording
        self._partials: Partials | None = None

    def _print_header(self, index: int) -> None:
        """Print a recording's name before its text, in the style of `tail`."""
        if self.with_headers and index != self._last_header:
            name = self.inputs[index].label
            space = "" if self._last_header < 0 else "\n"
            self._last_header = index
            write_stdout(f"{space}==> {printable(name) if sys.stdout.isatty() else name} <==\n")

    def on_segment(self, index: int, segment: Segment) -> None:
        """Handle a final segment of recording `index`."""
        if self._partials is not None:
            self._partials.add_segment(index, segment)
        text = clean(segment.text).strip()
        if not self.prints_segments or not text:
            return
        if self.with_colors:
            text = colorize(segment)
        text = prefix_speaker(segment.speaker, text)
        if self.with_times:
            text = f"[{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}] {text}"
        self._print_header(index)
        write_stdout(text + "\n")

    def on_progress(self, index: int, progress: Progress) -> None:
        """Show the progress of recording `index`."""
        self._duration = progress.total
        self.status.update(index, progress)

    def finish(self, index: int, result: Transcription) -> None:
        """Write or print the result of recording `index`, and count it."""
        item = self.inputs[index]
        if self.outputs is not None:
            for path in self.outputs.write(item, result):
                if self.prints_paths:
                    write_stdout(f"{path}\n")
        elif self.format == "json":
            file = {"file": item.path} if self.with_headers else {}
            self._print_result(file | result.to_dict())
            write_stdout("\n")
        else:
            self._print_header(index)
            if not self.prints_segments:
                self._print_result(result)
        self.tally.n_done += 1
        self.tally.seconds += self._duration
        if self._partials is not None:
            self.tally.seconds -= self._partials.journal.reached(index)
            self._partials.remove(index)

    def _print_result(self, result: Transcription | dict[str, object]) -> None:
        text = io.StringIO()
        write(result, str(self.format), text, self.layout)
        write_stdout(text.getvalue())

    def run(self, args: argparse.Namespace, options: dict[str, Any], model: Recognizer | None = None) -> None:
        """Load the model, unless one is given, and transcribe the recordings.

        If the run is interrupted, partial results are written, a message says how to resume, and the exception is
        raised again.

        Args:
            args: The parsed arguments.
            options: What `decoding_options` returned.
            model: The model, if it is loaded already.
        """
        if model is None:
            self.status.show(f"loading {args.model}")
            model = model_from_args(args)
        if self.outputs is not None:
            self._partials = Partials(self.outputs, self.inputs, fingerprint(args, options), model.dims.n_vocab)
        try:
            self._transcribe(model, options)
        except (KeyboardInterrupt, ReaderGone):
            self.status.close()
            if self._partials is not None and (written := self._partials.write()):
                needs_flag = self.tally.n_done and not args.skip_existing and not args.overwrite
                flag = " with --skip-existing" if needs_flag else ""
                print_message(
                    f"the text so far is saved in {list_paths(written)}; run the same command{flag} to continue"
                )
            raise

    def _transcribe(self, model: Recognizer, options: dict[str, Any]) -> None:
        batch_size = options.get("batch_size")
        self.tally.start_clock()
        self.status.begin(self.inputs)
        results = model.transcribe_many(
            (item.source() for item in self.inputs),
            batch_size=batch_size if batch_size is not None else N_CHANNEL if options.get("channel") == "each" else 1,
            independent_windows=batch_size is not None,
            return_errors=True,
            on_segment=self.on_segment,
            on_progress=self.on_progress,
            check_cancelled=self.status.tick,
            journal=None if self._partials is None else self._partials.journal,
            **{name: value for name, value in options.items() if name != "batch_size"},
        )
        for index, result in enumerate(results):
            if isinstance(result, AudioError):
                self.tally.add_failure(self.inputs[index].label, _error_message(result, self.inputs[index]))
            else:
                self.finish(index, result)
            self.status.end(index, failed=isinstance(result, AudioError))


def _error_message(error: WhisperAprError, item: Input) -> str:
    """Return the error's message, without the number by which it calls a recording that was read from stdin."""
    text = str(error)
    if item.path == STDIN:
        return re.sub(r"^(<stdin>|-|\d+|the recording): ", "", text)
    return text
