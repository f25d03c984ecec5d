"""Recognize files that are not models but are often found in the place of one, by their first bytes."""

from pathlib import Path

from ..errors import FormatError
from .files import GIT_LFS

LENGTH = 512  # bytes that are looked at

_HTML = (b"<!doctype html", b"<html", b"<?xml")


def refuse_others(path: Path) -> bytes:
    """Return the first bytes of a file that may be a model.

    Raises:
        FormatError: The file is a Git LFS pointer, a web page or of another program's format; the message says what to
            do.
    """
    try:
        with open(path, "rb") as file:
            beginning = file.read(LENGTH)
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from error
    if beginning.startswith(GIT_LFS.encode()):
        raise FormatError(
            f"{path}: not the model but a Git LFS pointer to it; run `git lfs pull` in its repository, or download the "
            "file itself"
        )
    if beginning.lstrip().lower().startswith(_HTML):
        raise FormatError(
            f"{path}: not a model but a web page; download the file itself, on the Hugging Face hub from an address "
            "with /resolve/ instead of /blob/"
        )
    if beginning[:4] == b"GGUF":
        raise FormatError(
            f"{path}: a GGUF file, which is not supported; use whisper.cpp's ggml-*.bin, or the original model"
        )
    return beginning
