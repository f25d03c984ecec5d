"""Read LoRA adapters as the package peft saves them, and merge them into their base model.

A folder has `adapter_config.json` and the matrices in `adapter_model.safetensors` or `adapter_model.bin`. The weight of
an adapted layer is W + B A * scale, with scale = alpha / r, or alpha / sqrt(r) for rank-stabilized LoRA (Hu et al.,
arXiv 2106.09685; Kalajdzievski, arXiv 2312.03732).
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..checkpoint import EMBEDDING, Checkpoint, expected_shapes
from ..errors import FormatError
from ..finite import FiniteTensors
from ..simd import Weight
from .files import is_archive, read_json
from .lazy_tensors import LazyTensors
from .safetensors import read_tensors
from .signatures import refuse_others
from .state_dict import openai_name

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

FindBase = Callable[[str], Path | None]  # the folder of a base model that is named as on the Hugging Face hub

_PREFIX = "base_model.model."
_PART = re.compile(r"(.+)\.lora_(A|B|embedding_A|embedding_B)(?:\.weight)?")
# what peft can save and this module cannot merge: an entry of the configuration, and the value that does nothing
_UNSUPPORTED = {"use_dora": False, "fan_in_fan_out": False, "bias": "none", "layer_replication": None}


class _Adapter(NamedTuple):
    """The two matrices of an adapted layer, and their factor."""

    a: npt.NDArray[Any]
    b: npt.NDArray[Any]
    scale: float
    is_embedding: bool

    def check(self, shape: tuple[int, ...], where: str) -> None:
        """Raise FormatError unless the matrices fit a weight of this shape."""
        rows, columns = shape[0], math.prod(shape[1:])
        if self.is_embedding:
            rows, columns = columns, rows
        rank = len(self.a)
        if rank < 1 or self.a.size != rank * columns or len(self.b) != rows or self.b.size != rows * rank:
            raise FormatError(
                f"{where}: its LoRA matrices of shapes {self.a.shape} and {self.b.shape} do not fit a weight of shape "
                f"{shape}; the adapter is not of this base model"
            )

    def change(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Return what is added to a weight of this shape."""
        rank = len(self.a)
        product = self.b.reshape(-1, rank).astype(np.float32) @ self.a.reshape(rank, -1).astype(np.float32)
        product *= np.float32(self.scale)
        return (product.T if self.is_embedding else product).reshape(shape)


def is_adapter(folder: Path) -> bool:
    """Return whether a folder has an adapter's configuration."""
    return (folder / CONFIG).is_file()


def _number(config: Mapping[str, Any], patterns: str, default: str, module: str, where: str) -> float:
    """Return a module's rank or alpha: the value of the pattern that its name ends with, or else the default."""
    value = config.get(default)
    found = config.get(patterns)
    for pattern, own in found.items() if isinstance(found, dict) else ():
        if module == pattern or module.endswith(f".{pattern}"):
            value = own
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e6:
        raise FormatError(f"{where}: {default} must be a number above 0, not {value!r}")
    return float(value)


def _read_weights(folder: Path) -> dict[str, npt.NDArray[Any]]:
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise FormatError(f"{folder}: a LoRA adapter without its weights, {' or '.join(WEIGHTS)}")
    refuse_others(path)
    if not is_archive(path):
        return read_tensors(path)
    from .openai import read_archive_tensors  # imported here, as it imports pickle and zipfile

    return read_archive_tensors(path)


def read_adapter(folder: Path) -> tuple[dict[str, _Adapter], dict[str, npt.NDArray[Any]]]:
    """Read an adapter.

    Returns:
        By the names of the model's tensors, those that change a weight, and those that replace one.

    Raises:
        FormatError: The adapter is damaged, incomplete or of an unsupported kind.
    """
    where = str(folder / CONFIG)
    config = read_json(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise FormatError(
            f"{where}: an adapter of type {config.get('peft_type')!r}; only LORA can be merged: merge it with peft "
            "(`model.merge_and_unload()`) and save the whole model"
        )
    for key, neutral in _UNSUPPORTED.items():
        if config.get(key, neutral) not in (neutral, None):
            raise FormatError(
                f"{where}: {key} = {config[key]!r} is not supported; merge it with peft (`model.merge_and_unload()`) "
                "and save the whole model"
            )
    pairs: dict[str, dict[str, npt.NDArray[Any]]] = {}
    replaced: dict[str, npt.NDArray[Any]] = {}
    for name, value in _read_weights(folder).items():
        name = name.removeprefix(_PREFIX).replace(".modules_to_save.default", "").replace(".base_layer", "")
        if found := _PART.fullmatch(name):
            pairs.setdefault(found[1], {})[found[2]] = value
        else:
            replaced[openai_name(name)] = value
    changed = {}
    for module, parts in pairs.items():
        suffix = "embedding_" if any(part.startswith("embedding") for part in parts) else ""
        if set(parts) != {f"{suffix}A", f"{suffix}B"} or any(value.ndim < 2 for value in parts.values()):
            raise FormatError(f"{folder}: the LoRA matrices of {module} are incomplete")
        rank = _number(config, "rank_pattern", "r", module, where)
        alpha = _number(config, "alpha_pattern", "lora_alpha", module, where)
        scale = alpha / (math.sqrt(rank) if config.get("use_rslora") is True else rank)
        a, b = parts[f"{suffix}A"], parts[f"{suffix}B"]
        changed[openai_name(f"{module}.weight")] = _Adapter(a, b, scale, bool(suffix))
    return changed, replaced


def base_name(folder: Path) -> str:
    """Return what an adapter's configuration says about its base model; empty if nothing."""
    name = read_json(folder / CONFIG).get("base_model_name_or_path")
    return name if isinstance(name, str) else ""


def find_base(folder: Path, find_cached: FindBase) -> Path:
    """Return the folder of an adapter's base model.

    Args:
        folder: The adapter's folder.
        find_cached: Returns the folder of a model of the Hugging Face hub if it is cached.

    Raises:
        FormatError: The base model is not there; the message says what to do.
    """
    name = base_name(folder)
    for place in (Path(name), folder / name) if name and "\0" not in name else ():
        try:
            if place.is_dir() and not is_adapter(place):
                return place
        except OSError:  # the name is too long
            pass
    cached = find_cached(name)
    if cached is not None:
        return cached
    download = f"download it (`whisper-apr download {name}`), or " if name.count("/") == 1 else ""
    raise FormatError(
        f"{folder}: a LoRA adapter, not a whole model, and its base model {name!r} is not there; {download}put the "
        f"path of its folder into {CONFIG} as base_model_name_or_path"
    )


def _merge(weight: Callable[[], Weight], adapter: _Adapter, where: str) -> npt.NDArray[Any]:
    """Return a weight with its change, in the weight's dtype."""
    values = weight()
    if not isinstance(values, np.ndarray):
        raise FormatError(f"{where}: an adapter cannot be merged into quantized weights; use a base model of floats")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later
        return (values.astype(np.float32) + adapter.change(values.shape)).astype(values.dtype)


def merge_adapter(base: Checkpoint, folder: Path) -> Checkpoint:
    """Return a model with an adapter merged into it.

    Raises:
        FormatError: The adapter is damaged, or not of this base model. Accessing a tensor can raise it, too.
    """
    changed, replaced = read_adapter(folder)
    where = str(folder)
    shapes = expected_shapes(base.dims, untied=True)
    decoders: dict[str, Callable[[], Weight]] = {name: partial(base.tensors.__getitem__, name) for name in base.tensors}
    for name in (*replaced, *changed):
        if name not in shapes:
            raise FormatError(f"{where}: it adapts {name}, which its base model does not have")
    for name, value in replaced.items():
        if value.shape != shapes[name] or value.dtype.kind != "f":
            raise FormatError(f"{where}: {name} is {value.dtype} {value.shape}, but its base has floats {shapes[name]}")
        decoders[name] = partial(_as_it_is, value)
    for name, adapter in changed.items():
        adapter.check(shapes[name], where)
        # an adapted output projection is no longer the token embedding
        source = decoders[EMBEDDING if name not in decoders else name]
        decoders[name] = partial(_merge, source, adapter, where)
    return replace(base, tensors=FiniteTensors(LazyTensors(decoders, where), where))


def _as_it_is(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return value
