"""Hugging Face's directories: `config.json` and `model.safetensors`, in one file or in shards; older ones have `pytorch_model.bin`."""

import json
import os
import re
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..checkpoint import Checkpoint, make_checkpoint, make_dimensions, tokens_of
from ..errors import FormatError
from .files import MAX_JSON, read_json
from .model_card import read_license
from .openai import is_archive, read_archive_tensors
from .vocabulary import read_vocabulary

MAX_HEAD = MAX_JSON  # of the tensors' file; large-v3's has 0.14 MiB
MAX_SHARDS = 1000

# Where a folder's weights may be, the first that is there: whole or in shards, newer or as torch.save writes them
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "U8": "u1",
    "I8": "i1",
    "BOOL": "?",
}

_DIMENSIONS = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}

# Hugging Face's name of a part -> openai-whisper's; the first that fits
_PARTS = (
    (r"^model\.", ""),
    (r"\.layers\.", ".blocks."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_ln."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"\.self_attn\.", ".attn."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".out."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"^encoder\.layer_norm\.", "encoder.ln_post."),
    (r"^decoder\.layer_norm\.", "decoder.ln."),
    (r"\.embed_positions\.weight$", ".positional_embedding"),
    (r"\.embed_tokens\.", ".token_embedding."),
)


def openai_name(name: str) -> str:
    """openai-whisper's name of a tensor that Hugging Face calls `name`."""
    for pattern, replacement in _PARTS:
        name = re.sub(pattern, replacement, name)
    return name


def _fail(path: Path, what: str) -> NoReturn:
    raise FormatError(f"{path}: {what}")


def _tensor(path: Path, name: str, entry: Any, data: np.ndarray) -> np.ndarray:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        _fail(path, f"tensor {name!r} is not described by dtype, shape and data_offsets")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        _fail(path, f"tensor {name!r} is of type {dtype!r}, which is not known")
    kind = np.dtype(_DTYPES[dtype])
    if any(not isinstance(n, int) or n < 0 for n in (*shape, begin, end)) or len(shape) > 8:
        _fail(path, f"tensor {name!r} has a shape or offsets that are no whole numbers")
    count = 1
    for n in shape:
        count *= n
    if not begin <= end <= data.size or end - begin != count * kind.itemsize:
        _fail(
            path,
            f"tensor {name!r} of shape {shape} does not lie within the file's {data.size} bytes of data; it is cut off or damaged",
        )
    raw = data[begin:end]
    values = raw.view(kind) if raw.ctypes.data % kind.itemsize == 0 else np.frombuffer(raw.tobytes(), kind)
    if dtype == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(shape)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """One `.safetensors` file: every tensor by its name, mapped. Raises FormatError."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(MAX_HEAD, size - 8):
                _fail(path, "not a safetensors file, or cut off: its head is longer than it is")
            head = json.loads(file.read(length).decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: the head is not JSON ({error})") from error
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from error
    if not isinstance(head, dict):
        _fail(path, "the head is not a JSON object")
    rest = size - 8 - length
    data = np.memmap(path, np.uint8, "r", 8 + length, rest) if rest else np.zeros(0, np.uint8)
    return {name: _tensor(path, name, entry, data) for name, entry in head.items() if name != "__metadata__"}


def shard_names(index: Path) -> list[str]:
    """The files that an index names, each once: bare names of the index's own folder. Raises FormatError."""
    weights = read_json(index).get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights.values()):
        _fail(index, "no weight_map that names the files")
    names = sorted(set(weights.values()))
    if len(names) > MAX_SHARDS:
        _fail(index, f"names {len(names)} files; {MAX_SHARDS} can be read")
    for name in names:
        # nothing outside of the folder is opened
        if name in ("", ".", "..") or re.search(r"[/\\:\0]", name):
            _fail(index, f"names the file {name!r}, which is not one of this folder")
    return names


def _weight_files(folder: Path) -> list[Path]:
    for name in WEIGHTS:
        path = folder / name
        if not path.exists():
            continue
        if path.suffix != ".json":
            return [path]
        files = [folder / shard for shard in shard_names(path)]
        for file in files:
            if not os.path.isfile(file):  # Path.exists raises for a name that is too long
                _fail(folder, f"{file.name} is missing, which {name} names")
        return files
    _fail(folder, f"no {WEIGHTS[0]} in it; a Hugging Face model has that file and config.json")


def read_safetensors(path: str | PathLike[str]) -> Checkpoint:
    """Read a Hugging Face model: its folder, or a file of its weights with config.json beside it. Raises FormatError.

    What a file has beyond the network's own tensors is left out: `proj_out.weight` is the token table once more.
    """
    folder = Path(path)
    files = [folder] if folder.is_file() else _weight_files(folder)
    folder = folder.parent if folder.is_file() else folder
    config = read_json(folder / "config.json")
    dims = make_dimensions(
        {ours: config.get(theirs) for ours, theirs in _DIMENSIONS.items()}, str(folder / "config.json")
    )
    tensors: dict[str, np.ndarray] = {}
    for file in files:
        content = read_archive_tensors(file) if is_archive(file) else read_tensors(file)
        tensors |= {openai_name(name): value for name, value in content.items()}
    generation = folder / "generation_config.json"
    said = read_json(generation) if generation.exists() else {}
    checkpoint = make_checkpoint(dims, tensors, str(path), said.get("alignment_heads"))
    return replace(
        checkpoint,
        suppress_tokens=tokens_of(said.get("suppress_tokens"), dims),
        vocabulary=read_vocabulary(folder, dims),
        license=read_license(folder / "README.md"),
    )
