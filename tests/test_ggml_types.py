"""ggml's types, against a transcription of their definitions number by number."""

import struct

import numpy as np
import pytest

from whisper_apr.formats.ggml_types import _IQ4_NL, _MXFP4, TYPES

N_BLOCK = 40
BY_NAME = {kind.name: kind for kind in TYPES.values()}


def half(raw: bytes, at: int) -> float:
    return struct.unpack_from("<e", raw, at)[0]


def six_bits(raw: bytes, group: int) -> tuple[int, int]:
    """Return the scale and the minimum of a group in q4_k and q5_k."""
    packed = raw[4:16]
    if group < 4:
        return packed[group] & 63, packed[group + 4] & 63
    return (
        (packed[group + 4] & 15) | (packed[group - 4] >> 6) << 4,
        (packed[group + 4] >> 4) | (packed[group] >> 6) << 4,
    )


def q2_k(raw: bytes, i: int) -> float:
    part, j, place = i // 128, i // 32 % 4, i % 32
    scale = raw[i // 16]
    value = raw[16 + 32 * part + place] >> 2 * j & 3
    return half(raw, 80) * (scale & 15) * value - half(raw, 82) * (scale >> 4)


def q3_k(raw: bytes, i: int) -> float:
    part, j, place, group = i // 128, i // 32 % 4, i % 32, i // 16
    packed = raw[96:108]
    low = packed[group % 8] & 15 if group < 8 else packed[group % 8] >> 4
    scale = (low | (packed[8 + group % 4] >> 2 * (group // 4) & 3) << 4) - 32
    value = (raw[32 + 32 * part + place] >> 2 * j & 3) - (0 if raw[place] >> i // 32 & 1 else 4)
    return half(raw, 108) * scale * value


def q4_k(raw: bytes, i: int) -> float:
    group = i // 32
    scale, minimum = six_bits(raw, group)
    value = raw[16 + 32 * (group // 2) + i % 32] >> 4 * (group % 2) & 15
    return half(raw, 0) * scale * value - half(raw, 2) * minimum


def q5_k(raw: bytes, i: int) -> float:
    group = i // 32
    scale, minimum = six_bits(raw, group)
    value = raw[48 + 32 * (group // 2) + i % 32] >> 4 * (group % 2) & 15
    value += (raw[16 + i % 32] >> group & 1) * 16
    return half(raw, 0) * scale * value - half(raw, 2) * minimum


def q6_k(raw: bytes, i: int) -> float:
    part, j, place = i // 128, i // 32 % 4, i % 32
    low = raw[64 * part + 32 * (j % 2) + place]
    value = (low & 15 if j < 2 else low >> 4) | (raw[128 + 32 * part + place] >> 2 * j & 3) << 4
    scale = struct.unpack_from("<b", raw, 192 + i // 16)[0]
    return half(raw, 208) * scale * (value - 32)


def four_bits(raw: bytes, at: int, i: int) -> int:
    return raw[at + i % 16] >> 4 * (i // 16) & 15


REFERENCES = {
    "q2_k": (q2_k, (80, 82)),
    "q3_k": (q3_k, (108,)),
    "q4_k": (q4_k, (0, 2)),
    "q5_k": (q5_k, (0, 2)),
    "q6_k": (q6_k, (208,)),
    "iq4_nl": (lambda raw, i: half(raw, 0) * float(_IQ4_NL[four_bits(raw, 2, i)]), (0,)),
    "mxfp4": (lambda raw, i: 2.0 ** (raw[0] - 127) * float(_MXFP4[four_bits(raw, 1, i)]), ()),
    "bfloat16": (lambda raw, i: struct.unpack("<f", b"\0\0" + raw)[0], ()),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_every_number(name):
    reference, halves = REFERENCES[name]
    kind, rng = BY_NAME[name], np.random.default_rng(len(name))
    blocks = rng.integers(0, 256, (N_BLOCK, kind.size), np.uint8)
    if name == "bfloat16":
        blocks[:, 1] &= 0x3F  # no infinity or NaN
    if name == "mxfp4":
        blocks[:, 0] = rng.integers(100, 140, N_BLOCK)
    for at in halves:
        blocks[:, at : at + 2] = rng.standard_normal((N_BLOCK, 1)).astype("<f2").view(np.uint8)
    found = kind.decode(blocks)
    assert found.shape == (N_BLOCK, kind.count)
    assert found.dtype == np.float32
    expected = np.array([[reference(raw.tobytes(), i) for i in range(kind.count)] for raw in blocks])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_sizes():
    """Bits for each number, as ggml's documentation has them."""
    bits = {name: 8 * kind.size / kind.count for name, kind in BY_NAME.items()}
    assert bits["q2_k"] == 2.625
    assert bits["q3_k"] == 3.4375
    assert (bits["q4_k"], bits["q5_k"], bits["q6_k"]) == (4.5, 5.5, 6.5625)
    assert (bits["iq4_nl"], bits["mxfp4"]) == (4.5, 4.25)
