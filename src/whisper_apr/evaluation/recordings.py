"""Find the recordings of a folder whose texts are known."""

import csv
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from ..audio.suffixes import SUFFIXES
from ..errors import OptionError
from ..option_values import parse, path
from ..tokenizer import to_language_code

# the lists that are looked for in a folder, in this order
LISTS = ("texts.json", "words.json", "texts.tsv", "texts.csv", "metadata.csv")
# names of columns and keys: ours, Common Voice's, the Hugging Face hub's, NeMo's
FILE_KEYS = ("file", "path", "file_name", "audio_filepath")
TEXT_KEYS = ("text", "sentence", "transcription")
LANGUAGE_KEYS = ("language", "locale")
CLIPS = "clips"  # Common Voice's folder of recordings, beside its lists
LIBRISPEECH = ".trans.txt"

MAX_LIST = 1 << 28  # bytes; Common Voice's largest list has 0.8 GB with its other columns, its tests 10 MB
MAX_TEXT = 1 << 20  # characters of one text: a day of speech


@dataclass(frozen=True)
class Recording:
    """A recording and what is said in it.

    Attributes:
        path: The file.
        text: What is said.
        language: Its code; None if it is not known.
        name: The recording's name in results; the path if it is empty.
    """

    path: str
    text: str
    language: str | None = None
    name: str = ""

    @property
    def label(self) -> str:
        """The name, or the path."""
        return self.name or self.path


def find_recordings(source: str | PathLike[str]) -> list[Recording]:
    """Find recordings and their texts.

    A folder may have a list: `texts.json`, `words.json`, `texts.tsv`, `texts.csv` or `metadata.csv`. Without one, it
    and its subfolders are searched for texts beside the recordings: `talk.txt` beside `talk.wav`, and LibriSpeech's
    `*.trans.txt`.

    A list may also be named itself, such as Common Voice's `test.tsv`. JSON is a list of objects, or an object with the
    files' names as keys and texts or objects as values. Tables begin with the columns' names. Keys and columns are
    `file` (or `path`, `file_name`, `audio_filepath`), `text` (or `sentence`, `transcription`) and, if wanted,
    `language` (or `locale`); others are ignored. Files are named relative to the list's folder, or to a folder `clips`
    in it, and cannot be outside of it.

    Args:
        source: The folder or the list.

    Returns:
        The recordings, at least one, in the order of the list, or by their paths.

    Raises:
        OptionError: There are no recordings with texts, or a list or a text is not as described above.
    """
    name = os.fspath(parse("source", path, source))
    if not os.path.isdir(name):
        found = list(_read_list(name))
    elif lists := [each for each in LISTS if os.path.isfile(os.path.join(name, each))]:
        name = os.path.join(name, lists[0])
        found = list(_read_list(name))
    else:
        found = list(_beside(name))
    if not found:
        raise OptionError(
            f"{name}: no recording has a text here; write it to a .txt file beside the recording, or to a texts.json"
        )
    return found


# ---- texts beside recordings ----------------------------------------------------------------------------------------


def _beside(top: str) -> Iterator[Recording]:
    """Yield the recordings of a folder and its subfolders that have a text beside them. Links are not followed."""
    for folder, subfolders, files in os.walk(top):
        subfolders[:] = sorted(each for each in subfolders if not each.startswith("."))
        recordings: dict[str, str] = {}  # name by stem
        for each in sorted(files):
            stem, suffix = os.path.splitext(each)
            if suffix.lower() in SUFFIXES and not each.startswith("."):
                recordings.setdefault(stem, each)
        texts: dict[str, str] = {}
        for each in files:
            if each.endswith(LIBRISPEECH):
                lines = _read(os.path.join(folder, each)).splitlines()
                texts |= {stem: text for stem, _, text in (line.strip().partition(" ") for line in lines)}
            elif each.endswith(".txt") and each.removesuffix(".txt") in recordings:
                texts[each.removesuffix(".txt")] = _read(os.path.join(folder, each))
        for stem in sorted(recordings.keys() & texts.keys()):
            file = os.path.join(folder, recordings[stem])
            yield _recording(file, os.path.relpath(file, top), texts[stem], None, file)


# ---- lists ----------------------------------------------------------------------------------------------------------


def _read_list(name: str) -> Iterator[Recording]:
    """Yield the recordings of a JSON, TSV or CSV file."""
    folder = os.path.dirname(name)
    for number, entry in enumerate(_entries(name), 1):
        where = f"{name}: entry {number}"
        file, text = _first(entry, FILE_KEYS, where), _first(entry, TEXT_KEYS, where)
        language = next((entry[key] for key in LANGUAGE_KEYS if entry.get(key)), None)
        yield _recording(_place(folder, file, where), file, text, language, where)


def _entries(name: str) -> list[Mapping[str, Any]]:
    content = _read(name)
    try:
        if name.lower().endswith(".json"):
            return _json_entries(json.loads(content))
        # Common Voice's tables have quotation marks that are part of the text
        is_tsv = name.lower().endswith(".tsv")
        rows = csv.DictReader(
            io.StringIO(content, newline=""),
            delimiter="\t" if is_tsv else ",",
            quoting=csv.QUOTE_NONE if is_tsv else csv.QUOTE_MINIMAL,
        )
        return list(rows)
    except (ValueError, csv.Error, RecursionError) as error:
        raise OptionError(f"{name} is not a list of recordings and texts ({error}); see the guide on evaluation") from (
            error
        )


def _json_entries(content: Any) -> list[Mapping[str, Any]]:
    if isinstance(content, dict):
        content = [
            {"file": file} | (about if isinstance(about, dict) else {"text": about}) for file, about in content.items()
        ]
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise ValueError("it must be a list of objects, or one object")
    return content


def _first(entry: Mapping[str, Any], keys: tuple[str, ...], where: str) -> str:
    """Return the value of the first key that an entry has. Raises OptionError if it is not a string."""
    value = next((entry[key] for key in keys if key in entry), None)
    if not isinstance(value, str):
        raise OptionError(f"{where}: it must have a string {keys[0]!r} (or {', '.join(map(repr, keys[1:]))})")
    return value


def _place(folder: str, file: str, where: str) -> str:
    """Return the path of a file that a list names."""
    kinds = PurePosixPath(file), PureWindowsPath(file)
    is_outside = any(kind.anchor or ".." in kind.parts for kind in kinds)
    if is_outside or not kinds[0].parts or "\0" in file:
        raise OptionError(f"{where}: {file!r} must be a path within the list's folder")
    place, clip = os.path.join(folder, file), os.path.join(folder, CLIPS, file)
    return clip if not os.path.exists(place) and os.path.exists(clip) else place


# ---- both -----------------------------------------------------------------------------------------------------------


def _recording(file: str, name: str, text: str, language: object, where: str) -> Recording:
    """Return a recording, checked."""
    if len(text) > MAX_TEXT:
        raise OptionError(f"{where}: the text has {len(text)} characters, and at most {MAX_TEXT} are allowed")
    if os.path.exists(file) and not os.path.isfile(file):
        raise OptionError(f"{where}: {file} is not a file")
    return Recording(file, text, None if language is None else language_code(language, where), name)


def language_code(language: object, where: str) -> str:
    """Return the code of a language that is given by code, name or locale. Raises OptionError, which begins `where`."""
    if not isinstance(language, str):
        raise OptionError(f"{where}: the language must be a string")
    try:
        return to_language_code(language)
    except OptionError as error:
        for separator in "-_":
            if language.partition(separator)[1]:
                return language_code(language.partition(separator)[0], where)
        raise OptionError(f"{where}: {error}") from error


def _read(name: str) -> str:
    """Return the content of a text file, which may have a byte order mark."""
    try:
        with open(name, "rb", opener=_open_without_waiting) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise OptionError(f"{name} is not a file")
            if about.st_size > MAX_LIST:
                raise OptionError(f"{name} has {about.st_size} bytes, and at most {MAX_LIST} are read")
            return file.read(MAX_LIST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OptionError(f"{name} is not in UTF-8 ({error.reason} at byte {error.start}); convert it") from error
    except OSError as error:
        raise OptionError(f"{name}: {error.strerror or error}") from error


def _open_without_waiting(name: str, flags: int) -> int:
    """Open a file; a FIFO does not block until there is a writer."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
