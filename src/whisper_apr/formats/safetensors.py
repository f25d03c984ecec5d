"""Read Hugging Face model folders: `config.json`, and weights as safetensors or `pytorch_model.bin`, maybe in shards.

A safetensors file is a uint64 length, a JSON header of that length, and the tensors' data
(https://huggingface.co/docs/safetensors). The header has the dtype, shape and data_offsets of each tensor.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import EMBEDDING, OUTPUT, Checkpoint, make_checkpoint, make_dimensions, parse_suppress_tokens
from ..errors import FormatError
from .files import MAX_JSON, is_archive, read_json, read_optional_json
from .model_card import read_license
from .signatures import refuse_others
from .state_dict import openai_names
from .vocabulary import read_vocabulary

MAX_HEADER = MAX_JSON  # bytes of the JSON header; large-v3's has 0.14 MiB
MAX_SHARDS = 1000

# The files that may hold a folder's weights, by precedence
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.fp16.safetensors",
    "model.safetensors.index.fp16.json",
)
_SHARD = re.compile(r".*-\d{5}-of-\d{5}\.(safetensors|bin)")

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


def _view_tensor(path: Path, name: str, entry: Any, data: np.ndarray) -> np.ndarray:
    """Return a tensor as a view of the data where it is aligned, bfloat16 as a float32 copy.

    Args:
        path: Names the file in error messages.
        name: The tensor's name.
        entry: The tensor's entry in the header.
        data: The file's bytes after the header.
    """
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise FormatError(f"{path}: tensor {name!r} has no valid dtype, shape and data_offsets in the header") from None
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise FormatError(f"{path}: tensor {name!r} is of type {dtype!r}, which is not supported")
    kind = np.dtype(_DTYPES[dtype])
    if any(not isinstance(n, int) or n < 0 for n in (*shape, begin, end)) or len(shape) > 8:
        raise FormatError(f"{path}: tensor {name!r} has a shape or offsets that are not integers from 0 on")
    if not begin <= end <= data.size or end - begin != math.prod(shape) * kind.itemsize:
        raise FormatError(
            f"{path}: tensor {name!r} of shape {shape} does not fit the file's {data.size} bytes of data; "
            "it is cut off or damaged, load it again from its source"
        )
    raw = data[begin:end]
    values = raw.view(kind) if raw.ctypes.data % kind.itemsize == 0 else np.frombuffer(raw.tobytes(), kind)
    if dtype == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(shape)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read a safetensors file.

    Returns:
        Every tensor by its name in the file, memory-mapped where it is aligned.

    Raises:
        FormatError: The file is damaged or not a safetensors file.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            is_valid = size >= 8 and length <= min(MAX_HEADER, size - 8)
            raw = file.read(length) if is_valid else b""
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from error
    if not is_valid:
        raise FormatError(f"{path}: not a safetensors file, or cut off: its header is longer than the file")
    try:
        header = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: the header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise FormatError(f"{path}: the header is not a JSON object")
    data_size = size - 8 - length
    data = np.memmap(path, np.uint8, "r", 8 + length, data_size) if data_size else np.zeros(0, np.uint8)
    return {name: _view_tensor(path, name, entry, data) for name, entry in header.items() if name != "__metadata__"}


def shard_names(index: Path) -> list[str]:
    """Return the names of the shards that an index file lists, each once, sorted.

    Raises:
        FormatError: The index is damaged, or names a file outside of its own folder.
    """
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise FormatError(f"{index}: it has no weight_map of tensor names to file names")
    names = sorted(set(weight_map.values()))
    if len(names) > MAX_SHARDS:
        raise FormatError(f"{index}: it names {len(names)} files, at most {MAX_SHARDS} are supported")
    for name in names:
        if name in ("", ".", "..") or re.search(r"[/\\:\0]", name):
            raise FormatError(f"{index}: it names the file {name!r}, which is not in the same folder")
    return names


def _shards(index: Path) -> list[Path]:
    """Return the files that an index lists. Raises FormatError if one is missing."""
    files = [index.parent / shard for shard in shard_names(index)]
    for file in files:
        if not os.path.isfile(file):  # Path.exists raises OSError if the name is too long
            raise FormatError(f"{index.parent}: {file.name} is missing, which {index.name} refers to")
    return files


def _find_weights(path: Path) -> list[Path]:
    """Return the files that hold a model's weights.

    Args:
        path: The model's folder, its file of weights, an index of shards, or one of the shards.
    """
    if path.is_file():
        if path.suffix == ".json":
            return _shards(path)
        if not _SHARD.fullmatch(path.name):
            return [path]
        for name in WEIGHTS:
            index = path.with_name(name)
            if name.endswith(".json") and index.is_file() and path.name in shard_names(index):
                return _shards(index)
        raise FormatError(f"{path}: one of several shards, whose index ({WEIGHTS[1]}) is missing; give the folder")
    for name in WEIGHTS:
        if (path / name).exists():
            return _shards(path / name) if name.endswith(".json") else [path / name]
    raise FormatError(f"{path}: no {WEIGHTS[0]} in it; a Hugging Face model has that file and config.json")


def _tie(tensors: dict[str, np.ndarray], config: Mapping[str, Any]) -> None:
    """Drop an output projection that is the token embedding, or make it that if the file has no other."""
    if OUTPUT in tensors and EMBEDDING not in tensors and config.get("tie_word_embeddings") is not False:
        tensors[EMBEDDING] = tensors[OUTPUT]
    # as in transformers from release 5 on, different matrices are kept, whatever the configuration says
    if OUTPUT in tensors and EMBEDDING in tensors and np.array_equal(tensors[OUTPUT], tensors[EMBEDDING]):
        del tensors[OUTPUT]


def read_safetensors(path: str | PathLike[str]) -> Checkpoint:
    """Read a Hugging Face model.

    Tensors that are not part of the network are ignored.

    Args:
        path: The folder; or a file of weights, an index of shards or one of the shards, with config.json beside it.
            `generation_config.json`, the vocabulary and README.md are optional.

    Raises:
        FormatError: The model is damaged, incomplete, or not a Whisper model.
    """
    place = Path(path)
    files = _find_weights(place)
    folder = place.parent if place.is_file() else place
    config = read_json(folder / "config.json")
    dims = make_dimensions(
        {ours: config.get(theirs) for ours, theirs in _DIMENSIONS.items()}, str(folder / "config.json")
    )
    saved: dict[str, np.ndarray] = {}
    for file in files:
        refuse_others(file)
        if is_archive(file):
            from .openai import read_archive_tensors  # imported here, as it imports pickle and zipfile

            content = read_archive_tensors(file)
        else:
            content = read_tensors(file)
        saved |= content
    tensors = openai_names(saved)
    _tie(tensors, config)
    generation = read_optional_json(folder / "generation_config.json")
    checkpoint = make_checkpoint(dims, tensors, str(path), generation.get("alignment_heads"))
    vocabulary, special_tokens = read_vocabulary(folder, dims, generation)
    return replace(
        checkpoint,
        suppress_tokens=parse_suppress_tokens(generation.get("suppress_tokens"), dims),
        vocabulary=vocabulary,
        special_tokens=special_tokens,
        license=read_license(folder / "README.md"),
    )
