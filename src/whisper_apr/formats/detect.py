"""Open a model of any supported format, which is detected from the content."""

from dataclasses import replace
from itertools import islice
from os import PathLike
from pathlib import Path

from ..checkpoint import Checkpoint
from ..errors import FormatError, ModelNotFoundError
from ..tokenizer.kind import packaged_kind
from .apr import header, read_apr
from .ctranslate2 import SIGNATURE, read_ctranslate2
from .files import ZIP_MAGIC, read_optional_json
from .ggml import MAGIC, read_ggml
from .lora import CONFIG as ADAPTER
from .lora import FindBase, find_base, is_adapter, merge_adapter
from .safetensors import WEIGHTS, read_safetensors
from .signatures import refuse_others
from .vocabulary import read_vocabulary

MODEL_BIN = "model.bin"  # CTranslate2's
MAX_FILES = 1000  # of a folder, that are looked at


def _with_tokens_beside(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    """Add the tokens of Hugging Face's files beside a single file that cannot say what its tokens are."""
    if checkpoint.vocabulary or checkpoint.special_tokens or packaged_kind(checkpoint.dims.n_vocab) != "unknown":
        return checkpoint
    config = read_optional_json(path.with_name("generation_config.json"))
    vocabulary, special = read_vocabulary(path.parent, checkpoint.dims, config)
    return replace(checkpoint, vocabulary=vocabulary, special_tokens=special)


def _no_base(name: str) -> Path | None:
    return None


def open_checkpoint(path: str | PathLike[str], *, exact: bool = False, find_cached: FindBase = _no_base) -> Checkpoint:
    """Open a model file or folder, whatever its suffix.

    Supported are `.apr` files; openai-whisper's `.pt`; Hugging Face folders, or one of their weight files with
    config.json beside it; LoRA adapters whose base model is there; whisper.cpp's ggml files; CTranslate2 folders or
    their `model.bin`; and folders with one such file.

    Args:
        path: The file or folder.
        exact: Return ggml's quantized matrices as floats instead of requantizing them, see `read_ggml`.
        find_cached: Returns the folder of a model of the Hugging Face hub by its name, for the base of an adapter.

    Raises:
        ModelNotFoundError: Nothing exists at `path`.
        FormatError: The model is damaged, incomplete, or of an unsupported format.
    """
    place = Path(path)
    if not place.exists():
        raise ModelNotFoundError(f"{place}: no such file or folder")
    if place.name == ADAPTER and place.is_file():
        place = place.parent
    if not place.is_dir():
        return _open_file(place, exact)
    if any((place / name).exists() for name in WEIGHTS):
        return read_safetensors(place)
    if (place / MODEL_BIN).exists():
        return _open_file(place / MODEL_BIN, exact)
    if is_adapter(place):
        base = open_checkpoint(find_base(place, find_cached), exact=True)
        return merge_adapter(base, place)
    return _open_file(_only_model(place), exact)


def _only_model(folder: Path) -> Path:
    """Return the one model file in a folder. Raises FormatError if there is none, or several."""
    found = []
    for path in sorted(islice(folder.iterdir(), MAX_FILES)):
        if path.is_file():
            with open(path, "rb") as file:
                beginning = file.read(len(MAGIC))
            if beginning in (header.MAGIC, MAGIC, ZIP_MAGIC) and path.suffix not in (".zip", ".npz", ".whl"):
                found.append(path)
    if len(found) > 1:
        raise FormatError(
            f"{folder}: it has several models, {', '.join(path.name for path in found[:5])}; give the path of one"
        )
    if not found:
        raise FormatError(f"{folder}: no {WEIGHTS[0]} in it; a Hugging Face model has that file and config.json")
    return found[0]


def _open_file(place: Path, exact: bool) -> Checkpoint:
    beginning = refuse_others(place)
    if beginning[:4] == header.MAGIC:
        return read_apr(place)
    if beginning[:4] == MAGIC:
        return _with_tokens_beside(read_ggml(place, exact=exact), place)
    if beginning[:4] == ZIP_MAGIC:
        from .openai import is_openai, read_openai  # imported here, as it imports pickle and zipfile

        if (place.parent / "config.json").exists() and not is_openai(place):
            return read_safetensors(place)
        return _with_tokens_beside(read_openai(place), place)
    if beginning.startswith(SIGNATURE):
        return read_ctranslate2(place)
    if place.suffix == ".json" and ".index." in place.name:
        return read_safetensors(place)
    # safetensors: a 64-bit length, then a JSON object
    if len(beginning) >= 10 and beginning[8:9] == b"{":
        return read_safetensors(place)
    if beginning[:2] == b"\x80\x02":
        raise FormatError(f"{place}: saved by torch before version 1.6; load it there and torch.save it again")
    if place.name == MODEL_BIN:  # of another version, or damaged
        return read_ctranslate2(place)
    raise FormatError(
        f"{place}: not a Whisper model in a supported format "
        "(.apr, openai-whisper's .pt, safetensors, whisper.cpp's ggml, CTranslate2)"
    )
