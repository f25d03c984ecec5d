"""Whisper's network: the encoder, the decoder, and their dimensions."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import simd
from ..checkpoint import OUTPUT, Checkpoint
from ..errors import OptionError
from ..mixed import SplitOutliers, int8_matrices
from ..option_values import function, parse, shown
from ..tokenizer.kind import tokenizer_kind
from .decoder import TextDecoder
from .encoder import TIME_STRIDE, AudioEncoder
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
        languages: Codes of the languages that the vocabulary has tokens for, in their order.
        num_languages: Number of languages.
        alignment_heads: Layer and head of each cross-attention head that aligns text with sound; may be empty.
        suppress_tokens: Tokens that are not speech, if the checkpoint names them.
        vocabulary: The checkpoint's own vocabulary; empty for OpenAI's.
        special_tokens: The checkpoint's own special tokens; None for OpenAI's.
    """

    def __init__(self, checkpoint: Checkpoint, compute_type: str = "float32") -> None:
        """Make the network.

        Args:
            checkpoint: Must be complete, as `formats.open_checkpoint` ensures.
            compute_type: What float matrices are converted to: "float32" (stored as float16 or float32 like the
                checkpoint, computed in float32), "float16" (computed in float32 too), "int8" or "int4" (quantized
                here; with "int4", some of the encoder's to 8 bits, see `mixed`). Quantized matrices stay as they are.
                The KV cache is float32, float16, int8 and int8, respectively.

        Raises:
            OptionError: `checkpoint` is not a Checkpoint, or `compute_type` is another one.
        """
        if not isinstance(checkpoint, Checkpoint):
            raise OptionError(f"checkpoint must be a Checkpoint, not {shown(checkpoint)}; load_model opens a file")
        if compute_type not in simd.COMPUTE_TYPES:
            raise OptionError(f"compute_type must be {', '.join(simd.COMPUTE_TYPES)}, not {compute_type!r}")
        tensors = Tensors(checkpoint.tensors, compute_type)
        if compute_type == "int4":
            in_8_bits = int8_matrices(checkpoint.dims, OUTPUT in checkpoint.tensors)
            tensors = Tensors(SplitOutliers(checkpoint.tensors), compute_type, in_8_bits)
        self.dims = checkpoint.dims
        self.alignment_heads = checkpoint.alignment_heads
        self.suppress_tokens = checkpoint.suppress_tokens
        self.vocabulary = checkpoint.vocabulary
        self.special_tokens = checkpoint.special_tokens
        kind, self.languages = tokenizer_kind(
            checkpoint.dims.n_vocab, checkpoint.vocabulary, special=checkpoint.special_tokens
        )
        self.is_multilingual = kind == "multilingual"
        self.num_languages = len(self.languages)
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
        return self.encode(x[None])[0] if x.ndim == 2 else self.encode(x)

    def encode(self, mel: FloatArray, check_cancelled: Callable[[], object] = lambda: None) -> FloatArray:
        """Return the features of whole windows, `(batch, n_audio_ctx, n_audio_state)`.

        Args:
            mel: Log-mel spectrogram, `(batch, n_mels, 2 * n_audio_ctx)`.
            check_cancelled: Called before every layer; an exception that it raises is passed on.

        Raises:
            OptionError: `mel` is not an array of floats of this shape, or `check_cancelled` is not a function.
        """
        x = np.asarray(mel)
        n_mels, n_frames = self.dims.n_mels, TIME_STRIDE * self.dims.n_audio_ctx
        if x.dtype.kind != "f" or x.ndim != 3 or x.shape[1:] != (n_mels, n_frames):
            raise OptionError(
                f"mel must be floats of the shape (batch, {n_mels}, {n_frames}) that this model takes, not {shown(mel)}"
            )
        return self.encoder(x, parse("check_cancelled", function, check_cancelled))

    def logits(self, tokens: npt.NDArray[np.integer[Any]], audio_features: FloatArray) -> FloatArray:
        """Return the logits `(batch, n, n_vocab)` of tokens `(batch, n)`, given features `(batch, 1500, n_state)`.

        Raises:
            OptionError: An argument is not such an array.
        """
        ids, features = np.asarray(tokens), np.asarray(audio_features)
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise OptionError(f"tokens must be an array (batch, n) of integers, not {shown(tokens)}")
        expected = (len(ids), self.dims.n_audio_ctx, self.dims.n_audio_state)
        if features.shape != expected or features.dtype.kind != "f":
            raise OptionError(f"audio_features must be floats of shape {expected}, not {shown(audio_features)}")
        return self.decoder(ids, self.decoder.new_cache(features), slice(None))
