"""Small models and `.apr` files for tests, and a comparison of what was read from one."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from models import ODD, random_checkpoint
from whisper_apr.checkpoint import Checkpoint
from whisper_apr.formats.apr.reader import open_header, parse_apr, write_apr
from whisper_apr.simd import PackedMatrix

ENCODER, DECODER = "encoder.conv1.weight", "decoder.ln.bias"  # the first and the last tensor


def write_model(path: Path, *, compress: bool = False, seed: int = 0) -> bytes:
    write_apr(random_checkpoint(ODD, seed), path, "float32", compress)
    return path.read_bytes()


def parse_header(data: bytes):
    return open_header(np.frombuffer(data, np.uint8), "model")


def equal(one: Checkpoint, data: bytes) -> bool:
    """Assert that a checkpoint has the tensors of a file; return True."""
    whole = parse_apr(np.frombuffer(data, np.uint8), "model")
    assert one.dims == whole.dims
    for name, tensor in one.tensors.items():
        other = whole.tensors[name]
        if isinstance(tensor, PackedMatrix):
            assert isinstance(other, PackedMatrix)
            pairs = zip(tensor.arrays().values(), other.arrays().values(), strict=True)
        else:
            pairs = zip([tensor], [other], strict=True)  # type: ignore[list-item]
        for mine, theirs in pairs:
            np.testing.assert_array_equal(mine, theirs, strict=True)
            assert mine.ctypes.data % 64 == 0
            assert not mine.flags.writeable
    return True


def described_checkpoint() -> Checkpoint:
    """Return a small checkpoint with all of the metadata that a file may have."""
    return replace(
        random_checkpoint(ODD),
        alignment_heads=((1, 2),),
        license="MIT",
        provenance={"source": "random", "converter": "tests"},
    )
