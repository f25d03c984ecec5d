"""Models with reproducible random weights, and writers of model files."""

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from whisper_apr.checkpoint import expected_shapes, make_checkpoint
from whisper_apr.formats import Checkpoint, ModelDimensions
from whisper_apr.model import Whisper


def dimensions(
    width: int = 384,
    heads: int = 6,
    layers: int = 4,
    *,
    n_mels: int = 80,
    n_vocab: int = 51865,
    audio_ctx: int = 1500,
    text_ctx: int = 448,
) -> ModelDimensions:
    """Return a model's dimensions; the defaults are those of `tiny`."""
    return ModelDimensions(n_mels, audio_ctx, width, heads, layers, n_vocab, text_ctx, width, heads, layers)


TINY = dimensions()
BASE = dimensions(512, 8, 6)
# ordinary tokens of a small vocabulary: every byte, and three longer ones
WORDS = (*(bytes([value]) for value in range(256)), b"o\xc3\xbc", b" ja", b" naja")
SPOKEN = dimensions(
    8, 2, 2, n_mels=4, n_vocab=len(WORDS) + 1509 + 2, audio_ctx=1500, text_ctx=448
)  # WORDS and two languages
SMALLEST = dimensions(8, 2, 2, n_mels=4, n_vocab=11, audio_ctx=6, text_ctx=5)  # for tests of file formats
ODD = ModelDimensions(
    5, 12, 36, 3, 1, 77, 8, 36, 3, 2
)  # 3 heads, rows that do not fill a panel, different numbers of layers


def sinusoids(length: int, width: int) -> np.ndarray:
    """Return the encoder's positional embedding as in openai-whisper: all sines, then all cosines."""
    rates = np.exp(-np.log(10000) / (width // 2 - 1) * np.arange(width // 2))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def random_tensors(dims: ModelDimensions, seed: int) -> dict[str, np.ndarray]:
    """Return float32 weights, scaled so that activations neither vanish nor explode and logits differ by several units.

    They are made from the raw bits of PCG64, which NumPy guarantees not to change, so committed results stay valid.
    """
    bits = np.random.PCG64(seed)
    tensors = {}
    for name, shape in expected_shapes(dims).items():
        count = int(np.prod(shape))
        uniform = (bits.random_raw(count) >> np.uint64(40)).astype(np.float32).reshape(shape) / 2**23 - 1
        if name == "encoder.positional_embedding":
            uniform = sinusoids(*shape)
        elif name.endswith(("embedding", "embedding.weight")):
            uniform *= np.float32(0.25)
        elif "ln" in name.split(".")[-2]:
            uniform = uniform * np.float32(0.2) + np.float32(name.endswith("weight"))
        elif name.endswith("bias"):
            uniform *= np.float32(0.1)
        else:
            uniform *= np.float32((3 / np.prod(shape[1:])) ** 0.5)
        tensors[name] = uniform
    return tensors


def random_checkpoint(dims: ModelDimensions, seed: int = 0) -> Checkpoint:
    return make_checkpoint(dims, random_tensors(dims, seed), "random weights")


def assert_same(checkpoint: Checkpoint, tensors: Mapping[str, np.ndarray]) -> None:
    """Assert that a checkpoint of SMALLEST has these tensors, in this order."""
    assert checkpoint.dims == SMALLEST
    assert list(checkpoint.tensors) == list(tensors)
    for name, value in tensors.items():
        assert checkpoint.tensors[name].dtype == value.dtype
        np.testing.assert_array_equal(checkpoint.tensors[name], value)


def logits(model: Whisper) -> np.ndarray:
    """Return a model's logits for a ramp as mel spectrogram and three tokens."""
    dims = model.dims
    mel = np.linspace(-1, 1, dims.n_mels * 2 * dims.n_audio_ctx, dtype=np.float32).reshape(1, dims.n_mels, -1)
    return model.logits(np.array([[1, 2, 3]]), model.embed_audio(mel))


# ---- openai-whisper's .pt, as torch.save writes it, without torch ---------------------------------------------------


class Name:
    """A global that a pickle refers to, such as `torch.FloatStorage` or `os.system`."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        """Do nothing: pickle only requires a callable."""


class Made:
    """An object that a pickle creates by calling a global."""

    def __init__(self, maker: Name, *arguments: Any) -> None:
        self.maker, self.arguments = maker, arguments


class Storage:
    """Data in the archive, which a pickle refers to as `("storage", type, key, location, count)`."""

    def __init__(self, kind: str, key: str, count: int) -> None:
        self.identity = ("storage", Name("torch", kind), key, "cpu", count)


class _Pickler(pickle._Pickler):  # type: ignore[name-defined]  # the Python implementation, which can be customized
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Name):
            self.write(b"c" + obj.module.encode() + b"\n" + obj.name.encode() + b"\n")
        else:
            super().save(obj, save_persistent_id)

    def reducer_override(self, obj: Any) -> Any:
        return (obj.maker, obj.arguments) if isinstance(obj, Made) else NotImplemented

    def persistent_id(self, obj: Any) -> Any:
        return obj.identity if isinstance(obj, Storage) else None


def pickled(content: Any) -> bytes:
    out = io.BytesIO()
    _Pickler(out, 2).dump(content)
    return out.getvalue()


_KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


def tensor(
    storage: Storage, shape: tuple[int, ...], *, offset: int = 0, strides: tuple[int, ...] | None = None
) -> Made:
    if strides is None:
        strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    return Made(Name("torch._utils", "_rebuild_tensor_v2"), storage, offset, shape, strides, False, OrderedDict())


def write_archive(path: Path, data_pkl: bytes, data: Mapping[str, bytes], *, compressed: bool = False) -> Path:
    """Write the zip archive of a pickle and its tensors' data."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        archive.writestr("archive/byteorder", "little")
        for key, content in data.items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/version", "3\n")
    return path


def write_pt(
    path: Path,
    dims: ModelDimensions | Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    *,
    bfloat16: bool = False,
    compressed: bool = False,
    **more: Any,
) -> Path:
    """Write a checkpoint; with `bfloat16`, float32 tensors lose the lower half of their bits."""
    state, data = OrderedDict(), {}
    for key, (name, value) in enumerate(tensors.items()):
        content = np.ascontiguousarray(value)
        if bfloat16:
            content = (content.view(np.uint32) >> 16).astype(np.uint16)
        storage = Storage("BFloat16Storage" if bfloat16 else _KINDS[value.dtype.name], str(key), value.size)
        state[name] = tensor(storage, value.shape)
        data[str(key)] = content.tobytes()
    head = asdict(dims) if isinstance(dims, ModelDimensions) else dict(dims)
    return write_archive(path, pickled({"dims": head, "model_state_dict": state, **more}), data, compressed=compressed)


# ---- Hugging Face's folder ------------------------------------------------------------------------------------------

_CONFIG = {
    "num_mel_bins": "n_mels",
    "max_source_positions": "n_audio_ctx",
    "d_model": "n_audio_state",
    "encoder_attention_heads": "n_audio_head",
    "encoder_layers": "n_audio_layer",
    "vocab_size": "n_vocab",
    "max_target_positions": "n_text_ctx",
    "decoder_attention_heads": "n_text_head",
    "decoder_layers": "n_text_layer",
}
_DTYPES = {"float32": "F32", "float16": "F16", "float64": "F64", "uint16": "BF16", "int64": "I64"}


def config(dims: ModelDimensions) -> dict[str, Any]:
    return {theirs: getattr(dims, ours) for theirs, ours in _CONFIG.items()} | {"model_type": "whisper"}


def huggingface_name(name: str) -> str:
    """Translate openai-whisper's name of a tensor to Hugging Face's."""
    if name == "decoder.token_embedding.weight":
        return "model.decoder.embed_tokens.weight"
    if name == "decoder.output.weight":
        return "proj_out.weight"
    side, _, rest = name.partition(".")
    if rest == "positional_embedding":
        return f"model.{side}.embed_positions.weight"
    parts = rest.split(".")
    if parts[0] in ("ln_post", "ln"):
        return f"model.{side}.layer_norm.{parts[1]}"
    if parts[0] != "blocks":
        return f"model.{name}"
    _, number, part, *last = parts
    plain = {
        "attn_ln": "self_attn_layer_norm",
        "cross_attn_ln": "encoder_attn_layer_norm",
        "mlp_ln": "final_layer_norm",
    }
    if part in plain:
        return f"model.{side}.layers.{number}.{plain[part]}.{last[0]}"
    if part == "mlp":
        return f"model.{side}.layers.{number}.{'fc1' if last[0] == '0' else 'fc2'}.{last[1]}"
    kind = {"attn": "self_attn", "cross_attn": "encoder_attn"}[part]
    projection = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}[last[0]]
    return f"model.{side}.layers.{number}.{kind}.{projection}.{last[1]}"


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> Path:
    """Write a safetensors file; bfloat16 is given as uint16."""
    head, data = {"__metadata__": {"format": "pt"}}, b""
    for name, value in tensors.items():
        content = np.ascontiguousarray(value).tobytes()
        offsets = [len(data), len(data) + len(content)]
        dtype, shape = _DTYPES[value.dtype.name], list(value.shape)
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}  # type: ignore[assignment]
        data += content
    text = json.dumps(head).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def write_huggingface(
    folder: Path, dims: ModelDimensions, tensors: Mapping[str, np.ndarray], *, shards: int = 1
) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(dims)))
    named = [(huggingface_name(name), value) for name, value in tensors.items()]
    if shards == 1:
        write_safetensors(folder / "model.safetensors", dict(named))
        return folder
    weight_map = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        write_safetensors(folder / file, dict(named[i::shards]))
        weight_map |= {name: file for name, _ in named[i::shards]}
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def vocab_json() -> dict[str, int]:
    """Return the content of a vocab.json for `WORDS`: ids by the tokens in GPT-2's byte-to-character encoding."""
    signs, extra = {}, 256
    for value in range(256):
        if chr(value).isprintable() and value not in (0x20, 0xAD):
            signs[value] = chr(value)
        else:
            signs[value], extra = chr(extra), extra + 1
    numbers = {"".join(signs[value] for value in word): number for number, word in enumerate(WORDS)}
    return numbers | {"<|endoftext|>": len(WORDS)}
