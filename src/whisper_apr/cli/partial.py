"""What an interrupted run leaves of its recordings, and how the next one goes on from it.

Of a recording that was begun there is `NAME.FORMAT.partial` for each format, with the segments that had settled, and
`NAME.resume.partial`, with every window that was decoded. A run with the same model and options takes these windows from there and
decodes the others; its results are those of a run that was never interrupted. When they are written, the partial ones are removed.
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
from .terminal import fail, writing

STATE = "resume"  # stands where a result has its format


def fingerprint(args: argparse.Namespace, options: Mapping[str, Any]) -> str:
    """Tell apart runs whose windows may have other texts: by model, options, kernels and version."""
    from .. import __version__

    about = [
        __version__,
        simd.backend(),
        args.compute_type,
        _identity(args.model),
        sorted((name, repr(value)) for name, value in options.items()),
    ]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def _identity(model: str) -> list[Any]:
    """A model's name, or its files with their sizes and times."""
    path = Path(model)
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
    about = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return [os.path.realpath(model) if files else model, about]


class Partials:
    """The partial results of a run."""

    def __init__(self, outputs: Outputs, inputs: Sequence[Input], mark: str, n_vocab: int) -> None:
        """Take what an earlier run left. `mark` is this one's fingerprint, `n_vocab` the number of the model's tokens."""
        self.journal = Journal()
        self._outputs = outputs
        self._inputs = inputs
        self._mark = mark
        self._segments: dict[int, list[Segment]] = {}
        for index, item in enumerate(inputs):
            self._load(index, self._state(item), n_vocab)

    def _state(self, item: Input) -> Path:
        return self._outputs.path(item, STATE + PARTIAL)

    def _load(self, index: int, path: Path, n_vocab: int) -> None:
        try:
            content = json.loads(path.read_bytes())
            if content["run"] == self._mark:
                self.journal.load(index, content["windows"], n_vocab)
                return
            reason = "it was left by a run with another model or other options"
        except FileNotFoundError:
            return
        except OSError as error:
            reason = error.strerror or str(error)
        except (ValueError, TypeError, KeyError, RecursionError):
            reason = "it is damaged"
        fail(f"warning: {path} is not used, and the recording begun anew: {reason}")

    def take(self, index: int, segment: Segment) -> None:
        """Note a segment that has settled."""
        self._segments.setdefault(index, []).append(segment)

    def finished(self, index: int) -> None:
        """Forget a recording whose results are written, and remove what an earlier run left of it."""
        item = self._inputs[index]
        self.journal.forget(index)
        self._segments.pop(index, None)
        if not self._state(item).is_file():  # then a file that is named like a partial result is none of ours
            return
        for each in (*FORMATS, STATE):
            path = self._outputs.path(item, each + PARTIAL)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                fail(f"warning: {path} cannot be removed: {error.strerror}")

    def leave(self) -> list[Path]:
        """Write what there is of the recordings that were begun, and return the files that say how far each one was.

        What cannot be written is told, and ends it.
        """
        left: list[Path] = []
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
            path = self._state(item)
            try:
                self._outputs.write_partial(item, result)
                with writing(path), write_atomically(path) as file:
                    file.write(json.dumps({"run": self._mark, "windows": windows}).encode())
            except OutputError as error:
                fail(error)
                break
            left.append(path)
        return left
