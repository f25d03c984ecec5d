"""A decoder of the LZ4 block format in Python: used without the extension, and the oracle for lz4.c in tests."""


def lz4_decode(source: memoryview, target: memoryview) -> bool:
    """Decode a block; return whether it is valid and fills `target` exactly. See `simd.lz4_decode`."""
    data, size = bytes(source), len(target)
    out = bytearray()
    at = 0

    def extended_length(length: int) -> int:
        """Add the bytes that follow a length of 15 in a token, up to the first that is not 255."""
        nonlocal at
        byte = 255
        while byte == 255 and length <= size:
            byte = data[at]
            at += 1
            length += byte
        return length

    try:
        while len(out) <= size:
            token = data[at]
            at += 1
            literals = extended_length(15) if token >> 4 == 15 else token >> 4
            if literals > len(data) - at:
                return False
            out += data[at : at + literals]
            at += literals
            if at == len(data):
                if len(out) != size or token & 15:
                    return False
                target[:] = out
                return True
            distance = data[at] | data[at + 1] << 8
            at += 2
            length = 4 + (extended_length(15) if token & 15 == 15 else token & 15)
            if not 0 < distance <= len(out) or length > size - len(out):
                return False
            pattern = out[len(out) - distance :][:length]
            out += (pattern * -(-length // len(pattern)))[:length]
    except IndexError:  # the block ends within a token, a length or a distance
        pass
    return False
