"""What a model file holds, whatever its format: dimensions and named tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .errors import FormatError
from .finite import FiniteTensors
from .simd import Weight


@dataclass(frozen=True)
class ModelDimensions:
    """The sizes of a Whisper network, under openai-whisper's names."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int


# The order of the dimensions in heads without names: whisper.cpp's, and that of `.apr` version 1.
BINARY_DIMENSION_ORDER = (
    "n_vocab",
    "n_audio_ctx",
    "n_audio_state",
    "n_audio_head",
    "n_audio_layer",
    "n_text_ctx",
    "n_text_state",
    "n_text_head",
    "n_text_layer",
    "n_mels",
)


@dataclass(frozen=True)
class Checkpoint:
    """A model as it was read. Tensors carry openai-whisper's names, shapes and layout, in the dtype that the file has.

    Where a file holds matrices quantized or packed, they are that; projections of one input may then stand together (`formats.apr.schema`), and
    `formats.apr.schema.plain_tensor` gives any of the model's tensors in floats.
    """

    dims: ModelDimensions
    tensors: Mapping[str, Weight] = field(repr=False)
    alignment_heads: tuple[tuple[int, int], ...] = ()  # (layer, head), counted from 0
    # never to be written, as the model's makers have it; None: they do not say
    suppress_tokens: tuple[int, ...] | None = None
    # of the ordinary tokens, see `tokenizer.bpe.pack_vocabulary`; empty: the one that comes with the package
    vocabulary: bytes = field(default=b"", repr=False)
    license: str = ""  # as the source names it
    provenance: Mapping[str, str] = field(default_factory=dict)  # where it came from, in words


# Far above every Whisper model, far below what could exhaust a machine by its head alone.
_LIMITS = {
    "n_mels": 256,
    "n_audio_ctx": 6000,
    "n_audio_state": 4096,
    "n_audio_head": 128,
    "n_audio_layer": 128,
    "n_vocab": 200_000,
    "n_text_ctx": 4096,
    "n_text_state": 4096,
    "n_text_head": 128,
    "n_text_layer": 128,
}
_NAMED_AT_MOST = 5  # tensors in an error's sentence


def make_dimensions(values: Mapping[str, object], where: str) -> ModelDimensions:
    """ModelDimensions from a file's head. Raises FormatError where one is missing, no whole number, or out of all bounds."""
    checked: dict[str, int] = {}
    for name, limit in _LIMITS.items():
        value = values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= limit:
            raise FormatError(f"{where}: {name} must be a whole number from 1 to {limit}, not {value!r}")
        checked[name] = value
    dims = ModelDimensions(**checked)
    for kind, state, head in (
        ("audio", dims.n_audio_state, dims.n_audio_head),
        ("text", dims.n_text_state, dims.n_text_head),
    ):
        if state % head:
            raise FormatError(f"{where}: a width of {state} (n_{kind}_state) cannot be shared among {head} heads")
    if dims.n_audio_state != dims.n_text_state:
        raise FormatError(
            f"{where}: n_audio_state {dims.n_audio_state} and n_text_state {dims.n_text_state} must be equal"
        )
    return dims


def expected_shapes(dims: ModelDimensions) -> dict[str, tuple[int, ...]]:
    """Every tensor that a model of these dimensions needs, in the order in which inference first reads them."""
    shapes: dict[str, tuple[int, ...]] = {}

    def affine(name: str, n_out: int, n_in: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (n_out, n_in)
        if bias:
            shapes[f"{name}.bias"] = (n_out,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"] = (width,)
        shapes[f"{name}.bias"] = (width,)

    def attention(name: str, width: int) -> None:
        norm(f"{name}_ln", width)
        for part in ("query", "key", "value", "out"):
            affine(f"{name}.{part}", width, width, bias=part != "key")

    def mlp(block: str, width: int) -> None:
        norm(f"{block}.mlp_ln", width)
        affine(f"{block}.mlp.0", 4 * width, width)
        affine(f"{block}.mlp.2", width, 4 * width)

    width = dims.n_audio_state
    for name, n_in in (("encoder.conv1", dims.n_mels), ("encoder.conv2", width)):
        shapes[f"{name}.weight"] = (width, n_in, 3)
        shapes[f"{name}.bias"] = (width,)
    shapes["encoder.positional_embedding"] = (dims.n_audio_ctx, width)
    for i in range(dims.n_audio_layer):
        attention(f"encoder.blocks.{i}.attn", width)
        mlp(f"encoder.blocks.{i}", width)
    norm("encoder.ln_post", width)
    width = dims.n_text_state
    shapes["decoder.token_embedding.weight"] = (dims.n_vocab, width)
    shapes["decoder.positional_embedding"] = (dims.n_text_ctx, width)
    for i in range(dims.n_text_layer):
        attention(f"decoder.blocks.{i}.attn", width)
        attention(f"decoder.blocks.{i}.cross_attn", width)
        mlp(f"decoder.blocks.{i}", width)
    norm("decoder.ln", width)
    return shapes


def _listed(items: list[str]) -> str:
    more = len(items) - _NAMED_AT_MOST
    return ", ".join(items[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def parse_alignment_heads(value: object, dims: ModelDimensions) -> tuple[tuple[int, int], ...]:
    """Pairs (layer, head) as a file has them, without those that the model has not; nothing where it is no list of pairs."""
    return tuple(
        (pair[0], pair[1])
        for pair in (value if isinstance(value, list | tuple) else ())
        if isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(isinstance(n, int) for n in pair)
        and 0 <= pair[0] < dims.n_text_layer
        and 0 <= pair[1] < dims.n_text_head
    )


def parse_suppress_tokens(value: object, dims: ModelDimensions) -> tuple[int, ...] | None:
    """Tokens as a file has them, without those that the model has not; None where it is no list."""
    if not isinstance(value, list):
        return None
    return tuple(token for token in value if isinstance(token, int) and 0 <= token < dims.n_vocab)


def check_shapes(dims: ModelDimensions, found: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Whether a file has every tensor that the model needs. Raises FormatError that names those which are missing or of a wrong shape."""
    shapes = expected_shapes(dims)
    missing = [name for name in shapes if name not in found]
    if missing:
        raise FormatError(
            f"{where}: tensors are missing: {_listed(missing)}; the file is incomplete or not a Whisper model"
        )
    wrong = [f"{name} {found[name]} instead of {shape}" for name, shape in shapes.items() if found[name] != shape]
    if wrong:
        raise FormatError(f"{where}: tensors of a wrong shape: {_listed(wrong)}")


def make_checkpoint(
    dims: ModelDimensions,
    tensors: Mapping[str, np.ndarray],
    where: str,
    alignment_heads: object = (),
) -> Checkpoint:
    """A checkpoint that is complete: what a file has beyond the model's own tensors is left out.

    alignment_heads is as the file has it, see `pairs_of`. Raises FormatError that names the tensors which are missing, of a wrong shape, or
    of a type that is no float. One that holds infinity or NaN raises FormatError when it is asked for.
    """
    shapes = expected_shapes(dims)
    check_shapes(dims, {name: tensor.shape for name, tensor in tensors.items()}, where)
    typed = [f"{name} ({tensors[name].dtype})" for name in shapes if tensors[name].dtype.kind != "f"]
    if typed:
        raise FormatError(f"{where}: tensors that are not float32 or float16: {_listed(typed)}")
    known = FiniteTensors({name: tensors[name] for name in shapes}, where)
    return Checkpoint(dims, known, parse_alignment_heads(alignment_heads, dims))
