"""Partial results: the files that an interrupted run leaves, and from which the next run resumes.

For each recording that was begun, `NAME.FORMAT.partial` has the finished segments in each format, and
`NAME.resume.partial` has the result of every decoded window as JSON. A run with the same model and options reuses these
windows, decodes the others, and produces the same files as an uninterrupted run; then it removes the partial files.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import simd
from ..atomic import write_atomically
from ..errors import OutputError
from ..inference.journal import Journal
from ..inference.results import Segment
from ..output import FORMATS
from .inputs import Input
from .outputs import PARTIAL, Outputs
from .terminal import output_errors, print_message

RESUME = "resume"  # takes the place of a format in the name of the file with the decoded windows


def fingerprint(args: argparse.Namespace, options: Mapping[str, Any]) -> str:
    """Return a hash of all that decoded windows depend on: the model, the options, the backend and the version."""
    from .. import __version__

    about = [
        __version__,
        simd.backend(),
        args.compute_type,
        _model_files(args.model),
        sorted((name, repr(value)) for name, value in options.items()),
    ]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def _model_files(model: str) -> list[Any]:
    """Return a model's name or real path, and the names, sizes and modification times of its files."""
    path = Path(model)
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
    about = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return [os.path.realpath(model) if files else model, about]


class Partials:
    """The partial results of a run's recordings."""

    def __init__(self, outputs: Outputs, inputs: Sequence[Input], run_fingerprint: str, n_vocab: int) -> None:
        """Load what an earlier run left; a file that cannot be used causes a warning.

        Args:
            outputs: The names of the files.
            inputs: The recordings, in the order in which they are transcribed.
            run_fingerprint: This run's `fingerprint`; the files of other runs are not used.
            n_vocab: Number of the model's tokens.
        """
        self.journal = Journal()
        self._outputs = outputs
        self._inputs = inputs
        self._fingerprint = run_fingerprint
        self._segments: dict[int, list[Segment]] = {}
        for index, item in enumerate(inputs):
            self._load(index, self._resume_path(item), n_vocab)

    def _resume_path(self, item: Input) -> Path:
        return self._outputs.path(item, RESUME + PARTIAL)

    def _load(self, index: int, path: Path, n_vocab: int) -> None:
        try:
            content = json.loads(path.read_bytes())
            if content["run"] == self._fingerprint:
                self.journal.load(index, content["windows"], n_vocab)
                return
            reason = "it belongs to a run with another model or other options"
        except FileNotFoundError:
            return
        except OSError as error:
            reason = error.strerror or str(error)
        except (ValueError, TypeError, KeyError, RecursionError):
            reason = "it is damaged"
        print_message(f"warning: {path} is not used, and the recording is transcribed from the beginning: {reason}")

    def add_segment(self, index: int, segment: Segment) -> None:
        """Add a finished segment of recording `index`."""
        self._segments.setdefault(index, []).append(segment)

    def remove(self, index: int) -> None:
        """Forget a recording whose results are written, and remove its files of an earlier run."""
        item = self._inputs[index]
        self.journal.forget(index)
        self._segments.pop(index, None)
        if not self._resume_path(item).is_file():  # then other files with the suffix are not this command's
            return
        for each in (*FORMATS, RESUME):
            path = self._outputs.path(item, each + PARTIAL)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                print_message(f"warning: {path} cannot be removed: {error.strerror}")

    def write(self) -> list[Path]:
        """Write the partial results of all recordings that were begun.

        The first file that cannot be written is reported on stderr, and no further ones are tried.

        Returns:
            The files with the decoded windows.
        """
        written: list[Path] = []
        for index, item in enumerate(self._inputs):
            windows = self.journal.dump(index)
            if not windows:
                continue
            segments = self._segments.get(index, [])
            result = {
                "text": "".join(segment.text for segment in segments),
                "segments": [segment.to_dict() for segment in segments],
                "language": next(iter(windows.values()))["decoded"]["language"],
            }
            path = self._resume_path(item)
            try:
                self._outputs.write_partial(item, result)
                with output_errors(path), write_atomically(path) as file:
                    file.write(json.dumps({"run": self._fingerprint, "windows": windows}).encode())
            except OutputError as error:
                print_message(error)
                break
            written.append(path)
        return written
