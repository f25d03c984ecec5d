"""Measure this machine's limits, and derive the shortest possible times of a window's stages (a roofline model).

The encoder is compute-bound: its floor is its number of operations divided by the peak rate. A token reads every weight
once and is memory-bound: its floor is the number of bytes divided by the bandwidth of reading as many bytes repeatedly,
so that a small model may stay in the caches.
"""

import numpy as np

from .. import simd
from ..checkpoint import ModelDimensions
from .measure import fastest_time

MIN_READ = 8_000_000  # bytes that one call reads, so that the call's overhead is negligible
# Bytes of a weight in memory. The compute type "float32" keeps the float16 weights of published checkpoints; int4 has
# one float16 scale for 32 weights.
BYTES = {"float32": 2.0, "float16": 2.0, "int8": 1.0, "int4": 0.5 + 2 / 32}

# What backends multiply in the encoder's attention of reduced precision; the others, float32. That of avx2 multiplies
# 16-bit integers, as its int8 products do. avx2vnni has the same attention but other products, so that it is left out.
_REDUCED: dict[str, simd.Operand] = {
    **dict.fromkeys(("avx512bf16", "neonbf16"), "bfloat16"),
    "avx2": "int8",
}


def reduced_operand() -> simd.Operand:
    """Return the operands with which the backend in use computes `simd.attention(precision="reduced")`."""
    return _REDUCED.get(simd.backend(), "float32")


def peak(kind: simd.Operand, seconds: float = 0.2) -> float:
    """Return the peak rate of all threads in operations a second (see `simd.run_peak`)."""
    n_task = 64 * simd.get_num_threads()
    return simd.run_peak(n_task, kind) / fastest_time(lambda: simd.run_peak(n_task, kind), seconds)


def bandwidth(n_byte: float, seconds: float = 0.2) -> float:
    """Return the bandwidth of all threads in bytes a second, from reading `n_byte` bytes repeatedly."""
    x = np.ones(
        max(1, int(n_byte) // 4), np.float32
    )  # the system maps all pages of zeros to one, which stays in the cache
    times = 1 + MIN_READ // x.nbytes
    return times * x.nbytes / fastest_time(lambda: simd.read_all(x, times), seconds)


def encoder_operations(dims: ModelDimensions) -> tuple[float, float]:
    """Return the operations of the encoder for one window: those of matrix products and convolutions, and of attention.

    A multiplication and an addition count as two.
    """
    n, width = dims.n_audio_ctx, dims.n_audio_state
    convolutions = 2.0 * 2 * n * 3 * dims.n_mels * width + 2.0 * n * 3 * width * width
    return convolutions + dims.n_audio_layer * 24.0 * n * width**2, dims.n_audio_layer * 4.0 * n**2 * width


def token_bytes(dims: ModelDimensions, compute_type: str, cache_itemsize: int) -> float:
    """Return the bytes that one token reads: the decoder's weights, the embedding table, the audio's keys and values.

    The weights that compute the audio's keys and values are not read again for each token.
    """
    width = dims.n_text_state
    weights = dims.n_text_layer * 14.0 * width**2 + dims.n_vocab * width
    return weights * BYTES[compute_type] + 2.0 * dims.n_text_layer * dims.n_audio_ctx * width * cache_itemsize


def floors(dims: ModelDimensions, compute_type: str, cache_itemsize: int) -> dict[str, float]:
    """Return the floors of `encoder` and `token` in milliseconds, for the current number of threads and backend.

    With quantized weights, products count at the peak rate of int8, and attention at that of `reduced_operand`.

    Raises:
        BackendError: The backend is `numpy`.
    """
    products, attention = encoder_operations(dims)
    plain = peak("float32")
    quantized = compute_type in ("int8", "int4")
    fast, attended = (peak("int8"), peak(reduced_operand())) if quantized else (plain, plain)
    read = token_bytes(dims, compute_type, cache_itemsize)
    return {"encoder": 1000 * (products / fast + attention / attended), "token": 1000 * read / bandwidth(read)}
