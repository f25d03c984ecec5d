"""Which files a run writes, and what can be said against them before a model is opened."""

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
from .terminal import writing

NAME_MAX = 255  # bytes, or letters, of a file's name where the system does not tell
PARTIAL = ".partial"  # behind the name of a result that is not whole
NAMED = 3  # files that an error names; of more it says how many there are


def output_names(inputs: Sequence[Input]) -> list[str]:
    """Return the name of each recording's results: its path within the folder that was given, without its suffix.

    Where two would have one name, they keep their suffixes, or the folders in which they differ. Upper and lower case count as the same,
    as some file systems have it. Raises OptionError where two cannot be told apart.
    """
    stems = [os.path.splitext(each.inside)[0] for each in inputs]
    groups = defaultdict[str, list[int]](list)
    for index, stem in enumerate(stems):
        groups[stem.casefold()].append(index)
    names = list(stems)
    for group in groups.values():
        if len(group) > 1:
            for index, name in zip(group, _told_apart([inputs[index] for index in group]), strict=True):
                names[index] = name
    seen: dict[str, Input] = {}
    for name, each in zip(names, inputs, strict=True):
        other = seen.setdefault(name.casefold(), each)
        if other is not each:
            raise OptionError(
                f"{other.label} and {each.label} would be written to one file; give each an output folder"
            )
    return names


def _told_apart(inputs: Sequence[Input]) -> list[str]:
    """Names for recordings that would have one: the shortest of several kinds by which they differ."""
    paths = [os.path.abspath(each.path) for each in inputs if each.path != STDIN]
    try:
        common = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # on different drives
        common = None

    def within(each: Input) -> str:
        return each.inside if common is None or each.path == STDIN else os.path.relpath(each.path, common)

    kinds: list[Callable[[Input], str]] = [
        lambda each: each.inside,
        lambda each: os.path.splitext(within(each))[0],
        within,
    ]
    for kind in kinds:
        names = [kind(each) for each in inputs]
        if len({name.casefold() for name in names}) == len(names):
            break
    return names


class Outputs:
    """The files of a run, one for each recording and format, in a folder."""

    def __init__(self, folder: str, output_format: str | None, inputs: Sequence[Input], layout: LineOptions) -> None:
        self.formats = OPENAI_FORMATS if output_format in (None, ALL) else (str(output_format),)
        self._names = dict(zip(inputs, output_names(inputs), strict=True))
        self._folder = folder
        self._layout = layout
        self._wanted: dict[Input, list[str]] = {each: list(self.formats) for each in inputs}

    def _check_length(self, item: Input, folder: Path) -> None:
        """A name may be longer with its new ending than the recording's."""
        longest = max((os.path.basename(self.path(item, each)) for each in self.formats), key=len)
        limit = NAME_MAX
        with suppress(OSError, ValueError, AttributeError):  # Windows has no pathconf
            limit = os.pathconf(folder, "PC_NAME_MAX")
        if len(os.fsencode(longest)) > limit:
            raise OutputError(f"{longest} is too long for the name of a file: {limit} bytes are possible")

    def path(self, item: Input, each_format: str) -> Path:
        return Path(self._folder, f"{self._names[item]}.{each_format}")

    def check(self, skip_existing: bool, overwrite: bool) -> None:
        """Find out whether all can be written.

        With `skip_existing`, formats that are there already are taken off the list, and those recordings are done of which nothing is
        left. Raises OptionError for a folder that is a file, for a recording in a result's place and, unless one of the two flags is
        given, for results that are there already; OutputError for a folder or a file that cannot be written to.
        """
        places: dict[Path, Path] = {}
        for item in self._wanted:
            folder = self.path(item, self.formats[0]).parent
            if folder not in places:
                places[folder] = _check_folder(folder)
            self._check_length(item, places[folder])
        recordings = {_identity(each.path) for each in self._wanted if each.path != STDIN} - {None}
        existing: list[Path] = []
        for item, formats in self._wanted.items():
            for each in list(formats):
                path = self.path(item, each)
                with writing(path):
                    identity = _identity(path)
                if identity is None:
                    continue
                if identity in recordings:
                    raise OptionError(
                        f"{path} is one of the recordings, and would be written over; choose another folder"
                    )
                if overwrite or path.is_dir():
                    with writing(path):
                        check_target(path)
                existing.append(path)
                if skip_existing:
                    formats.remove(each)
        if existing and not skip_existing and not overwrite:
            named = ", ".join(map(str, existing[:NAMED]))
            more = f" and {len(existing) - NAMED} more" if len(existing) > NAMED else ""
            verb = "exists" if len(existing) == 1 else "exist"
            raise OptionError(
                f"{named}{more} {verb} already; --skip-existing keeps what is there, --overwrite replaces it"
            )

    def is_done(self, item: Input) -> bool:
        """Whether all of a recording's results are there already, and are to be kept."""
        return not self._wanted[item]

    def write(self, item: Input, result: Result) -> list[Path]:
        """Write a recording's results and return their paths. Raises OutputError."""
        paths = [self.path(item, each) for each in self._wanted[item]]
        for each, path in zip(self._wanted[item], paths, strict=True):
            write_file(result, each, path, self._layout)
        return paths

    def write_partial(self, item: Input, result: Result) -> None:
        """Write the results that there are so far under names of their own. Raises OutputError."""
        for each in self._wanted[item]:
            write_file(result, each, self.path(item, each + PARTIAL), self._layout)


def _identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """What tells a file apart, behind links; None where there is none. Raises OSError for a path that cannot be."""
    try:
        about = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return about.st_dev, about.st_ino


def _check_folder(folder: Path) -> Path:
    """Raise where no files can be made in a folder, or it cannot be made. Return it, or what there is of its path."""
    place = next(place for place in (folder, *folder.parents) if os.path.lexists(place) or place == place.parent)
    if not place.is_dir():
        what = "a link that leads nowhere" if place.is_symlink() and not place.exists() else "a file"
        raise OptionError(f"{place} is {what}, and cannot be the folder for results")
    try:
        check_folder(place)
    except OSError as error:
        raise OutputError(error.strerror) from error
    return place
