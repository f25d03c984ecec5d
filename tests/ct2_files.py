"""Write CTranslate2 model folders, for tests; the parity tests also use files that CTranslate2 itself wrote."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from whisper_apr.formats import ModelDimensions

_TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "uint16": 5}  # bfloat16 is stored as uint16
_ENCODER = {
    "attn_ln": "self_attention/layer_norm",
    "attn.query+attn.key+attn.value": "self_attention/linear_0",
    "attn.out": "self_attention/linear_1",
    "mlp_ln": "ffn/layer_norm",
    "mlp.0": "ffn/linear_0",
    "mlp.2": "ffn/linear_1",
}
_DECODER = _ENCODER | {
    "cross_attn_ln": "attention/layer_norm",
    "cross_attn.query": "attention/linear_0",
    "cross_attn.key+cross_attn.value": "attention/linear_1",
    "cross_attn.out": "attention/linear_2",
}


def word(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def variables(dims: ModelDimensions, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors in floats, fused and renamed as in CTranslate2."""
    pairs = [
        ("encoder.conv1", "encoder/conv1"),
        ("encoder.conv2", "encoder/conv2"),
        ("encoder.ln_post", "encoder/layer_norm"),
        ("decoder.ln", "decoder/layer_norm"),
        ("decoder.token_embedding", "decoder/embeddings"),
    ]
    if "decoder.output.weight" in tensors:
        pairs.append(("decoder.output", "decoder/projection"))
    for side, n_layer, parts in (("encoder", dims.n_audio_layer, _ENCODER), ("decoder", dims.n_text_layer, _DECODER)):
        for i in range(n_layer):
            for ours, theirs in parts.items():
                names = "+".join(f"{side}.blocks.{i}.{name}" for name in ours.split("+"))
                pairs.append((names, f"{side}/layer_{i}/{theirs}"))
    found = {
        f"{side}/position_encodings/encodings": tensors[f"{side}.positional_embedding"]
        for side in ("encoder", "decoder")
    }
    for names, theirs in pairs:
        weights = [tensors[f"{name}.weight"] for name in names.split("+")]
        biases = [tensors.get(f"{name}.bias", np.zeros(len(weights[0]), np.float32)) for name in names.split("+")]
        is_norm = theirs.endswith("layer_norm")
        found[f"{theirs}/{'gamma' if is_norm else 'weight'}"] = np.concatenate(weights)
        if not theirs.endswith(("embeddings", "projection")):
            found[f"{theirs}/{'beta' if is_norm else 'bias'}"] = np.concatenate(biases)
    return found


def write_ct2(
    folder: Path, dims: ModelDimensions, tensors: Mapping[str, np.ndarray], kind: str = "float32", **config: object
) -> dict[str, np.ndarray]:
    """Write a folder and return the values of its variables; `kind` is float32, float16, int8, int16 or bfloat16."""
    stored: dict[str, np.ndarray] = {}
    floats = variables(dims, tensors)
    for name, value in floats.items():
        if kind in ("int8", "int16") and name.endswith("/weight"):
            largest, axes = (127, tuple(range(1, value.ndim))) if kind == "int8" else (1023, None)
            scale = (largest / np.abs(value).max(axis=axes, keepdims=True)).astype(np.float32)
            stored[name] = np.rint(value * scale).astype(kind)
            stored[f"{name}_scale"] = scale.reshape(-1) if kind == "int8" else scale.reshape(())
            floats[name] = stored[name].astype(np.float32) / scale
        elif kind == "bfloat16":
            stored[name] = (np.ascontiguousarray(value).view(np.uint32) >> 16).astype(np.uint16)
            floats[name] = (stored[name].astype(np.uint32) << 16).view(np.float32)
        else:
            stored[name] = value.astype("float16" if kind == "float16" else "float32")
            floats[name] = stored[name].astype(np.float32)
    stored["encoder/num_heads"] = np.array(dims.n_audio_head, np.int16)
    stored["decoder/num_heads"] = np.array(dims.n_text_head, np.int16)
    stored["decoder/activation"] = np.array(3, np.int8)
    # equal variables are written once; the others are aliases
    first: dict[tuple[object, bytes], str] = {}
    aliases = (
        {} if "decoder/projection/weight" in stored else {"decoder/projection/weight": "decoder/embeddings/weight"}
    )
    out, count = b"", 0
    for name in sorted(stored):
        value = stored[name]
        raw = value.tobytes()
        if value.ndim and (value.shape, raw) in first:
            aliases[name] = first[value.shape, raw]
            continue
        first.setdefault((value.shape, raw), name)
        out += word(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        out += struct.pack("<BI", _TYPES[value.dtype.name], len(raw)) + raw
        count += 1
    out = (
        struct.pack("<I", 6)
        + word("WhisperSpec")
        + struct.pack("<II", 3, count)
        + out
        + struct.pack("<I", len(aliases))
    )
    for alias, name in aliases.items():
        out += word(alias) + word(name)
    folder.mkdir(exist_ok=True)
    (folder / "model.bin").write_bytes(out)
    (folder / "config.json").write_text(json.dumps({"lang_ids": [], "suppress_ids": []} | config))
    return floats
