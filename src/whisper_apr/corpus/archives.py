"""The recordings in WebDataset tars, which are found by reading the headers of their members."""

import json
import os
import tarfile
from collections.abc import Iterator
from itertools import groupby

from ..audio.suffixes import SUFFIXES
from ..errors import OptionError
from ..evaluation.recordings import LANGUAGE_KEYS, language_code
from .items import MAX_ID, Item, encodable

MAX_JSON = 1 << 20  # bytes of a recording's description


def tar_items(path: str) -> Iterator[Item]:
    """Yield the recordings of a tar.

    Members whose names are equal up to the first dot of the last part belong together; that name is the id. One with
    the suffix of a recording is the recording; a `.json` beside it may name its language.

    Args:
        path: The tar, which must not be compressed, so that workers can read its members directly.

    Raises:
        OptionError: It cannot be read, or a description is not JSON.
    """
    try:
        size = os.stat(path).st_size
        with tarfile.open(path, "r:") as tar:
            for key, members in groupby(_members(tar), lambda member: _key(member.name)):
                audio, language = list[tarfile.TarInfo](), None
                for member in members:
                    suffix = os.path.splitext(member.name)[1].lower()
                    if suffix in SUFFIXES:
                        audio.append(member)
                    elif suffix == ".json":
                        language = _language(tar, member, path)
                for member in audio:
                    where = f"{path}:{member.name}"
                    if len(key) > MAX_ID:
                        raise OptionError(f"{where}: the name must have at most {MAX_ID} characters")
                    if member.offset_data + member.size > size:
                        raise OptionError(f"{where}: the tar ends before this member does; it was cut short")
                    yield Item(encodable(key), path, language, member.offset_data, member.size, member.name)
    except tarfile.TarError as error:
        raise OptionError(
            f"{path} is not a tar that can be read ({error}); decompress it if it is compressed"
        ) from error
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror or error}") from error


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the regular files, without keeping them, as iterating over a TarFile does."""
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # which the type stubs lack
        if member.isreg() and not member.issparse():
            yield member


def _key(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0]}"


def _language(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> str | None:
    """Return the language that a description names."""
    where = f"{path}:{member.name}"
    file = tar.extractfile(member)
    if member.size > MAX_JSON or file is None:
        raise OptionError(f"{where} has {member.size} bytes, and at most {MAX_JSON} are read of a description")
    try:
        about = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{where} is not JSON ({error})") from error
    language = next((about[key] for key in LANGUAGE_KEYS if about.get(key)), None) if isinstance(about, dict) else None
    return None if language is None else language_code(language, where)
