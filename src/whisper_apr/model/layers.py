"""The layers that the encoder and the decoder are built from, on `whisper_apr.simd`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .. import simd
from ..errors import FormatError
from ..mixed import input_power, is_int8

FloatArray = simd.FloatArray
# the spectrogram or the features of one window and of a batch, for type checkers, which tell them apart by their shape
Window = np.ndarray[tuple[int, int], np.dtype[np.float32]]
WindowBatch = np.ndarray[tuple[int, int, int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Tensors:
    """A checkpoint's tensors, and the type that its float matrices are converted to.

    `int8_matrices` are those that int4 leaves in 8 bits.

    A matrix may be an array, quantized, or packed for the kernels. Packed projections of one input may already be
    stacked, under their joined names: `decoder.blocks.0.attn.query_key_value.weight`, and `.bias` likewise.
    """

    by_name: Mapping[str, simd.Weight]
    compute_type: str = "float32"
    int8_matrices: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def array(self, name: str) -> FloatArray:
        """Return a tensor that is used as float32: a bias, the weight of a norm, a positional embedding."""
        tensor = self.by_name[name]
        if not isinstance(tensor, np.ndarray):
            raise FormatError(f"{name} must be an array of floats, not {tensor.dtype}")
        return np.ascontiguousarray(tensor, np.float32)

    def matrix(self, *names: str) -> simd.PackedMatrix:
        """Return weights of one input, stacked and packed; a convolution `(n_out, n_in, 3)` as `(n_out, 3 * n_in)`."""
        weights: list[simd.Weight] = []
        for name in names:
            weight = self.by_name[f"{name}.weight"]
            if isinstance(weight, np.ndarray) and weight.ndim == 3:
                weight = weight.transpose(0, 2, 1).reshape(len(weight), -1)
            weights.append(weight)
        first = f"{names[0]}.weight"
        try:
            if self.compute_type == "int4":
                dtype = "int8" if is_int8(first, self.int8_matrices) else "int4"
                return simd.prepare(weights, dtype, input_power(self.by_name, first))
            return simd.prepare(weights, self.compute_type)
        except ValueError as error:
            raise FormatError(f"{' and '.join(names)}: {error}") from error


class Linear:
    """A linear layer: `x @ weight.T + bias`. With a quantized weight, `x` is quantized, too.

    With int8 it has `activation_bits`. With int4 it has 8 bits, since more of them do not change how often the next
    token is float32's: the error of the weights is much larger.

    `observe`, if it is set, is called with every `x`; a product that a graph replays is not observed.
    """

    def __init__(
        self, weight: simd.PackedMatrix, bias: FloatArray | None = None, activation_bits: simd.ActivationBits = 8
    ) -> None:
        self.weight = weight
        self.bias = bias
        self.activation_bits: simd.ActivationBits = activation_bits if weight.dtype == "int8" else 8
        self.observe: Callable[[FloatArray], object] | None = None

    @classmethod
    def read(cls, tensors: Tensors, name: str, activation_bits: simd.ActivationBits = 8) -> "Linear":
        """Return the layer whose tensors are `{name}.weight` and `{name}.bias`."""
        return cls(tensors.matrix(name), tensors.array(f"{name}.bias"), activation_bits)

    def __call__(
        self, x: FloatArray, *, gelu: bool = False, residual: FloatArray | None = None, out: FloatArray | None = None
    ) -> FloatArray:
        """Return the outputs `(..., n_out)` of `(..., n_in)`, with GELU and `residual` fused in if given."""
        if self.observe is not None:
            self.observe(x)
        return simd.linear(
            x,
            self.weight,
            self.bias,
            gelu=gelu,
            residual=residual,
            activation_bits=self.activation_bits,
            out=out,
        )


class LayerNorm:
    """Layer normalization over the last axis."""

    def __init__(self, tensors: Tensors, name: str) -> None:
        self.weight = tensors.array(f"{name}.weight")
        self.bias = tensors.array(f"{name}.bias")

    def __call__(self, x: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """Return the normalized states, of the same shape."""
        return simd.layer_norm(x, self.weight, self.bias, out=out)


class Mlp:
    """The MLP of a block with its residual: `x + W2 gelu(W1 norm(x))`."""

    def __init__(self, tensors: Tensors, block: str, activation_bits: simd.ActivationBits = 8) -> None:
        self.norm = LayerNorm(tensors, f"{block}.mlp_ln")
        self.up = Linear.read(tensors, f"{block}.mlp.0", activation_bits)
        self.down = Linear.read(tensors, f"{block}.mlp.2", activation_bits)

    def __call__(
        self,
        x: FloatArray,
        *,
        norm: FloatArray | None = None,
        hidden: FloatArray | None = None,
        out: FloatArray | None = None,
    ) -> FloatArray:
        """Apply the MLP to `(..., n_state)`; write the result to `out`, intermediates to `norm` and `hidden`."""
        return self.down(self.up(self.norm(x, norm), gelu=True, out=hidden), residual=x, out=out)


def stacked(
    tensors: Tensors, attention: str, parts: tuple[str, ...], activation_bits: simd.ActivationBits = 8
) -> Linear:
    """Return projections of one input as one layer with concatenated outputs. The key has no bias: it is set to 0."""
    joined = f"{attention}.{'_'.join(parts)}"
    if f"{joined}.weight" in tensors:
        return Linear.read(tensors, joined, activation_bits)
    weight = tensors.matrix(*(f"{attention}.{part}" for part in parts))
    width = weight.shape[0] // len(parts)
    bias = [
        np.zeros(width, np.float32) if part == "key" else tensors.array(f"{attention}.{part}.bias") for part in parts
    ]
    return Linear(weight, np.concatenate(bias), activation_bits)
