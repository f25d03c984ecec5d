"""The recordings of a corpus, one after another: files, the rows of manifests, and the members of WebDataset tars."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from ..errors import OptionError
from ..evaluation.recordings import FILE_KEYS, LANGUAGE_KEYS, language_code
from ..formats.urls import is_url

ID_KEYS = ("id", "key", "utt_id", "segment_id")
SOURCE_KEYS = (*FILE_KEYS, "audio", "audio_path", "wav", "url")
MANIFESTS = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
MAX_ID = 1000  # characters
MAX_SOURCE = 8192  # characters of a path or URL


@dataclass(frozen=True)
class Item:
    """A recording of a corpus.

    Attributes:
        id: Its name in the results, which is unique in the corpus.
        source: Path or URL of the recording, or path of the tar that has it.
        language: Code of its language; None if it is not known.
        offset: In a tar, the first byte of the recording; None in a file of its own.
        size: In a tar, its bytes.
        member: In a tar, its name there.
    """

    id: str
    source: str
    language: str | None = None
    offset: int | None = None
    size: int = 0
    member: str = ""

    @property
    def name(self) -> str:
        """Its source in results: the path or URL, and in a tar also the member."""
        return f"{self.source}:{self.member}" if self.member else self.source


def encodable(text: str) -> str:
    r"""Return a text whose lone surrogates, of a file name that is not UTF-8, are escaped as in `\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode()


def digest(text: str) -> bytes:
    """Return 16 bytes that stand for an id in sets of millions: 80 bytes of memory each, whatever its length."""
    return blake2b(text.encode(), digest_size=16).digest()


def in_part(text: str, part: tuple[int, int]) -> bool:
    """Return whether an id belongs to a part `(number, count)` of the corpus, counted from 0."""
    return int.from_bytes(digest(text)[:8]) % part[1] == part[0]


class Items:
    """The recordings of a corpus, which are found anew by each iteration and never listed in memory.

    The suffix of a path says what it is: a manifest (MANIFESTS), a WebDataset tar (`.tar`), or else a recording.
    """

    def __init__(self, paths: Iterable[str], part: tuple[int, int] = (0, 1)) -> None:
        """Make the recordings of paths.

        Args:
            paths: Files, each once.
            part: Number, from 0, and count of the parts that the corpus is divided into by the ids.
        """
        self._paths = list(paths)
        self._part = part

    def __iter__(self) -> Iterator[Item]:
        """Yield the recordings of the part, in order.

        Raises:
            OptionError: A manifest or a tar cannot be read, or a row of a manifest is not as described in the guide.
        """
        return (item for item in self._all() if in_part(item.id, self._part))

    def check(self) -> int:
        """Read all manifests and tars once, so that their errors come before any work, and count the recordings.

        Returns:
            The number of recordings of the part.

        Raises:
            OptionError: As for iterating; or two recordings have the same id.
        """
        seen = set[bytes]()
        for item in self:
            if (name := digest(item.id)) in seen:
                raise OptionError(f"{item.name}: the id {item.id!r} has been used before; give each recording its own")
            seen.add(name)
        return len(seen)

    def _all(self) -> Iterator[Item]:
        from .archives import tar_items
        from .manifests import manifest_rows

        for path in self._paths:
            suffix = os.path.splitext(path)[1].lower()
            if suffix in MANIFESTS:
                folder = os.path.dirname(path)
                for where, row in manifest_rows(path, suffix):
                    yield item_of(row, folder, where)
            elif suffix == ".tar":
                yield from tar_items(path)
            else:
                yield Item(encodable(path.replace(os.sep, "/")), path)


def item_of(row: dict[str, Any], folder: str, where: str) -> Item:
    """Return the recording of a manifest's row.

    Args:
        row: Values by the names of columns.
        folder: The manifest's folder, which its paths are relative to.
        where: Begins error messages.

    Raises:
        OptionError: The row lacks a path, or a value is not allowed.
    """
    source = next((row[key] for key in SOURCE_KEYS if row.get(key)), None)
    if not isinstance(source, str) or len(source) > MAX_SOURCE or "\0" in source:
        raise OptionError(
            f"{where}: it must have a path or URL of at most {MAX_SOURCE} characters as {', '.join(SOURCE_KEYS)}"
        )
    name = next((row[key] for key in ID_KEYS if row.get(key) not in (None, "")), source)
    name = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
    if not isinstance(name, str) or len(name) > MAX_ID:
        raise OptionError(f"{where}: the id must be a string of at most {MAX_ID} characters, or a whole number")
    language = next((row[key] for key in LANGUAGE_KEYS if row.get(key)), None)
    place = source if is_url(source) else os.path.join(folder, source)
    return Item(encodable(name), place, None if language is None else language_code(language, where))
