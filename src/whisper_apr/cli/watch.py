"""Transcribe recordings as they appear in folders: `whisper-apr transcribe --watch`."""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import OptionError
from ..output import LineOptions
from .arguments import model_from_args
from .inputs import Input, find_inputs
from .outputs import Outputs
from .progress import Status, Tally
from .transcription_run import TranscriptionRun

SETTLED = 2.0  # seconds without a write after which a recording is considered complete
INTERVAL = 1.0  # seconds between two looks at recordings that are still written to

Version = tuple[str, int, int]  # path, size and modification time of a recording


def check_arguments(args: argparse.Namespace) -> None:
    """Raise OptionError if the arguments do not suit `--watch`."""
    if args.output_dir is None:
        raise OptionError("--watch needs --output-dir")
    if args.overwrite:
        raise OptionError("--watch keeps files that exist; leave out --overwrite")
    for each in args.audio:
        if not os.path.isdir(each):
            raise OptionError(f"{each}: --watch needs folders, and this is not one")
    try:
        import watchfiles  # noqa: F401
    except ImportError as error:
        raise OptionError(
            "--watch needs the package watchfiles, which is not installed; run 'pip install whisper-apr[watch]'"
        ) from error


def watch(args: argparse.Namespace, options: dict[str, Any], layout: LineOptions) -> int:
    """Transcribe the recordings of folders, and then those that appear, until the command is interrupted.

    Args:
        args: The parsed arguments, which `check_arguments` has checked.
        options: What `decoding_options` returned.
        layout: How words are laid out in subtitles.
    """
    tally = Tally()
    try:
        with Status() as status:
            status.show(f"loading {args.model}")
            model = model_from_args(args)
            recordings = _Recordings(args.audio, not args.no_recursive)
            for _ in _looks(args.audio, not args.no_recursive, lambda: recordings.are_written):
                outputs = Outputs(args.output_dir, args.output_format, recordings.find(), layout)
                outputs.check(skip_existing=True, overwrite=False)
                pending = recordings.take(outputs)
                if pending:
                    run = TranscriptionRun(
                        inputs=pending,
                        outputs=outputs,
                        format=args.output_format,
                        layout=layout,
                        prints_segments=bool(args.verbose),
                        with_times=bool(args.verbose),
                        with_colors=False,
                        prints_paths=args.verbose is not False,
                        with_headers=True,
                        status=status,
                        tally=tally,
                    )
                    run.run(args, options, model)
                status.show(f"watching {', '.join(args.audio)}")
    finally:
        if args.verbose is not False:
            tally.report()
    return 0


class _Recordings:
    """The recordings in the folders.

    Attributes:
        are_written: Whether some were being written to when they were looked at last.
    """

    def __init__(self, folders: Sequence[str], is_recursive: bool) -> None:
        self._folders = folders
        self._is_recursive = is_recursive
        self._found: list[Input] = []
        self._tried: set[Version] = set()
        self.are_written = False

    def find(self) -> list[Input]:
        """Look for recordings, and return them."""
        self._found, _ = find_inputs(self._folders, self._is_recursive, allow_empty=True)
        return self._found

    def take(self, outputs: Outputs) -> list[Input]:
        """Return those that are complete and have no results yet. A version of a recording is returned once."""
        taken = []
        self.are_written = False
        for item in self._found:
            try:
                about = os.stat(item.path)
            except OSError:  # removed meanwhile
                continue
            version = item.path, about.st_size, about.st_mtime_ns
            if version in self._tried or outputs.is_done(item):
                continue
            if not about.st_size or 0 <= time.time() - about.st_mtime < SETTLED:
                self.are_written = True
                continue
            self._tried.add(version)
            taken.append(item)
        return taken


def _looks(folders: Sequence[str], is_recursive: bool, is_waiting: Callable[[], bool]) -> Iterator[None]:
    """Yield at once, after changes in the folders, and at intervals while `is_waiting()`."""
    from watchfiles import watch as changes

    yield
    milliseconds = round(1000 * INTERVAL)
    for found in changes(
        *folders, recursive=is_recursive, rust_timeout=milliseconds, yield_on_timeout=True, raise_interrupt=True
    ):
        if found or is_waiting():
            yield
