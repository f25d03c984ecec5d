"""Whisper's network: the encoder, the decoder, and their dimensions."""

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
    """Whisper's network, made from a checkpoint, whose tensors are packed and not kept.

    The decoder is made when it is first used, so that the encoder can run while the decoder's tensors are still being
    downloaded.

    Attributes:
        dims: The dimensions.
        encoder: The audio encoder.
        decoder: The text decoder.
        is_multilingual: False for an English-only model.
        num_languages: Languages that the vocabulary has tokens for.
        alignment_heads: Layer and head of each cross-attention head that aligns text with sound; may be empty.
        suppress_tokens: Tokens that are not speech, if the checkpoint names them.
        vocabulary: The checkpoint's own vocabulary; None for OpenAI's.
    """

    def __init__(self, checkpoint: Checkpoint, compute_type: str = "float32") -> None:
        """Make the network.

        Args:
            checkpoint: Must be complete, as `formats.open_checkpoint` ensures.
            compute_type: What float matrices are converted to: "float32" (stored as float16 or float32 like the
                checkpoint, computed in float32), "float16" (computed in float32 too), "int8" or "int4" (quantized
                here). Quantized matrices stay as they are. The KV cache is float32, float16, int8 and int8,
                respectively.

        Raises:
            OptionError: `compute_type` is another one.
        """
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
        """The text decoder. The first use makes it, and waits for its tensors if they are still being downloaded."""
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
        """Return features `(1500, n_state)` of `mel` `(n_mels, 3000)`; of a batch, `(batch, 1500, n_state)`."""
        x = np.asarray(mel, np.float32)
        return self.encoder(x[None])[0] if x.ndim == 2 else self.encoder(x)

    def logits(self, tokens: npt.NDArray[np.integer[Any]], audio_features: FloatArray) -> FloatArray:
        """Return the logits `(batch, n, n_vocab)` of tokens `(batch, n)`, given features `(batch, 1500, n_state)`."""
        return self.decoder(np.asarray(tokens), self.decoder.new_cache(audio_features), slice(None))
