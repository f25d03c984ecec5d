"""Damage to the bytes of a file, drawn by hypothesis."""

from hypothesis.strategies import DataObject, integers


def flipped(data: DataObject, content: bytes) -> bytearray:
    """The bytes with one to five bits flipped, which hypothesis draws."""
    changed = bytearray(content)
    for _ in range(data.draw(integers(1, 5))):
        at = data.draw(integers(0, len(changed) - 1))
        changed[at] ^= 1 << data.draw(integers(0, 7))
    return changed
