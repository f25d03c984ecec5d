"""The types of tensors in whisper.cpp's files: how their numbers are packed into blocks.

A block has numbers of one row that share scales; the layouts are those of ggml's `ggml-common.h`. In the older types a
block has 32 numbers, a float16 scale, and in q4_1 and q5_1 a float16 minimum. In the K-quants, q2_k to q6_k, it has
256 numbers in groups of 16 or 32; scales and minimums of the groups are small integers, which are multiplied by one or
two float16 numbers of the block.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .byte_reader import Bytes

BLOCK_SIZE = 32  # numbers of a block in the older types
SUPER_BLOCK_SIZE = 256  # numbers of a block in the K-quants

Floats = npt.NDArray[np.float32]

_IQ4_NL = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)
_MXFP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def _float16_at(blocks: Bytes, offset: int) -> Floats:
    """Return the float16 at an offset of each block, `(n_block, 1)`."""
    return np.ascontiguousarray(blocks[:, offset : offset + 2]).view("<f2").astype(np.float32)


def nibbles_at(blocks: Bytes, offset: int) -> Bytes:
    """Unpack 16 bytes of each block to 32 numbers, the low halves of all bytes first."""
    packed = blocks[:, offset : offset + 16]
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _fifth_bits_at(blocks: Bytes, offset: int) -> Bytes:
    """Unpack 4 bytes of each block to 32 numbers, 0 or 16."""
    return np.unpackbits(blocks[:, offset : offset + 4], axis=1, bitorder="little") * np.uint8(16)


# ---- blocks of 32 ---------------------------------------------------------------------------------------------------


def _decode_q4_0(blocks: Bytes) -> Floats:
    return (nibbles_at(blocks, 2).astype(np.float32) - 8) * _float16_at(blocks, 0)


def _decode_q4_1(blocks: Bytes) -> Floats:
    return nibbles_at(blocks, 4).astype(np.float32) * _float16_at(blocks, 0) + _float16_at(blocks, 2)


def _decode_q5_0(blocks: Bytes) -> Floats:
    values = nibbles_at(blocks, 6) | _fifth_bits_at(blocks, 2)
    return (values.astype(np.float32) - 16) * _float16_at(blocks, 0)


def _decode_q5_1(blocks: Bytes) -> Floats:
    values = nibbles_at(blocks, 8) | _fifth_bits_at(blocks, 4)
    return values.astype(np.float32) * _float16_at(blocks, 0) + _float16_at(blocks, 2)


def _decode_q8_0(blocks: Bytes) -> Floats:
    return np.ascontiguousarray(blocks[:, 2:]).view(np.int8).astype(np.float32) * _float16_at(blocks, 0)


def _decode_iq4_nl(blocks: Bytes) -> Floats:
    return _IQ4_NL[nibbles_at(blocks, 2)] * _float16_at(blocks, 0)


def _decode_mxfp4(blocks: Bytes) -> Floats:
    return _MXFP4[nibbles_at(blocks, 1)] * np.ldexp(np.float32(1), blocks[:, :1].astype(np.int32) - 127)


# ---- K-quants -------------------------------------------------------------------------------------------------------


def _fields(packed: Bytes, bits: int) -> Bytes:
    """Unpack bytes `(n_block, n_part, n)` to numbers of a few bits, `(n_block, n_part, 8 / bits, n)`, lowest first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    return (packed[:, :, None] >> shifts) & np.uint8((1 << bits) - 1)


def _scale_groups(values: Floats, scales: Floats, minimums: Floats | None = None) -> Floats:
    """Multiply each group of a block's numbers by its scale, and subtract its minimum.

    Args:
        values: The numbers, of 256 elements for each block.
        scales: `(n_block, n_group)`.
        minimums: `(n_block, n_group)`.
    """
    n_block, n_group = scales.shape
    groups = values.reshape(n_block, n_group, -1) * scales[:, :, None]
    if minimums is not None:
        groups -= minimums[:, :, None]
    return groups.reshape(n_block, SUPER_BLOCK_SIZE)


def _decode_q2_k(blocks: Bytes) -> Floats:
    values = _fields(blocks[:, 16:80].reshape(-1, 2, 32), 2).astype(np.float32)
    packed = blocks[:, :16]
    scales = (packed & 15).astype(np.float32) * _float16_at(blocks, 80)
    return _scale_groups(values, scales, (packed >> 4).astype(np.float32) * _float16_at(blocks, 82))


def _decode_q3_k(blocks: Bytes) -> Floats:
    low = _fields(blocks[:, 32:96].reshape(-1, 2, 32), 2).reshape(-1, SUPER_BLOCK_SIZE)
    high = _fields(blocks[:, None, :32], 1).reshape(-1, SUPER_BLOCK_SIZE)  # a bit that is not set stands for -4
    values = (low | (high << np.uint8(2))).astype(np.float32) - 4
    packed = blocks[:, 96:108]
    scales = _fields(packed[:, None, :8], 4).reshape(-1, 16) | (_fields(packed[:, None, 8:], 2).reshape(-1, 16) << 4)
    return _scale_groups(values, (scales.astype(np.float32) - 32) * _float16_at(blocks, 108))


def _six_bit_scales(blocks: Bytes) -> tuple[Floats, Floats]:
    """Return the scales and the minimums of q4_k and q5_k, `(n_block, 8)` each: 16 numbers of 6 bits from byte 4 on."""
    first, second, third = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scales = np.concatenate([first & 63, (third & 15) | ((first >> 6) << 4)], axis=1)
    minimums = np.concatenate([second & 63, (third >> 4) | ((second >> 6) << 4)], axis=1)
    return (
        scales.astype(np.float32) * _float16_at(blocks, 0),
        minimums.astype(np.float32) * _float16_at(blocks, 2),
    )


def _decode_q4_k(blocks: Bytes) -> Floats:
    values = _fields(blocks[:, 16:144].reshape(-1, 4, 32), 4).astype(np.float32)
    return _scale_groups(values, *_six_bit_scales(blocks))


def _decode_q5_k(blocks: Bytes) -> Floats:
    low = _fields(blocks[:, 48:176].reshape(-1, 4, 32), 4).reshape(-1, 8, 32)
    high = _fields(blocks[:, None, 16:48], 1).reshape(-1, 8, 32)
    return _scale_groups((low | (high << np.uint8(4))).astype(np.float32), *_six_bit_scales(blocks))


def _decode_q6_k(blocks: Bytes) -> Floats:
    # two halves of 128 numbers: the low four bits of the first 64 and then of the last 64 share 64 bytes
    low = _fields(blocks[:, :128].reshape(-1, 2, 64), 4).reshape(-1, SUPER_BLOCK_SIZE)
    high = _fields(blocks[:, 128:192].reshape(-1, 2, 32), 2).reshape(-1, SUPER_BLOCK_SIZE)
    values = (low | (high << np.uint8(4))).astype(np.float32) - 32
    scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).astype(np.float32)
    return _scale_groups(values, scales * _float16_at(blocks, 208))


# ---- the types ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GgmlType:
    """One of ggml's tensor types."""

    name: str
    size: int  # bytes of one block
    count: int = BLOCK_SIZE  # numbers in one block
    # uint8 (n_block, size) -> float32 (n_block, count); None for plain floats
    decode: Callable[[Bytes], Floats] | None = None


def _decode_bfloat16(blocks: Bytes) -> Floats:
    return (np.ascontiguousarray(blocks).view("<u2").astype(np.uint32) << 16).view(np.float32)


# by the numbers in files
TYPES = {
    0: GgmlType("float32", 4, 1),
    1: GgmlType("float16", 2, 1),
    2: GgmlType("q4_0", 18, decode=_decode_q4_0),
    3: GgmlType("q4_1", 20, decode=_decode_q4_1),
    6: GgmlType("q5_0", 22, decode=_decode_q5_0),
    7: GgmlType("q5_1", 24, decode=_decode_q5_1),
    8: GgmlType("q8_0", 34, decode=_decode_q8_0),
    10: GgmlType("q2_k", 84, SUPER_BLOCK_SIZE, _decode_q2_k),
    11: GgmlType("q3_k", 110, SUPER_BLOCK_SIZE, _decode_q3_k),
    12: GgmlType("q4_k", 144, SUPER_BLOCK_SIZE, _decode_q4_k),
    13: GgmlType("q5_k", 176, SUPER_BLOCK_SIZE, _decode_q5_k),
    14: GgmlType("q6_k", 210, SUPER_BLOCK_SIZE, _decode_q6_k),
    20: GgmlType("iq4_nl", 18, decode=_decode_iq4_nl),
    30: GgmlType("bfloat16", 2, 1, _decode_bfloat16),
    39: GgmlType("mxfp4", 17, decode=_decode_mxfp4),
}
