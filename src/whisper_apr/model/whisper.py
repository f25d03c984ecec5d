"""Whisper's network: an encoder, a decoder, and their dimensions."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import simd
from ..checkpoint import Checkpoint
from ..errors import OptionError
from ..tokenizer.kind import tokenizer_kind
from .decoder import TextDecoder
from .encoder import AudioEncoder
from .layers import FloatArray, Tensors


class Whisper:
    """Made from a checkpoint, which must be complete (`formats.open_checkpoint` sees to it). The tensors are packed, not kept.

    The decoder is made when it is first asked for: where tensors are still on their way, the encoder runs before the decoder's have come.

    `compute_type` says what the checkpoint's float matrices become: "float32" (kept as float16 or float32, computed in float32), "float16"
    (computed in float32 too), "int8" or "int4" (quantized here). The key-value cache is float32, float16 or int8 in turn, the latter for
    "int4" too. Matrices that are quantized already stay as they are. Raises OptionError for another type.
    """

    def __init__(self, checkpoint: Checkpoint, compute_type: str = "float32") -> None:
        if compute_type not in simd.COMPUTE_TYPES:
            raise OptionError(f"compute_type must be {', '.join(simd.COMPUTE_TYPES)}, not {compute_type!r}")
        tensors = Tensors(checkpoint.tensors, compute_type)
        self.dims = checkpoint.dims
        self.alignment_heads = checkpoint.alignment_heads
        self.suppress_tokens = checkpoint.suppress_tokens
        self.vocabulary = checkpoint.vocabulary
        kind, languages = tokenizer_kind(checkpoint.dims.n_vocab, checkpoint.vocabulary)
        self.is_multilingual = kind == "multilingual"
        self.num_languages = len(languages)
        self.encoder = AudioEncoder(tensors, checkpoint.dims)
        self._tensors: Tensors | None = tensors
        self._decoder: TextDecoder | None = None
        self._making = threading.Lock()

    @property
    def decoder(self) -> TextDecoder:
        if self._decoder is None:
            with self._making:
                if self._tensors is not None:
                    compute_type = self._tensors.compute_type
                    self._decoder = TextDecoder(
                        self._tensors, self.dims, "int8" if compute_type == "int4" else compute_type
                    )
                    self._tensors = None
        assert self._decoder is not None
        return self._decoder

    def embed_audio(self, mel: npt.ArrayLike) -> FloatArray:
        """mel `(n_mels, 3000)` or `(batch, n_mels, 3000)` -> features `(1500, n_state)` or `(batch, 1500, n_state)`."""
        x = np.asarray(mel, np.float32)
        return self.encoder(x[None])[0] if x.ndim == 2 else self.encoder(x)

    def logits(self, tokens: npt.NDArray[np.integer[Any]], audio_features: FloatArray) -> FloatArray:
        """tokens `(batch, n)`, features `(batch, 1500, n_state)` -> logits `(batch, n, n_vocab)`."""
        return self.decoder(np.asarray(tokens), self.decoder.new_cache(audio_features), slice(None))
