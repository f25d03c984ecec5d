"""Whisper's network: an encoder, a decoder, and their dimensions."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..formats.checkpoint import Checkpoint
from .decoder import TextDecoder
from .encoder import AudioEncoder
from .layers import FloatArray

MULTILINGUAL_VOCABULARY = 51865  # from this size on, a vocabulary has languages and tasks
TOKENS_BESIDE_LANGUAGES = 51765  # what an English-only vocabulary holds besides one language


class Whisper:
    """Made from a checkpoint, which must be complete (`formats.open_checkpoint` sees to it). The tensors are packed, not kept."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.dims = checkpoint.dims
        self.alignment_heads = checkpoint.alignment_heads
        self.encoder = AudioEncoder(checkpoint.tensors, checkpoint.dims)
        self.decoder = TextDecoder(checkpoint.tensors, checkpoint.dims)

    @property
    def is_multilingual(self) -> bool:
        return self.dims.n_vocab >= MULTILINGUAL_VOCABULARY

    @property
    def num_languages(self) -> int:
        return self.dims.n_vocab - TOKENS_BESIDE_LANGUAGES - int(self.is_multilingual)

    def embed_audio(self, mel: npt.ArrayLike) -> FloatArray:
        """mel `(n_mels, 3000)` or `(batch, n_mels, 3000)` -> features `(1500, n_state)` or `(batch, 1500, n_state)`."""
        x = np.asarray(mel, np.float32)
        return self.encoder(x[None])[0] if x.ndim == 2 else self.encoder(x)

    def logits(self, tokens: npt.NDArray[np.integer[Any]], audio_features: FloatArray) -> FloatArray:
        """tokens `(batch, n)`, features `(batch, 1500, n_state)` -> logits `(batch, n, n_vocab)`."""
        return self.decoder(np.asarray(tokens), self.decoder.new_cache(audio_features), slice(None))
