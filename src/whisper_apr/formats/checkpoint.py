"""What a model file holds, whatever its format: dimensions and named tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


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


@dataclass(frozen=True)
class Checkpoint:
    """A model as it was read. Tensors carry openai-whisper's names, shapes and layout, in the dtype that the file has."""

    dims: ModelDimensions
    tensors: Mapping[str, np.ndarray] = field(repr=False)
    alignment_heads: tuple[tuple[int, int], ...] = ()  # (layer, head), counted from 0
