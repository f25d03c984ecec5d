"""The mixed int4 type: which matrices are quantized to 4 bits, and how much the error of each input matters.

Some matrices lose far more than others by 4 bits: on real speech, the encoder's first layer and its convolutions. They
are quantized to 8 bits instead, as many of them as `MAX_BITS` allows. All are the encoder's, whose speed is bound by
arithmetic: 8 bits cost it no time, while the decoder's speed is bound by the bytes that a token reads.

The output projection is the decoder's most sensitive matrix, because a few of its inputs are up to 25 times as large as
the others. The columns of these, the *outliers*, are a matrix of 8 bits of their own, whose product is added: as in
LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339), but chosen by the layer norm's weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .checkpoint import EMBEDDING, OUTLIERS, OUTPUT, ModelDimensions, expected_shapes
from .mapped import MappedOnAccess
from .simd import FloatArray, PackedMatrix, QuantizedWeight, Weight
from .simd.weights import QUANTIZED

MAX_BITS = 5.3
"""Bits per weight, on average over all matrices and scales, that the int4 type of a model may take."""

INT4_BITS, INT8_BITS = 4.5, 8  # with int4's float16 scale for each 32 inputs; int8's scales are negligible
MAX_OUTLIERS = 32


def _by_sensitivity(dims: ModelDimensions) -> Iterator[tuple[str, ...]]:
    """Yield the matrices to quantize to 8 bits, the most sensitive first. Those in a tuple share an input."""
    yield ("encoder.conv1",)
    yield ("encoder.conv2",)
    layers = [f"encoder.blocks.{i}" for i in range(dims.n_audio_layer)]
    yield from ((f"{layers[0]}.mlp.0",), (f"{layers[0]}.mlp.2",))
    for layer in layers:
        yield tuple(f"{layer}.attn.{part}" for part in ("query", "key", "value"))
        yield (f"{layer}.attn.out",)
    for layer in layers[1:]:
        yield from ((f"{layer}.mlp.0",), (f"{layer}.mlp.2",))


def int8_matrices(dims: ModelDimensions, untied: bool = False) -> frozenset[str]:
    """Return the names of the matrices that the int4 type of a model quantizes to 8 bits.

    Args:
        dims: The model's dimensions.
        untied: Whether its output projection is a matrix of its own.

    Returns:
        openai-whisper's names, with `.weight`. `is_int8` looks one up that may be of fused projections.
    """
    sizes = {
        name: int(np.prod(shape))
        for name, shape in expected_shapes(dims, untied).items()
        if name.endswith(".weight") and len(shape) > 1
    }
    spare = (MAX_BITS - INT4_BITS) * sum(sizes.values()) - INT8_BITS * dims.n_vocab * outlier_count(dims.n_text_state)
    chosen = [OUTLIERS]
    for matrices in _by_sensitivity(dims):
        names = [f"{name}.weight" for name in matrices]
        cost = (INT8_BITS - INT4_BITS) * sum(sizes[name] for name in names)
        if cost <= spare:
            spare -= cost
            chosen += names
    return frozenset(chosen)


def outlier_count(n_state: int) -> int:
    """Return the number of inputs of the output projection that are outliers, for a decoder of this width."""
    return min(MAX_OUTLIERS, max(1, n_state // 4))


def outlier_inputs(tensors: Mapping[str, Weight]) -> npt.NDArray[np.intp]:
    """Return the inputs of the output projection that are outliers: those of the most power, see `input_power`.

    Returns:
        Ascending indices, `outlier_count(n_state)` of them.
    """
    power = _norm_power(tensors, "decoder.ln")
    return np.sort(np.argsort(-power, kind="stable")[: outlier_count(len(power))])


def output_name(tensors: Mapping[str, Weight]) -> str:
    """Return the name of the output projection: `OUTPUT`, or the token embedding if it is tied."""
    return OUTPUT if OUTPUT in tensors else EMBEDDING


class SplitOutliers(MappedOnAccess[Mapping[str, Weight], Weight]):
    """A model's tensors, to be quantized to int4, with `OUTLIERS` unless the output projection is quantized already."""

    @cached_property
    def _columns(self) -> Weight | None:
        """`OUTLIERS` in floats if they are to be added. The output projection may be slow to read: it is read once."""
        output = None if OUTLIERS in self.source else self.source[output_name(self.source)]
        if output is None or output.dtype in QUANTIZED:
            return None
        return np.ascontiguousarray(as_floats(output)[:, outlier_inputs(self.source)])

    def __contains__(self, name: object) -> bool:
        return name in self.source or (name == OUTLIERS and self._columns is not None)

    def __getitem__(self, name: str) -> Weight:
        if name == OUTLIERS and self._columns is not None:
            return self._columns
        return self.source[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.source
        if self._columns is not None:
            yield OUTLIERS

    def __len__(self) -> int:
        return len(self.source) + (self._columns is not None)


def merged_output(tensors: Mapping[str, Weight]) -> npt.NDArray[Any]:
    """Return the output projection in floats, with the columns of `OUTLIERS` if the model has them."""
    output = as_floats(tensors[output_name(tensors)])
    if OUTLIERS in tensors:
        output = output.copy()
        output[:, outlier_inputs(tensors)] = as_floats(tensors[OUTLIERS])
    return output


def as_floats(weight: Weight) -> npt.NDArray[Any]:
    """Return a weight unpacked and dequantized."""
    plain = weight.unpack() if isinstance(weight, PackedMatrix) else weight
    return plain.dequantize() if isinstance(plain, QuantizedWeight) else plain


def _first(name: str) -> str:
    """Return the name of the first projection for that of fused ones, and any other name as it is."""
    return name.replace(".query_key_value.", ".query.").replace(".key_value.", ".key.")


def is_int8(name: str, matrices: frozenset[str]) -> bool:
    """Return whether a matrix, or the fused projections that have this name, is in `int8_matrices`."""
    return _first(name) in matrices


def _norm_before(stem: str) -> str | None:
    """Return the layer norm whose output a matrix multiplies, or None."""
    if f"{stem}.weight" in (EMBEDDING, OUTPUT):
        return "decoder.ln"
    block, _, leaf = stem.rpartition(".")
    if stem.endswith(".mlp.0"):
        return f"{block}_ln"
    if block.endswith(".cross_attn") and leaf in ("key", "value"):
        return "encoder.ln_post"
    return f"{block}_ln" if block.endswith("attn") and leaf in ("query", "key", "value") else None


def input_power(tensors: Mapping[str, Weight], name: str) -> FloatArray | None:
    """Estimate the mean square of each input of a matrix, by which the errors of its weights count.

    A layer norm's normalized values have a mean square of about 1 each, so that its outputs have about
    `weight**2 + bias**2`. In Whisper these differ by factors of thousands: a few inputs of the output projection are
    25 times as large as most.

    Args:
        tensors: The model's tensors.
        name: Name of the matrix, or of fused projections, with `.weight`.

    Returns:
        `(n_in,)`; None if the input is not a layer norm's output, and nothing is known.
    """
    norm = _norm_before(_first(name).removesuffix(".weight"))
    if norm is None or (name in (EMBEDDING, OUTPUT) and name != output_name(tensors)):
        return None
    power = _norm_power(tensors, norm)
    if name == output_name(tensors) and OUTLIERS in tensors:
        power[outlier_inputs(tensors)] = 0  # these are multiplied by another matrix
    return power


Calibration = Mapping[str, Sequence[FloatArray]]
"""Second moments of the inputs of matrices by the matrices' names (of projections of one input, the first's), in the
blocks that `simd.feedback.quantize_int4_with_feedback` takes."""


def input_moments(tensors: Mapping[str, Weight], name: str, calibration: Calibration) -> Sequence[FloatArray] | None:
    """Return the second moments of a matrix's inputs.

    Args:
        tensors: The model's tensors.
        name: As for `input_power`.
        calibration: The second moments of all matrices.

    Returns:
        Those of this matrix, with zeros for outliers, which another matrix multiplies; None if it has none.
    """
    moments = calibration.get(_first(name))
    if moments is None or name != output_name(tensors) or OUTLIERS not in tensors:
        return moments
    (block,) = moments
    block, outliers = block.copy(), outlier_inputs(tensors)
    block[outliers] = block[:, outliers] = 0
    return [block]


def _norm_power(tensors: Mapping[str, Weight], norm: str) -> FloatArray:
    weight, bias = (np.asarray(tensors[f"{norm}.{leaf}"], np.float32) for leaf in ("weight", "bias"))
    power: FloatArray = weight**2 + bias**2
    return power
