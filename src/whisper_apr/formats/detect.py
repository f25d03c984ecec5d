"""Open a model, whatever its format: found out by content, not by suffix."""

from os import PathLike
from pathlib import Path

from ..checkpoint import Checkpoint
from ..errors import FormatError, ModelNotFoundError
from .apr import header, read_apr
from .ctranslate2 import BEGINNING, read_ctranslate2
from .ggml import MAGIC, read_ggml
from .openai import ZIP, read_openai
from .safetensors import WEIGHTS, read_safetensors


def open_checkpoint(path: str | PathLike[str], *, exact: bool = False) -> Checkpoint:
    """Open an `.apr`; openai-whisper's `.pt`; a Hugging Face folder, or a file of its weights with config.json beside it; whisper.cpp's file; a CTranslate2 folder.

    exact: what only approximately fits a type of ours is opened as floats instead (see `read_ggml`). Raises ModelNotFoundError where nothing is there, FormatError where it is damaged, incomplete or of another kind.
    """
    place = Path(path)
    if not place.exists():
        raise ModelNotFoundError(f"{place}: no such file or folder")
    if place.is_dir():
        is_converted = (place / "model.bin").exists() and not any((place / name).exists() for name in WEIGHTS)
        return read_ctranslate2(place) if is_converted else read_safetensors(place)
    with open(place, "rb") as file:
        head = file.read(max(10, len(BEGINNING)))
    if head[:4] == header.MAGIC:
        return read_apr(place)
    if head[:4] == MAGIC:
        return read_ggml(place, exact=exact)
    if head[:4] == ZIP:
        return read_openai(place)
    if head.startswith(BEGINNING):
        return read_ctranslate2(place)
    # a little-endian length, then JSON
    if len(head) >= 10 and head[8:9] == b"{":
        return read_safetensors(place)
    if head[:2] == b"\x80\x02":
        raise FormatError(f"{place}: saved by torch before version 1.6; load it there and torch.save it again")
    raise FormatError(
        f"{place}: not a Whisper model that is known: none of .apr, torch.save's zip file, safetensors, whisper.cpp's ggml, CTranslate2"
    )
