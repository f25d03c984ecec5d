"""Shapes and values for tests of the kernels; benchmarks use the same shapes."""

from collections.abc import Iterator

import numpy as np

FloatArray = np.ndarray

# Lengths around multiples of 4, 8 and 16 lanes, of panels of 16 and of blocks of 128, and odd primes.
LENGTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 61, 64, 127, 128, 129, 257, 1003)

# (m, k, n) of x (m, k) times a weight (n, k): empty, 1, around the edges of blocks, odd primes, several blocks of k.
PRODUCTS = (
    (0, 5, 7),
    (3, 0, 5),
    (3, 5, 0),
    (1, 1, 1),
    (1, 7, 17),
    (2, 16, 16),
    (3, 31, 15),
    (4, 64, 33),
    (5, 3, 64),
    (6, 17, 31),
    (7, 1, 1),
    (8, 129, 65),
    (12, 40, 48),
    (13, 5, 101),
    (16, 64, 64),
    (17, 61, 97),
    (24, 8, 32),
    (25, 513, 47),
    (61, 1031, 37),
    (101, 2053, 29),
    (200, 96, 130),
)

# Products of one encoder layer of `tiny`, `base` and `small`, with 1500 positions.
ENCODER_PRODUCTS = tuple(
    shape
    for width in (384, 512, 768)
    for shape in ((1500, width, width), (1500, width, 4 * width), (1500, 4 * width, width))
)

# Products of one token: those of a decoder layer, and the logits.
TOKEN_PRODUCTS = tuple(
    shape for width in (384, 512, 768) for shape in ((1, width, width), (1, width, 4 * width), (1, width, 51865))
)

# (batch, n_head, n_query, n_key, d_head)
ATTENTIONS = (
    (0, 1, 1, 1, 16),
    (1, 1, 0, 3, 16),
    (1, 1, 1, 1, 1),
    (1, 2, 1, 15, 64),
    (2, 3, 1, 33, 64),
    (2, 3, 4, 21, 8),
    (1, 1, 5, 16, 24),
    (1, 2, 8, 17, 64),
    (1, 1, 9, 9, 5),
    (3, 2, 9, 130, 64),
    (2, 3, 37, 200, 64),
    (1, 5, 65, 129, 80),
    (1, 1, 130, 257, 64),
)

ENCODER_ATTENTIONS = tuple((1, n_head, 1500, 1500, 64) for n_head in (6, 8, 12))


def normal(seed: int, *shape: int) -> FloatArray:
    """Return standard normal float32 numbers, the same for the same arguments."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


def adversarial(seed: int, *shape: int) -> Iterator[tuple[str, FloatArray]]:
    """Yield named arrays of values that expose errors: zeros, extremes, subnormals, cancellation, one large outlier."""
    x = normal(seed, *shape)
    yield "normal", x
    yield "zeros", np.zeros_like(x)
    yield "huge", x * np.float32(1e15)
    yield "tiny", x * np.float32(1e-15)
    yield "subnormal", x * np.float32(1e-40)
    yield "constant", np.full_like(x, 3.25)
    yield "offset", x + np.float32(1e4)
    spike = x.copy()
    spike.reshape(-1)[: min(1, spike.size)] = 1e6
    yield "spike", spike
