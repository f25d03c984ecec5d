"""Write whisper.cpp's model files: float16, and q8_0 (blocks of 32 weights: a float16 scale, then 32 bytes)."""

import struct
from dataclasses import astuple
from pathlib import Path

import numpy as np

from whisper_apr.audio import mel_filters
from whisper_apr.formats import Checkpoint
from whisper_apr.tokenizer.bpe import load_ranks

_MAGIC, _F32, _F16, _Q8_0 = 0x67676D6C, 0, 1, 8
_FILE_TYPES = {"float16": 1, "q8_0": 7}
ENGLISH_ONLY = 51864  # number of tokens of OpenAI's English models


def _quantize(weight: np.ndarray) -> bytes:
    blocks = weight.astype(np.float32).reshape(-1, 32)
    scales = np.abs(blocks).max(axis=1, keepdims=True) / 127
    values = np.rint(np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales > 0)).astype(np.int8)
    return np.concatenate([scales.astype("<f2").view(np.int8), values], axis=1).tobytes()


def write(checkpoint: Checkpoint, path: Path, kind: str) -> None:
    """Write a model of OpenAI's vocabularies whose matrices are `float16` or `q8_0`."""
    dims = checkpoint.dims
    tokens = list(load_ranks("gpt2" if dims.n_vocab == ENGLISH_ONLY else "multilingual"))
    with open(path, "wb") as file:
        vocabulary_first = (dims.n_vocab, *astuple(dims)[1:5], *astuple(dims)[6:], dims.n_mels, _FILE_TYPES[kind])
        file.write(struct.pack("<I11i", _MAGIC, *vocabulary_first))
        filters = mel_filters(dims.n_mels)
        file.write(struct.pack("<2i", *filters.shape) + filters.tobytes())
        file.write(struct.pack("<i", len(tokens)))
        for token in tokens:
            file.write(struct.pack("<I", len(token)) + token)
        for name, tensor in checkpoint.tensors.items():
            own = _F32 if tensor.ndim == 1 or "positional" in name else _F16
            shape = (len(tensor), 1) if name.endswith(("conv1.bias", "conv2.bias")) else tensor.shape
            if own == _F16 and tensor.ndim == 2 and kind == "q8_0":
                own = _Q8_0
            data = _quantize(tensor) if own == _Q8_0 else tensor.astype(("<f4", "<f2")[own]).tobytes()
            file.write(struct.pack("<3i", len(shape), len(name), own))
            file.write(struct.pack(f"<{len(shape)}i", *reversed(shape)) + name.encode() + data)
