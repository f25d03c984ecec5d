"""Names and checks of the files that a run writes. The checks are made before a model is loaded."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ..atomic import check_folder, check_target
from ..errors import OptionError, OutputError
from ..output import ALL, LineOptions
from ..output.writers import OPENAI_FORMATS, Result, write_file
from .inputs import STDIN, Input
from .terminal import output_errors

NAME_MAX = 255  # longest file name, in bytes, if the system does not say
PARTIAL = ".partial"  # suffix of the files of an interrupted run
MAX_LISTED = 3  # files that a message names; of the others it gives the number


def output_names(inputs: Sequence[Input]) -> list[str]:
    """Choose the names of the recordings' results.

    A name is the recording's path relative to the folder that was given, without its suffix. If several recordings had
    the same name, they keep their suffixes, or the folders in which they differ. Names that differ in case only count
    as the same, because some file systems treat them so.

    Args:
        inputs: The recordings.

    Returns:
        One name for each recording, as a path without the format's suffix.

    Raises:
        OptionError: Two recordings would still have the same name.
    """
    stems = [os.path.splitext(each.relative_path)[0] for each in inputs]
    groups = defaultdict[str, list[int]](list)
    for index, stem in enumerate(stems):
        groups[stem.casefold()].append(index)
    names = list(stems)
    for group in groups.values():
        if len(group) > 1:
            for index, name in zip(group, _longer_names([inputs[index] for index in group]), strict=True):
                names[index] = name
    seen: dict[str, Input] = {}
    for name, each in zip(names, inputs, strict=True):
        other = seen.setdefault(name.casefold(), each)
        if other is not each:
            raise OptionError(
                f"{other.label} and {each.label} would be written to the same file; run the command once for each, "
                "with its own --output-dir"
            )
    return names


def _longer_names(inputs: Sequence[Input]) -> list[str]:
    """Return the shortest kind of name by which recordings of the same name differ."""
    paths = [os.path.abspath(each.path) for each in inputs if each.path != STDIN]
    try:
        common = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # they are on different drives
        common = None

    def below_common_folder(each: Input) -> str:
        return each.relative_path if common is None or each.path == STDIN else os.path.relpath(each.path, common)

    kinds: list[Callable[[Input], str]] = [
        lambda each: each.relative_path,
        lambda each: os.path.splitext(below_common_folder(each))[0],
        below_common_folder,
    ]
    for kind in kinds:
        names = [kind(each) for each in inputs]
        if len({name.casefold() for name in names}) == len(names):
            break
    return names


class Outputs:
    """The files that a run writes to a folder: one for each recording and format."""

    def __init__(self, folder: str, output_format: str | None, inputs: Sequence[Input], layout: LineOptions) -> None:
        """Choose the files' names.

        Args:
            folder: The folder to write to; it is created when the first file is written.
            output_format: The format, or "all" or None for every format that openai-whisper writes.
            inputs: The recordings.
            layout: How words are laid out in subtitles.

        Raises:
            OptionError: Two recordings would be written to the same file.
        """
        self.formats = OPENAI_FORMATS if output_format in (None, ALL) else (str(output_format),)
        self._names = dict(zip(inputs, output_names(inputs), strict=True))
        self._folder = folder
        self._layout = layout
        self._missing: dict[Input, list[str]] = {each: list(self.formats) for each in inputs}  # formats to write

    def _check_length(self, item: Input, folder: Path) -> None:
        """Raise OutputError if a file's name is too long, as the format's suffix may be longer than the recording's."""
        longest = max((os.path.basename(self.path(item, each)) for each in self.formats), key=len)
        limit = NAME_MAX
        with suppress(OSError, ValueError, AttributeError):  # Windows has no pathconf
            limit = os.pathconf(folder, "PC_NAME_MAX")
        if (length := len(os.fsencode(longest))) > limit:
            raise OutputError(f"{longest} is too long for a file name: it has {length} bytes, and at most {limit} fit")

    def path(self, item: Input, each_format: str) -> Path:
        """Return the path of a recording's result in a format."""
        return Path(self._folder, f"{self._names[item]}.{each_format}")

    def check(self, skip_existing: bool, overwrite: bool) -> None:
        """Check that all files can be written.

        Args:
            skip_existing: Whether to keep files that exist, and not write them.
            overwrite: Whether to replace files that exist.

        Raises:
            OptionError: The folder is a file, a result would overwrite a recording, or a result exists and neither flag
                is given.
            OutputError: A folder or a file is not writable.
        """
        places: dict[Path, Path] = {}
        for item in self._missing:
            folder = self.path(item, self.formats[0]).parent
            if folder not in places:
                places[folder] = _check_folder(folder)
            self._check_length(item, places[folder])
        recordings = {_file_id(each.path) for each in self._missing if each.path != STDIN} - {None}
        existing: list[Path] = []
        for item, formats in self._missing.items():
            for each in list(formats):
                path = self.path(item, each)
                with output_errors(path):
                    file_id = _file_id(path)
                if file_id is None:
                    continue
                if file_id in recordings:
                    raise OptionError(
                        f"{path} is one of the recordings and would be overwritten; choose another --output-dir"
                    )
                if overwrite or path.is_dir():
                    with output_errors(path):
                        check_target(path)
                existing.append(path)
                if skip_existing:
                    formats.remove(each)
        if existing and not skip_existing and not overwrite:
            verb = "exists" if len(existing) == 1 else "exist"
            raise OptionError(
                f"{list_paths(existing)} already {verb}; use --skip-existing to keep or --overwrite to replace them"
            )

    def is_done(self, item: Input) -> bool:
        """Return whether all results of a recording exist already and are kept."""
        return not self._missing[item]

    def write(self, item: Input, result: Result) -> list[Path]:
        """Write a recording's results, and return their paths. Raises OutputError if one cannot be written."""
        paths = [self.path(item, each) for each in self._missing[item]]
        for each, path in zip(self._missing[item], paths, strict=True):
            write_file(result, each, path, self._layout)
        return paths

    def write_partial(self, item: Input, result: Result) -> None:
        """Write an incomplete result to files with the suffix PARTIAL. Raises OutputError if one cannot be written."""
        for each in self._missing[item]:
            write_file(result, each, self.path(item, each + PARTIAL), self._layout)


def list_paths(paths: Sequence[Path]) -> str:
    """Return the first MAX_LISTED paths, and the number of the others, for a message."""
    more = f" and {len(paths) - MAX_LISTED} more" if len(paths) > MAX_LISTED else ""
    return ", ".join(map(str, paths[:MAX_LISTED])) + more


def _file_id(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return the device and inode of a file, behind links; None if it does not exist. Raises OSError otherwise."""
    try:
        about = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return about.st_dev, about.st_ino


def _check_folder(folder: Path) -> Path:
    """Check that files can be created in a folder, or that the folder can be created.

    Returns the folder, or the part of its path that exists.
    """
    place = next(place for place in (folder, *folder.parents) if os.path.lexists(place) or place == place.parent)
    if not place.is_dir():
        what = "a broken link" if place.is_symlink() and not place.exists() else "a file"
        raise OptionError(f"{place} is {what} and cannot be the folder for results; choose another --output-dir")
    try:
        check_folder(place)
    except OSError as error:
        raise OutputError(error.strerror) from error
    return place
