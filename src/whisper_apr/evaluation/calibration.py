"""Measure the inputs of a model's matrices on recordings, by which int4 weighs the errors of the weights."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from operator import attrgetter

import numpy as np

from ..audio import AudioLike, ReadingOptions
from ..checkpoint import EMBEDDING, OUTPUT
from ..errors import OptionError
from ..inference.fallback import is_silence
from ..inference.transcribe import Pipeline
from ..mixed import Calibration, int8_matrices
from ..model import Whisper
from ..model.layers import FloatArray, Linear
from ..option_values import shown
from ..simd.layout import GROUP, div_up
from .agreement import GREEDY, decoded_windows, next_logits, tokens_read

# the attributes of a block that are its layers, by the first of the matrices that each multiplies
_ENCODER = {"attn.query": "project", "attn.out": "out", "mlp.0": "mlp.up", "mlp.2": "mlp.down"}
_DECODER = _ENCODER | {
    "cross_attn.query": "cross_query",
    "cross_attn.key": "cross_project",
    "cross_attn.out": "cross_out",
}
# Of the encoder's positions, whose neighbors are alike, one in so many is measured
_STRIDE = 4


class _Moments:
    """Sums of the products of a matrix's inputs, in blocks of `width` inputs."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        self.n_row = 0
        self.parts = [slice(i, min(i + width, n_in)) for i in range(0, n_in, width)]
        self.sums = [np.zeros((part.stop - part.start,) * 2, np.float32) for part in self.parts]
        self.stride = stride

    def add(self, x: FloatArray) -> None:
        rows = x.reshape(-1, x.shape[-1])[:: self.stride]
        for part, total in zip(self.parts, self.sums, strict=True):
            block = np.ascontiguousarray(rows[:, part])
            total += block.T @ block
        self.n_row += len(rows)

    def estimates(self) -> list[FloatArray]:
        """Return the mean products. Those of two inputs are reduced by what may be chance.

        Fewer rows than inputs never look uncorrelated: the feedback would undo errors in the directions that they show
        and add to those in all others. `n_row / (n_row + n_in)` of the products are kept, as if `n_in` rows had been
        seen that are uncorrelated.
        """
        found = []
        for total in self.sums:
            power = np.diag(total).copy()
            total /= self.n_row + len(total)
            total[np.diag_indices(len(total))] = power / self.n_row
            found.append(total)
        return found


def calibrate(
    model: Whisper, audios: Iterable[AudioLike], *, check_cancelled: Callable[[], object] = lambda: None
) -> Calibration:
    """Measure the inputs of the matrices that int4 quantizes to 4 bits, but for convolutions, on recordings of speech.

    The model transcribes the recordings greedily, each window without the text before it, and reads its text. The
    result has the size of about two thirds of the model's weights in float32. It is the same for the same recordings
    on the same machine.

    Args:
        model: The model to be quantized, as it was loaded with `compute_type="float32"`.
        audios: Recordings, as `transcribe` takes them; some minutes of speech like that to be transcribed later. Their
            texts need not be known.
        check_cancelled: Called before each token. What it raises ends the calibration.

    Returns:
        Mean products of inputs, for `write_apr(..., "int4", calibration=...)`.

    Raises:
        AudioError: A recording cannot be read.
        OptionError: The model finds no speech in the recordings, or an argument has a value that is not allowed.
    """
    pipeline = Pipeline(model, check_cancelled, dict(GREEDY))
    if not isinstance(audios, Iterable) or isinstance(audios, str | bytes | np.ndarray):
        raise OptionError(f"audios must be a list of recordings, not {shown(audios)}")
    encoder, decoder = _layers_in_4_bits(model)
    width = div_up(model.dims.n_text_state, GROUP) * GROUP
    moments = {
        name: _Moments(layer.weight.shape[1], width, stride)
        for layers, stride in ((encoder, _STRIDE), (decoder, 1))
        for name, layer in layers.items()
    }
    for name in decoder:
        if name.endswith("cross_attn.key.weight"):
            moments[name].stride = _STRIDE
    found = False
    for audio in audios:
        with _observed(encoder, moments):
            for _, features, result, tokenizer in decoded_windows(pipeline, audio, ReadingOptions()):
                if result.text and not is_silence(result, pipeline.options):
                    found = True
                    with _observed(decoder, moments):
                        next_logits(model, features, *tokens_read(result, tokenizer))
    if not found:
        raise OptionError("no speech was found in the recordings to calibrate with; choose others")
    return {name: each.estimates() for name, each in moments.items()}


def _layers_in_4_bits(model: Whisper) -> tuple[dict[str, Linear], dict[str, Linear]]:
    """Return the layers of the encoder and of the decoder that int4 has in 4 bits, by the names of their matrices."""
    untied = model.decoder.output.weight is not model.decoder.tokens
    in_8_bits = int8_matrices(model.dims, untied)
    encoder, decoder = (
        {
            f"{kind}.blocks.{i}.{leaf}.weight": attrgetter(path)(block)
            for i, block in enumerate(blocks)
            for leaf, path in leaves.items()
            if f"{kind}.blocks.{i}.{leaf}.weight" not in in_8_bits
        }
        for kind, blocks, leaves in (
            ("encoder", model.encoder.blocks, _ENCODER),
            ("decoder", model.decoder.blocks, _DECODER),
        )
    )
    return encoder, decoder | {OUTPUT if untied else EMBEDDING: model.decoder.output}


@contextmanager
def _observed(layers: Mapping[str, Linear], moments: Mapping[str, _Moments]) -> Iterator[None]:
    """Add the inputs of layers to their moments."""
    for name, layer in layers.items():
        layer.observe = partial(_Moments.add, moments[name])
    try:
        yield
    finally:
        for layer in layers.values():
            layer.observe = None
