"""LZ4 blocks: both decoders read what the lz4 package writes, agree, and stay within their arrays on damaged input."""

import os

import lz4.block
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr import simd
from whisper_apr.simd import reference_lz4

BLOCK = 64 << 10
GUARD = 64  # bytes around the target that must not change


def pack(data: bytes) -> bytes:
    return lz4.block.compress(data, store_size=False)


def decode(source: bytes, size: int) -> bytes | None:
    """Decode with both decoders; return None if they refuse. Guards surround the compiled decoder's target."""
    room = bytearray(b"\xa5" * (size + 2 * GUARD))
    good = simd.lz4_decode(memoryview(source), memoryview(room)[GUARD : GUARD + size])
    assert room[:GUARD] == room[GUARD + size :] == b"\xa5" * GUARD
    other = bytearray(size)
    assert reference_lz4.lz4_decode(memoryview(source), memoryview(other)) == good
    if not good:
        return None
    assert other == room[GUARD : GUARD + size]
    return bytes(other)


def samples() -> list[bytes]:
    rng = np.random.default_rng(1)
    return [
        b"",
        b"a",
        bytes(13),
        bytes(BLOCK),
        b"ab" * 300 + b"c",
        bytes(range(17)) * 999,
        rng.bytes(BLOCK),
        rng.integers(0, 4, BLOCK, dtype=np.uint8).tobytes(),
        rng.standard_normal(BLOCK // 4).astype(np.float32).tobytes(),
        rng.bytes(70) + bytes(5000) + rng.bytes(300) * 20,
    ]


@pytest.mark.parametrize("data", samples(), ids=lambda data: f"{len(data)}")
def test_blocks_of_the_lz4_package(data: bytes) -> None:
    assert decode(pack(data), len(data)) == data


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(1, 60)), max_size=12))
def test_runs_of_any_length_and_distance(parts: list[tuple[bytes, int]]) -> None:
    data = b"".join(piece * times for piece, times in parts)
    assert decode(pack(data), len(data)) == data


@pytest.mark.parametrize(
    "source",
    [
        "",  # empty
        "10",  # the literal is missing
        "f0",  # the length continues beyond the end
        "f0ff",
        "40616263",  # three of four literals
        "1061",  # one byte instead of four
        "4061626364" + "00",  # valid, followed by an empty sequence
        "0100",  # an incomplete distance
        "1161" + "0000",  # a distance of 0
        "1161" + "0200",  # a distance beyond the start
        "1061" + "0100",  # ends with a match
        "1061" + "0100" + "1062",  # six bytes instead of four
        "4f61626364",  # the last sequence has no match
        "1f61" + "0100" + "ff" * 9,  # the length of a match continues beyond the end
    ],
)
def test_damage_is_refused(source: str) -> None:
    assert decode(bytes.fromhex(source), 4) is None


def test_a_wrong_size_is_refused() -> None:
    data = bytes(100) + os.urandom(20)
    for size in (0, 119, 121, BLOCK):
        assert decode(pack(data), size) is None


@given(st.data())
def test_damaged_blocks_stay_within_the_arrays(data: st.DataObject) -> None:
    plain = data.draw(st.sampled_from(samples()[1:6]))
    packed = bytearray(pack(plain))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    decode(bytes(packed[: data.draw(st.integers(0, len(packed)))]), len(plain))


@given(st.binary(max_size=200), st.integers(0, 400))
def test_arbitrary_bytes(source: bytes, size: int) -> None:
    decode(source, size)
