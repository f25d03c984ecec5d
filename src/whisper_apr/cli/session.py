"""Recordings on their way through a model: what is shown of them meanwhile, and what is written."""

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
from ..output.colors import colorize
from ..output.text import clean
from ..recognizer import Recognizer
from .arguments import open_engine
from .inputs import STDIN, Input
from .outputs import NAMED, Outputs
from .partial import Partials, fingerprint
from .progress import Status, Tally
from .terminal import NobodyReads, fail, out, printable

SPEAKERS = 2  # channels that are decoded at once where each is transcribed apart: the two sides of a call


@dataclass
class Session:
    """What is shown and written of the recordings of a run, while they are transcribed in their order."""

    inputs: Sequence[Input]
    outputs: Outputs | None  # None: to the standard output
    format: str | None
    layout: LineOptions
    lines: bool  # segments are written to the standard output as they settle
    with_times: bool
    with_colors: bool
    names_files: bool  # the files that were written are named on the standard output
    with_heads: bool  # several recordings share the standard output: each is named
    status: Status
    tally: Tally

    def __post_init__(self) -> None:
        self._headed = -1  # the recording whose name is on the standard output already
        self._duration = 0.0
        self._partials: Partials | None = None

    def _head(self, index: int) -> None:
        """The name of a recording before its text, as `tail` has it."""
        if self.with_heads and index != self._headed:
            name = self.inputs[index].label
            space = "" if self._headed < 0 else "\n"
            self._headed = index
            out(f"{space}==> {printable(name) if sys.stdout.isatty() else name} <==\n")

    def on_segment(self, index: int, segment: Segment) -> None:
        if self._partials is not None:
            self._partials.take(index, segment)
        text = clean(segment.text).strip()
        if not self.lines or not text:
            return
        if self.with_colors:
            text = colorize(segment)
        text = prefix_speaker(segment.speaker, text)
        if self.with_times:
            text = f"[{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}] {text}"
        self._head(index)
        out(text + "\n")

    def on_progress(self, index: int, progress: Progress) -> None:
        self._duration = progress.total
        self.status.update(index, progress)

    def finish(self, index: int, result: Transcription) -> None:
        item = self.inputs[index]
        if self.outputs is not None:
            for path in self.outputs.write(item, result):
                if self.names_files:
                    out(f"{path}\n")
        elif self.format == "json":
            named = {"file": item.path} if self.with_heads else {}
            self._write(named | result.to_dict())
            out("\n")
        else:
            self._head(index)
            if not self.lines:
                self._write(result)
        self.tally.n_done += 1
        self.tally.sound += self._duration
        if self._partials is not None:
            self.tally.sound -= self._partials.journal.reached(index)
            self._partials.finished(index)

    def _write(self, result: Transcription | dict[str, object]) -> None:
        text = io.StringIO()
        write(result, str(self.format), text, self.layout)
        out(text.getvalue())

    def run(self, args: argparse.Namespace, options: dict[str, Any]) -> None:
        """Open the model and transcribe all of them. Where that is interrupted, what there is goes into partial results."""
        self.status.say(f"loading {args.model}")
        model = open_engine(args)
        if self.outputs is not None:
            mark, n_vocab = fingerprint(args, options), model.dims.n_vocab
            self._partials = Partials(self.outputs, self.inputs, mark, n_vocab)
        try:
            self._transcribe(model, options)
        except (KeyboardInterrupt, NobodyReads):
            self.status.close()
            if self._partials is not None and (left := self._partials.leave()):
                names = ", ".join(map(str, left[:NAMED])) + (
                    f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
                )
                needs_flag = self.tally.n_done and not args.skip_existing and not args.overwrite
                flag = " with --skip-existing" if needs_flag else ""
                fail(f"what was decoded is kept in {names}; the same command{flag} goes on from there")
            raise

    def _transcribe(self, model: Recognizer, options: dict[str, Any]) -> None:
        batch_size = options.get("batch_size")
        self.tally.start_clock()
        self.status.begin(self.inputs)
        results = model.transcribe_many(
            (item.source() for item in self.inputs),
            batch_size=batch_size if batch_size is not None else SPEAKERS if options.get("channel") == "each" else 1,
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
                self.tally.failed(self.inputs[index].label, _message(result, self.inputs[index]))
            else:
                self.finish(index, result)
            self.status.ended(index, failed=isinstance(result, AudioError))


def _message(error: WhisperAprError, item: Input) -> str:
    """What is wrong with a recording."""
    text = str(error)
    if item.path == STDIN:  # a copy of it, in which a reader can go back, is named by its number
        return re.sub(r"^(<stdin>|-|\d+|the recording): ", "", text)
    return text
