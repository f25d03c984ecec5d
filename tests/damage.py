"""Damage the bytes of a file, with hypothesis."""

from hypothesis.strategies import DataObject, integers


def flip_bits(data: DataObject, content: bytes) -> bytearray:
    """Return the bytes with one to five flipped bits, drawn by hypothesis."""
    changed = bytearray(content)
    for _ in range(data.draw(integers(1, 5))):
        at = data.draw(integers(0, len(changed) - 1))
        changed[at] ^= 1 << data.draw(integers(0, 7))
    return changed
