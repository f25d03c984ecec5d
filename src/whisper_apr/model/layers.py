"""The parts that encoder and decoder are made of, on `whisper_apr.simd`."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .. import simd
from ..errors import FormatError

FloatArray = simd.FloatArray


@dataclass(frozen=True)
class Tensors:
    """A checkpoint's tensors, and what its matrices are to become.

    A matrix may lie there as an array, quantized, or packed; packed, projections of one input may also lie there as the one matrix that the
    model makes of them, under their names joined: `decoder.blocks.0.attn.query_key_value.weight`, and `.bias` likewise.
    """

    by_name: Mapping[str, simd.Weight]
    compute_type: str = "float32"

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def array(self, name: str) -> FloatArray:
        """A tensor that takes part in float32 as it is: a bias, a norm's weight, a table of positions."""
        tensor = self.by_name[name]
        if not isinstance(tensor, np.ndarray):
            raise FormatError(f"{name} must be an array of floats, not {tensor.dtype}")
        return np.ascontiguousarray(tensor, np.float32)

    def matrix(self, *names: str) -> simd.PackedMatrix:
        """The weights of one input as one matrix. A convolution's `(n_out, n_in, 3)` becomes `(n_out, 3 * n_in)`."""
        weights: list[simd.Weight] = []
        for name in names:
            weight = self.by_name[f"{name}.weight"]
            if isinstance(weight, np.ndarray) and weight.ndim == 3:
                weight = weight.transpose(0, 2, 1).reshape(len(weight), -1)
            weights.append(weight)
        try:
            return simd.prepare(weights, self.compute_type)
        except ValueError as error:
            raise FormatError(f"{' and '.join(names)}: {error}") from error


class Linear:
    """`x @ weight.T + bias`."""

    def __init__(self, weight: simd.PackedMatrix, bias: FloatArray | None = None) -> None:
        self.weight = weight
        self.bias = bias

    @classmethod
    def read(cls, tensors: Tensors, name: str) -> "Linear":
        return cls(tensors.matrix(name), tensors.array(f"{name}.bias"))

    def __call__(
        self, x: FloatArray, *, gelu: bool = False, residual: FloatArray | None = None, out: FloatArray | None = None
    ) -> FloatArray:
        """`(..., n_in)` -> `(..., n_out)`; GELU and the sum with `residual` are done on the way."""
        return simd.linear(x, self.weight, self.bias, gelu=gelu, residual=residual, out=out)


class LayerNorm:
    def __init__(self, tensors: Tensors, name: str) -> None:
        self.weight = tensors.array(f"{name}.weight")
        self.bias = tensors.array(f"{name}.bias")

    def __call__(self, x: FloatArray, out: FloatArray | None = None) -> FloatArray:
        return simd.layer_norm(x, self.weight, self.bias, out=out)


class Mlp:
    """`x + W2 gelu(W1 norm(x))`."""

    def __init__(self, tensors: Tensors, block: str) -> None:
        self.norm = LayerNorm(tensors, f"{block}.mlp_ln")
        self.up = Linear.read(tensors, f"{block}.mlp.0")
        self.down = Linear.read(tensors, f"{block}.mlp.2")

    def __call__(
        self,
        x: FloatArray,
        *,
        norm: FloatArray | None = None,
        hidden: FloatArray | None = None,
        out: FloatArray | None = None,
    ) -> FloatArray:
        """`(..., n_state)` -> the same shape, in `out`; what lies between is written to `norm` and `hidden`, where they are given."""
        return self.down(self.up(self.norm(x, norm), gelu=True, out=hidden), residual=x, out=out)


def stacked(tensors: Tensors, attention: str, parts: tuple[str, ...]) -> Linear:
    """Projections of one input as one matrix, their outputs side by side. The key's has no bias: zeros."""
    joined = f"{attention}.{'_'.join(parts)}"
    if f"{joined}.weight" in tensors:
        return Linear.read(tensors, joined)
    weight = tensors.matrix(*(f"{attention}.{part}" for part in parts))
    width = weight.shape[0] // len(parts)
    bias = [
        np.zeros(width, np.float32) if part == "key" else tensors.array(f"{attention}.{part}.bias") for part in parts
    ]
    return Linear(weight, np.concatenate(bias))
