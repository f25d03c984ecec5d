"""What this machine can do at most, measured, and the floors of a window's stages that follow: no program with this arithmetic is faster.

The encoder is bound by arithmetic, so its floor is its operations over the peak; a token reads every weight once, so its floor is bytes over
the bandwidth at which as many bytes are read again and again (small models stay in the caches).
"""

import numpy as np

from .. import simd
from ..checkpoint import ModelDimensions
from .measure import fastest_time

AT_LEAST = 8_000_000  # bytes that one call reads: what the call itself costs does not show
# Of a weight as it lies in memory: models in float32 keep the float16 of the published checkpoints; int4 has a float16 scale to 32 weights.
BYTES = {"float32": 2.0, "float16": 2.0, "int8": 1.0, "int4": 0.5 + 2 / 32}


def peak(kind: simd.Operand, seconds: float = 0.2) -> float:
    """Operations a second, over all threads, that never leave the registers: see `simd.run_peak`."""
    n_task = 64 * simd.get_num_threads()
    return simd.run_peak(n_task, kind) / fastest_time(lambda: simd.run_peak(n_task, kind), seconds)


def bandwidth(n_byte: float, seconds: float = 0.2) -> float:
    """Bytes a second, reading so many of them again and again over all threads."""
    x = np.ones(max(1, int(n_byte) // 4), np.float32)  # of zeros, all pages would be one, in the cache
    times = 1 + AT_LEAST // x.nbytes
    return times * x.nbytes / fastest_time(lambda: simd.read_all(x, times), seconds)


def encoder_operations(dims: ModelDimensions) -> tuple[float, float]:
    """Floating-point operations of one window: (matrix products and convolutions, attention); a multiplication and an addition are two."""
    n, width = dims.n_audio_ctx, dims.n_audio_state
    convolutions = 2.0 * 2 * n * 3 * dims.n_mels * width + 2.0 * n * 3 * width * width
    return convolutions + dims.n_audio_layer * 24.0 * n * width**2, dims.n_audio_layer * 4.0 * n**2 * width


def token_bytes(dims: ModelDimensions, compute_type: str, cache_itemsize: int) -> float:
    """What one token reads: the decoder's weights (the audio's keys and values are made before), the output table, the audio's keys and values."""
    width = dims.n_text_state
    weights = dims.n_text_layer * 14.0 * width**2 + dims.n_vocab * width
    return weights * BYTES[compute_type] + 2.0 * dims.n_text_layer * dims.n_audio_ctx * width * cache_itemsize


def floors(dims: ModelDimensions, compute_type: str, cache_itemsize: int) -> dict[str, float]:
    """Milliseconds of `encoder` and `token`, for the threads and the backend in use.

    Products of quantized weights count at the peak of bytes, attention always at that of float32. Raises BackendError on `numpy`.
    """
    products, attention = encoder_operations(dims)
    plain = peak("float32")
    fast = peak("int8") if compute_type in ("int8", "int4") else plain
    read = token_bytes(dims, compute_type, cache_itemsize)
    return {"encoder": 1000 * (products / fast + attention / plain), "token": 1000 * read / bandwidth(read)}
