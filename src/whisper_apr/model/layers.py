"""The parts that encoder and decoder are made of, on `whisper_apr.simd`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import simd

FloatArray = simd.FloatArray
Tensors = Mapping[str, npt.NDArray[Any]]


def float32(tensors: Tensors, name: str) -> FloatArray:
    """A tensor that takes part in float32 as it is: a bias, a norm's weight, a table of positions."""
    return np.ascontiguousarray(tensors[name], np.float32)


class Linear:
    """`x @ weight.T + bias`. The weight keeps the checkpoint's float16 or float32."""

    def __init__(self, weight: npt.NDArray[Any], bias: FloatArray | None = None) -> None:
        self.weight = simd.pack(weight)
        self.bias = bias

    @classmethod
    def read(cls, tensors: Tensors, name: str) -> "Linear":
        return cls(tensors[f"{name}.weight"], float32(tensors, f"{name}.bias"))

    def __call__(self, x: FloatArray, *, gelu: bool = False, residual: FloatArray | None = None) -> FloatArray:
        """`(..., n_in)` -> `(..., n_out)`; GELU and the sum with `residual` are done on the way."""
        return simd.linear(x, self.weight, self.bias, gelu=gelu, residual=residual)


class LayerNorm:
    def __init__(self, tensors: Tensors, name: str) -> None:
        self.weight = float32(tensors, f"{name}.weight")
        self.bias = float32(tensors, f"{name}.bias")

    def __call__(self, x: FloatArray) -> FloatArray:
        return simd.layer_norm(x, self.weight, self.bias)


class Mlp:
    """`x + W2 gelu(W1 norm(x))`."""

    def __init__(self, tensors: Tensors, block: str) -> None:
        self.norm = LayerNorm(tensors, f"{block}.mlp_ln")
        self.up = Linear.read(tensors, f"{block}.mlp.0")
        self.down = Linear.read(tensors, f"{block}.mlp.2")

    def __call__(self, x: FloatArray) -> FloatArray:
        return self.down(self.up(self.norm(x), gelu=True), residual=x)


def stacked(tensors: Tensors, attention: str, parts: tuple[str, ...]) -> Linear:
    """Projections of one input as one matrix, their outputs side by side. The key's has no bias: zeros."""
    weight = np.concatenate([tensors[f"{attention}.{part}.weight"] for part in parts])
    width = len(weight) // len(parts)
    bias = [
        np.zeros(width, np.float32) if part == "key" else float32(tensors, f"{attention}.{part}.bias") for part in parts
    ]
    return Linear(weight, np.concatenate(bias))
