"""Write whisper.cpp's files, for tests: a slow and simple implementation, independent of the reader."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import k_quants
from whisper_apr.formats import ModelDimensions

TYPES = {"float32": 0, "float16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8}
K_QUANTS = {"q2_k": 10, "q3_k": 11, "q4_k": 12, "q5_k": 13, "q6_k": 14}  # rows of a multiple of 256 numbers


def clamped(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)  # np.clip takes a hundred times as long for one number


def block(values: np.ndarray, kind: str) -> tuple[bytes, np.ndarray]:
    """Quantize 32 numbers; return the bytes, and the float32 values that they represent."""
    low, high = float(values.min()), float(values.max())
    if kind == "q8_0":
        scale = np.float16(np.abs(values).max() / 127)
        codes = [clamped(round(float(v) / float(scale)) if scale else 0, -127, 127) for v in values]
        exact = np.array([np.float32(c) * np.float32(scale) for c in codes])
        return struct.pack("<e32b", scale, *codes), exact
    bits = int(kind[1])
    if kind.endswith("_0"):
        middle = 1 << (bits - 1)
        extreme = values[np.abs(values).argmax()]
        scale, offset = np.float16(extreme / -middle), np.float16(0)
        codes = [
            clamped(round(float(v) / float(scale)) + middle if scale else middle, 0, 2 * middle - 1) for v in values
        ]
        exact = np.array([np.float32(c - middle) * np.float32(scale) for c in codes])
        head = struct.pack("<e", scale)
    else:
        scale, offset = np.float16((high - low) / ((1 << bits) - 1)), np.float16(low)
        codes = [
            clamped(round((float(v) - float(offset)) / float(scale)) if scale else 0, 0, (1 << bits) - 1)
            for v in values
        ]
        exact = np.array([np.float32(c) * np.float32(scale) + np.float32(offset) for c in codes])
        head = struct.pack("<ee", scale, offset)
    if bits == 5:
        head += struct.pack("<I", sum((code >> 4) << i for i, code in enumerate(codes)))
    return head + bytes((codes[i] & 15) | (codes[i + 16] & 15) << 4 for i in range(16)), exact


def write_ggml(
    path: Path,
    dims: ModelDimensions,
    tensors: Mapping[str, np.ndarray],
    kind: str = "float32",
    words: Sequence[bytes] = (b"", b"x", b"xx"),
) -> dict[str, np.ndarray]:
    """Write a file with matrices of a type, and return the values of its tensors, without those in K-quants.

    As with whisper.cpp's tools, tensors other than matrices are float32, convolution kernels float16 unless the
    matrices are float32, and a convolution's bias is a column.
    """
    out = bytearray(struct.pack("<I", 0x67676D6C))
    out += struct.pack(
        "<11i",
        dims.n_vocab,
        dims.n_audio_ctx,
        dims.n_audio_state,
        dims.n_audio_head,
        dims.n_audio_layer,
        dims.n_text_ctx,
        dims.n_text_state,
        dims.n_text_head,
        dims.n_text_layer,
        dims.n_mels,
        (TYPES | K_QUANTS)[kind],
    )
    out += struct.pack("<2i", dims.n_mels, 201) + bytes(4 * dims.n_mels * 201)
    out += struct.pack("<i", len(words)) + b"".join(struct.pack("<i", len(word)) + word for word in words)
    stands_for = {}
    for name, value in tensors.items():
        is_matrix = name.endswith(".weight") and value.ndim == 2
        own = kind if is_matrix else "float16" if value.ndim == 3 and kind != "float32" else "float32"
        shape = (*value.shape, 1) if name in ("encoder.conv1.bias", "encoder.conv2.bias") else value.shape
        out += struct.pack("<3i", len(shape), len(name), (TYPES | K_QUANTS)[own])
        out += struct.pack(f"<{len(shape)}i", *reversed(shape)) + name.encode()
        if own.startswith("float"):
            stands_for[name] = value.astype(own)
            out += stands_for[name].tobytes()
        elif own in K_QUANTS:
            out += k_quants.quantize(value, own).tobytes()
        else:
            blocks = [block(values, own) for values in value.reshape(-1, 32)]
            out += b"".join(raw for raw, _ in blocks)
            stands_for[name] = np.concatenate([exact for _, exact in blocks]).astype(np.float32).reshape(value.shape)
    path.write_bytes(out)
    return stands_for
