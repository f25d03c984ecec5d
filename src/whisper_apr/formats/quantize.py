"""A checkpoint in another type of number, made when it is opened. On disk, `apr_write.write_apr` does it."""

from dataclasses import replace

import numpy as np

from ..errors import FormatError
from ..packed import PackedMatrix, QuantizedWeight, Weight, pack
from .checkpoint import Checkpoint


def as_float16(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint whose float32 matrices are float16: half the memory, the nearest numbers. What is quantized stays so.

    Raises FormatError for a number beyond float16's range.
    """

    def narrow(name: str, weight: Weight) -> Weight:
        if weight.dtype != "float32" or len(weight.shape) == 1 or name.endswith("positional_embedding"):
            return weight
        plain = weight.unpack() if isinstance(weight, PackedMatrix) else weight
        assert not isinstance(plain, QuantizedWeight)
        with np.errstate(over="ignore"):
            half = plain.astype(np.float16)
        if not np.array_equal(np.isfinite(half), np.isfinite(plain)):
            raise FormatError(f"{name}: holds numbers beyond float16's 65504; use compute_type float32")
        return pack(half) if isinstance(weight, PackedMatrix) else half

    return replace(checkpoint, tensors={name: narrow(name, weight) for name, weight in checkpoint.tensors.items()})
