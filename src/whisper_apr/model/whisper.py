"""Whisper's network: an encoder, a decoder, and their dimensions."""

import threading
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
    """Made from a checkpoint, which must be complete (`formats.open_checkpoint` sees to it). The tensors are packed, not kept.

    The decoder is made when it is first asked for: where tensors are still on their way, the encoder runs before the decoder's have come.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.dims = checkpoint.dims
        self.alignment_heads = checkpoint.alignment_heads
        self.encoder = AudioEncoder(checkpoint.tensors, checkpoint.dims)
        self._checkpoint: Checkpoint | None = checkpoint
        self._decoder: TextDecoder | None = None
        self._making = threading.Lock()

    @property
    def decoder(self) -> TextDecoder:
        if self._decoder is None:
            with self._making:
                if self._checkpoint is not None:
                    self._decoder = TextDecoder(self._checkpoint.tensors, self.dims)
                    self._checkpoint = None
        assert self._decoder is not None
        return self._decoder

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
