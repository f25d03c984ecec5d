"""Mutate files as a faulty disk or an attacker could; deterministic for a given seed."""

import random
import re
import struct

_EXTREMES = (
    0,
    1,
    2,
    3,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
_TEXT_EXTREMES = (
    b"0", b"-1", b"1", b"255", b"65536", b"4294967295", b"9223372036854775807", b"1e400", b"0.5", b"null", b"[]",
    b"{}", b'""', b"true", b"NaN", b"9" * 400,
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+")
_WORD = re.compile(rb'"[^"]{0,60}"')
_NEAR = 600  # bytes at either end, where headers and directories are; mutated more often


def _place(data: bytearray, rng: random.Random) -> int:
    size = len(data)
    if size > 2 * _NEAR and rng.random() < 0.6:
        return rng.randrange(_NEAR) if rng.random() < 0.6 else size - 1 - rng.randrange(_NEAR)
    return rng.randrange(size) if size else 0


def _span(data: bytearray, rng: random.Random) -> tuple[int, int]:
    begin = _place(data, rng)
    return begin, min(len(data), begin + rng.choice((1, 2, 4, 7, 16, 64, 500, 5000)))


def flip(data: bytearray, rng: random.Random, _: bytes) -> None:
    for _i in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if data:
            data[_place(data, rng)] ^= 1 << rng.randrange(8)


def overwrite(data: bytearray, rng: random.Random, _: bytes) -> None:
    begin, end = _span(data, rng)
    fill = rng.choice((0, 255, None))
    data[begin:end] = rng.randbytes(end - begin) if fill is None else bytes([fill]) * (end - begin)


def cut(data: bytearray, rng: random.Random, _: bytes) -> None:
    del data[_place(data, rng) :]


def cut_out(data: bytearray, rng: random.Random, _: bytes) -> None:
    begin, end = _span(data, rng)
    del data[begin:end]


def repeat(data: bytearray, rng: random.Random, _: bytes) -> None:
    begin, end = _span(data, rng)
    data[begin:begin] = data[begin:end] * rng.choice((1, 2, 9))


def insert(data: bytearray, rng: random.Random, _: bytes) -> None:
    begin = _place(data, rng)
    data[begin:begin] = rng.randbytes(rng.choice((1, 4, 8, 64)))


def splice(data: bytearray, rng: random.Random, other: bytes) -> None:
    """Replace the rest by that of another file."""
    begin = _place(data, rng)
    at = begin if rng.random() < 0.5 else rng.randrange(len(other) + 1)
    if rng.random() < 0.5:
        data[begin:] = other[at:]
    else:
        data[begin : begin + 300] = other[at : at + 300]


def extreme_length(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Replace a number of 1, 2, 4 or 8 bytes by an extreme value."""
    width, form = rng.choice(((1, "<B"), (2, "<H"), (4, "<I"), (4, "<I"), (4, ">I"), (8, "<Q"), (8, "<Q")))
    value = rng.choice((*_EXTREMES, len(data), len(data) - 1, len(data) + 1, len(data) // 4)) % 256**width
    begin = _place(data, rng)
    if rng.random() < 0.7:
        begin -= begin % width
    if begin + width <= len(data):
        struct.pack_into(form, data, begin, value)


def extreme_text(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Replace a number in digits by an extreme value or another JSON value, of any length."""
    found = list(_NUMBER.finditer(bytes(data[:100_000])))
    if found:
        place = rng.choice(found)
        data[place.start() : place.end()] = rng.choice(_TEXT_EXTREMES)


def swap_words(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Replace a quoted string by another one."""
    found = list(_WORD.finditer(bytes(data[:100_000])))
    if found:
        place, word = rng.choice(found), rng.choice(found)[0]
        data[place.start() : place.end()] = word


KINDS = (flip, overwrite, cut, cut_out, repeat, insert, splice, extreme_length, extreme_length, extreme_text)


def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Apply one to three mutations; `other` is a file of the same format, for splices."""
    changed = bytearray(data)
    is_json = data[:1] == b"{"
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = (
            rng.choice((extreme_text, extreme_text, swap_words))
            if is_json and rng.random() < 0.7
            else rng.choice(KINDS)
        )
        kind(changed, rng, other)
    return bytes(changed)
