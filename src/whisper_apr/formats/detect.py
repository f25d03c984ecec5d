"""Open a model of any supported format, which is detected from the content."""

from os import PathLike
from pathlib import Path

from ..checkpoint import Checkpoint
from ..errors import FormatError, ModelNotFoundError
from .apr import header, read_apr
from .ctranslate2 import SIGNATURE, read_ctranslate2
from .ggml import MAGIC, read_ggml
from .openai import ZIP_MAGIC, read_openai
from .safetensors import WEIGHTS, read_safetensors


def open_checkpoint(path: str | PathLike[str], *, exact: bool = False) -> Checkpoint:
    """Open a model file or folder, whatever its suffix.

    Supported are `.apr` files; openai-whisper's `.pt`; Hugging Face folders, or one of their weight files with
    config.json beside it; whisper.cpp's ggml files; and CTranslate2 folders or their `model.bin`.

    Args:
        path: The file or folder.
        exact: Return ggml's quantized matrices as floats instead of requantizing them, see `read_ggml`.

    Raises:
        ModelNotFoundError: Nothing exists at `path`.
        FormatError: The model is damaged, incomplete, or of an unsupported format.
    """
    place = Path(path)
    if not place.exists():
        raise ModelNotFoundError(f"{place}: no such file or folder")
    if place.is_dir():
        is_ctranslate2 = (place / "model.bin").exists() and not any((place / name).exists() for name in WEIGHTS)
        return read_ctranslate2(place) if is_ctranslate2 else read_safetensors(place)
    with open(place, "rb") as file:
        beginning = file.read(max(10, len(SIGNATURE)))
    if beginning[:4] == header.MAGIC:
        return read_apr(place)
    if beginning[:4] == MAGIC:
        return read_ggml(place, exact=exact)
    if beginning[:4] == ZIP_MAGIC:
        return read_openai(place)
    if beginning.startswith(SIGNATURE):
        return read_ctranslate2(place)
    # safetensors: a 64-bit length, then a JSON object
    if len(beginning) >= 10 and beginning[8:9] == b"{":
        return read_safetensors(place)
    if beginning[:2] == b"\x80\x02":
        raise FormatError(f"{place}: saved by torch before version 1.6; load it there and torch.save it again")
    raise FormatError(
        f"{place}: not a Whisper model in a supported format "
        "(.apr, openai-whisper's .pt, safetensors, whisper.cpp's ggml, CTranslate2)"
    )
