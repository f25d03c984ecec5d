"""Which recordings the arguments mean, and under what names their results are written."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..errors import OptionError

STDIN = "-"
# what a folder is searched for; a file that is named is read whatever its name ends in
SUFFIXES = frozenset(
    [
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".au",
        ".w64",
        ".m4a",
        ".mp4",
        ".aac",
        ".wma",
        ".webm",
        ".mkv",
        ".mov",
        ".mka",
        ".avi",
    ]
)


def recordings(arguments: Sequence[str]) -> list[str]:
    """Files as they are named, folders as the recordings in them, patterns as what they match; each once, in order.

    Raises OptionError for a folder without recordings and a pattern that matches nothing. A file that is missing stays in the list.
    """
    found: list[str] = []
    for argument in arguments:
        if os.path.isdir(argument):
            inside = sorted(str(p) for p in Path(argument).iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
            if not inside:
                raise OptionError(f"{argument}: no recordings in this folder")
            found += inside
        elif argument != STDIN and not os.path.exists(argument) and glob.has_magic(argument):
            matches = sorted(p for p in glob.glob(argument, recursive=True) if os.path.isfile(p))
            if not matches:
                raise OptionError(f"{argument}: no file matches this pattern")
            found += matches
        else:
            found.append(argument)
    return list(dict.fromkeys(found))


def output_names(paths: Sequence[str]) -> list[str]:
    """The name of each recording's results: without its suffix, unless two would then have one name.

    Raises OptionError where two have the same name in different folders: one would be written over the other.
    """
    stems = [Path(path).stem if path != STDIN else "stdin" for path in paths]
    times = Counter(stems)
    names = [stem if times[stem] == 1 else Path(path).name for stem, path in zip(stems, paths, strict=True)]
    seen: dict[str, str] = {}
    for name, path in zip(names, paths, strict=True):
        if name in seen:
            raise OptionError(f"{seen[name]} and {path} would be written to one file; give each an output folder")
        seen[name] = path
    return names
