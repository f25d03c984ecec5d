"""Models of Whisper's sizes with random weights, for benchmarks without the real weights."""

import numpy as np

from ..checkpoint import Checkpoint, ModelDimensions, expected_shapes


def _dims(width: int, heads: int, layers: int) -> ModelDimensions:
    return ModelDimensions(80, 1500, width, heads, layers, 51865, 448, width, heads, layers)


# Sizes published with openai-whisper that the project is tuned for.
DIMENSIONS = {"tiny": _dims(384, 6, 4), "base": _dims(512, 8, 6), "small": _dims(768, 12, 12)}


def random_checkpoint(dims: ModelDimensions, seed: int = 0, dtype: str = "float16") -> Checkpoint:
    """Return a checkpoint of random weights that keep activations at a realistic magnitude.

    Matrices are normal with standard deviation `1 / sqrt(n_in)`; layer norms have weights near 1 and small biases.
    """
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected_shapes(dims).items():
        if name.endswith("positional_embedding"):
            scale, offset = 0.02, 0.0
        elif len(shape) == 1:
            scale, offset = 0.05, float(name.endswith(".weight"))
        else:
            scale, offset = float(np.prod(shape[1:])) ** -0.5, 0.0
        tensors[name] = (random.standard_normal(shape, dtype=np.float32) * scale + offset).astype(dtype)
    return Checkpoint(dims, tensors)
