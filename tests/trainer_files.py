"""Write files as trainers leave them: archives of named tensors, checkpoints with objects, and LoRA adapters."""

import copyreg
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

import models
from models import SMALLEST, Name, huggingface_name, random_tensors

TENSORS = random_tensors(SMALLEST, 0)
QUERY = "decoder.blocks.1.cross_attn.query.weight"
CONV = "encoder.conv2.weight"


def write_bin(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    """Write named tensors as torch.save does."""
    whole = models.write_pt(path.with_suffix(".pt"), SMALLEST, tensors)
    with zipfile.ZipFile(whole) as archive:
        data = {name[13:]: archive.read(name) for name in archive.namelist() if "/data/" in name}
    state = {
        name: models.tensor(models.Storage("FloatStorage", str(key), value.size), value.shape)
        for key, (name, value) in enumerate(tensors.items())
    }
    whole.unlink()
    return models.write_archive(path, models.pickled(state), data)


class Fields:
    """An object that pickle makes of a class by its name, and then gives attributes."""

    def __init__(self, module: str, name: str, **values: Any) -> None:
        self.module, self.name, self.values = module, name, values


def write_pt_with(path: Path, dims: Fields) -> Path:
    """Write a `.pt` whose dims is an object, made as pickle's protocol 2 makes one."""

    class Pickler(models._Pickler):
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, Fields):
                # copyreg.__newobj__ becomes the opcode NEWOBJ, and the state BUILD
                return copyreg.__newobj__, (Name(obj.module, obj.name),), obj.values
            return super().reducer_override(obj)

        def save_reduce(
            self, func: Any, args: Any, state: Any = None, *more: Any, obj: Any = None, **options: Any
        ) -> None:
            if getattr(func, "__name__", "") != "__newobj__":
                return super().save_reduce(func, args, state, *more, obj=obj, **options)
            self.save(args[0])
            self.save(())
            self.write(b"\x81")
            self.save(state)
            self.write(b"b")
            return None

    state, data = {}, {}
    for key, (name, value) in enumerate(TENSORS.items()):
        state[name] = models.tensor(models.Storage("FloatStorage", str(key), value.size), value.shape)
        data[str(key)] = value.tobytes()
    out = io.BytesIO()
    Pickler(out, 2).dump({"dims": dims, "model_state_dict": state})
    return models.write_archive(path, out.getvalue(), data)


def write_adapter(folder: Path, base: str, tensors: dict[str, np.ndarray] | None = None, **config: Any) -> Path:
    """Write an adapter of rank 2 with alpha 6 as peft does; by default of QUERY."""
    folder.mkdir(exist_ok=True)
    if tensors is None:
        tensors = lora(QUERY, 1)
    models.write_safetensors(folder / "adapter_model.safetensors", tensors)
    content = {"peft_type": "LORA", "base_model_name_or_path": base, "r": 2, "lora_alpha": 6} | config
    (folder / "adapter_config.json").write_text(json.dumps(content))
    return folder


def lora(name: str, seed: int, rank: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    n_out, *n_in = TENSORS[name].shape
    a, b = rng.standard_normal((rank, *n_in)), rng.standard_normal((n_out, rank, *(1 for _ in n_in[1:])))
    stem = f"base_model.model.{huggingface_name(name).removesuffix('.weight')}"
    return {f"{stem}.lora_A.weight": a.astype(np.float32), f"{stem}.lora_B.weight": b.astype(np.float32)}
