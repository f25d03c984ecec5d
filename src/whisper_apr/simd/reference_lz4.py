"""LZ4's block format in Python: what remains where no extension is built, and the tests' oracle for lz4.c."""


def lz4_decode(source: memoryview, target: memoryview) -> bool:
    """As `_kernels.lz4_decode`: True where `source` is one whole block that fills `target` exactly."""
    data, size = bytes(source), len(target)
    out = bytearray()
    at = 0

    def long_length(length: int) -> int:
        nonlocal at
        more = 255
        while more == 255 and length <= size:
            more = data[at]
            at += 1
            length += more
        return length

    try:
        while len(out) <= size:
            token = data[at]
            at += 1
            literals = long_length(15) if token >> 4 == 15 else token >> 4
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
            length = 4 + (long_length(15) if token & 15 == 15 else token & 15)
            if not 0 < distance <= len(out) or length > size - len(out):
                return False
            pattern = out[len(out) - distance :][:length]
            out += (pattern * -(-length // len(pattern)))[:length]
    except IndexError:  # a token, a length or a distance beyond the end
        pass
    return False
