"""The text decoder: tokens and audio features to logits, with a paged KV cache.

The result of a row does not depend on the other rows. `decoder_cache` has the cache.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import simd
from ..checkpoint import OUTLIERS, OUTPUT, ModelDimensions
from ..mixed import outlier_inputs
from ..simd.weights import to_huge_pages
from .decoder_cache import AudioSlot, CachePool, CapturedStep, DecoderCache, Indices
from .layers import FloatArray, LayerNorm, Linear, Mlp, Tensors, stacked

# The decoder's inputs have outliers, those of the output projection 25 times as large as most: rounded to 8 bits, they
# would be most of the error of int8. More bits cost little, since the time of a token is that of reading the weights.
# `Linear` uses them for int8 only.
ACTIVATION_BITS: simd.ActivationBits = 12


class DecoderBlock:
    """A decoder block: self-attention, cross-attention and MLP, each with layer normalization and a residual."""

    def __init__(self, tensors: Tensors, block: str) -> None:
        self.norm = LayerNorm(tensors, f"{block}.attn_ln")
        self.project = stacked(tensors, f"{block}.attn", ("query", "key", "value"), ACTIVATION_BITS)
        self.out = Linear.read(tensors, f"{block}.attn.out", ACTIVATION_BITS)
        self.cross_norm = LayerNorm(tensors, f"{block}.cross_attn_ln")
        self.cross_query = Linear.read(tensors, f"{block}.cross_attn.query", ACTIVATION_BITS)
        # 8 bits: a product of all positions of the audio is limited by arithmetic
        self.cross_project = stacked(tensors, f"{block}.cross_attn", ("key", "value"))
        self.cross_out = Linear.read(tensors, f"{block}.cross_attn.out", ACTIVATION_BITS)
        self.mlp = Mlp(tensors, block, ACTIVATION_BITS)
        linears = (self.project, self.out, self.cross_query, self.cross_out, self.mlp.up, self.mlp.down)
        for linear, weight in zip(linears, to_huge_pages([each.weight for each in linears]), strict=True):
            linear.weight = weight

    def store_audio(self, features: FloatArray, cache: DecoderCache, layer: int, workspace: FloatArray) -> None:
        """Store the keys and values of the audio. `workspace` `(n_audio, n_ctx, 2 * n_state)` is overwritten."""
        k, v = np.split(self.cross_project(features, out=workspace), 2, axis=-1)
        simd.store_pages(k, v, cache.cross_pages, cache.cross_lengths, cache.storage.cross_layers[layer])

    def self_attention(self, x: FloatArray, cache: DecoderCache, layer: int, counts: Indices | None) -> FloatArray:
        """Store the keys and values of `x` `(n_row, n_new, n_state)`, and return `x` plus its self-attention."""
        q, k, v = np.split(self.project(self.norm(x)), 3, axis=-1)
        kv = cache.storage.layers[layer]
        simd.store_pages(k, v, cache.pages, cache.lengths, kv, counts)
        return self.out(simd.paged_attention(q, kv, cache.pages, cache.lengths, causal=True), residual=x)

    def cross_queries(self, x: FloatArray) -> FloatArray:
        """Return the queries of the cross-attention, `(n_row, n_new, n_state)`."""
        return self.cross_query(self.cross_norm(x))

    def cross_attention_and_mlp(
        self, x: FloatArray, queries: FloatArray, cache: DecoderCache, layer: int
    ) -> FloatArray:
        """Return `x` plus its cross-attention with `queries`, plus the MLP of that."""
        grouped = queries.reshape(len(cache.cross_pages), -1, x.shape[-1])
        kv = cache.storage.cross_layers[layer]
        attended = simd.paged_attention(grouped, kv, cache.cross_pages, cache.cross_lengths)
        return self.mlp(self.cross_out(attended.reshape(x.shape), residual=x))

    def __call__(self, x: FloatArray, cache: DecoderCache, layer: int, counts: Indices | None = None) -> FloatArray:
        """Apply the block to `(n_row, n_new, n_state)`; see `TextDecoder.__call__` for `counts`."""
        x = self.self_attention(x, cache, layer, counts)
        return self.cross_attention_and_mlp(x, self.cross_queries(x), cache, layer)


class OutlierProjection:
    """The part of an int4 model's output projection that multiplies its largest inputs, in 8 bits; see `mixed`.

    `norm` is the decoder's last layer norm with zeros for these inputs, for the other part.
    """

    def __init__(self, tensors: Tensors) -> None:
        inputs = outlier_inputs(tensors.by_name)
        self.norm = LayerNorm(tensors, "decoder.ln")
        selection = np.zeros((len(inputs), len(self.norm.weight)), np.float32)
        selection[np.arange(len(inputs)), inputs] = 1
        self.select = Linear(simd.pack(selection))  # a product, since a graph captures kernels only
        self.project = Linear(tensors.matrix("decoder.output_outliers"))
        self.norm.weight, self.norm.bias = self.norm.weight.copy(), self.norm.bias.copy()
        self.norm.weight[inputs] = self.norm.bias[inputs] = 0

    def __call__(self, normed: FloatArray, logits: FloatArray) -> FloatArray:
        """Return `logits` `(..., n_vocab)` of the other inputs plus those of normalized states `(..., n_state)`."""
        return self.project(self.select(normed), residual=logits)


class TextDecoder:
    """Whisper's text decoder.

    `cache_dtype` is that of the KV cache: float32, or float16 or int8 for a half or a quarter of its memory and of the
    time of the attention.
    """

    def __init__(self, tensors: Tensors, dims: ModelDimensions, cache_dtype: npt.DTypeLike = np.float32) -> None:
        self.dims = dims
        self.cache_dtype = cache_dtype
        self.tokens = tensors.matrix("decoder.token_embedding")
        output = tensors.matrix("decoder.output") if OUTPUT in tensors else self.tokens
        self.output = Linear(output, activation_bits=ACTIVATION_BITS)
        self.positions = tensors.array("decoder.positional_embedding")
        self.blocks = [DecoderBlock(tensors, f"decoder.blocks.{i}") for i in range(dims.n_text_layer)]
        self.norm = LayerNorm(tensors, "decoder.ln")
        self.outliers = OutlierProjection(tensors) if OUTLIERS in tensors else None

    def new_cache(self, features: FloatArray, beams: int = 1) -> DecoderCache:
        """Return a cache for features `(n_audio, n_ctx, n_audio_state)`, with `beams` rows each and no tokens."""
        cache = DecoderCache.allocate(self.dims, len(features), features.shape[1], beams, self.cache_dtype)
        self._store_audio(features, cache)
        return cache

    def audio_cache(self, features: FloatArray) -> DecoderCache:
        """Return a cache for features `(n_ctx, n_audio_state)`, with one row and no tokens."""
        return self.new_cache(features[None])

    def new_pool(self, n_slot: int, n_row: int) -> CachePool:
        """Return a cache with room for `n_slot` audios of `n_row` rows each."""
        return CachePool(self.dims, n_slot, n_row, self.cache_dtype)

    def fill_slot(self, slot: AudioSlot, features: FloatArray) -> None:
        """Put the audio with features `(n_ctx, n_audio_state)` in a slot, in place of the one before."""
        slot.prepare(features)
        self._store_audio(features[None], slot.rows(1))

    def _store_audio(self, features: FloatArray, cache: DecoderCache) -> None:
        # shared by the layers
        workspace = simd.huge_zeros((*features.shape[:-1], 2 * self.dims.n_text_state), np.float32)
        for layer, block in enumerate(self.blocks):
            block.store_audio(features, cache, layer, workspace)

    def __call__(
        self,
        tokens: npt.NDArray[np.integer[Any]],
        cache: DecoderCache,
        positions: Sequence[int] | slice = (-1,),
        counts: Indices | None = None,
    ) -> FloatArray:
        """Read tokens and return the logits after them, `(n_row, len(positions), n_vocab)`.

        The logits of one token per row are returned in an array that the next call overwrites.

        Args:
            tokens: The next tokens of each row, `(n_row, n_new)`.
            cache: The tokens before them; extended in place.
            positions: Indices of the new tokens whose logits are returned.
            counts: The number of new tokens of each row, `(n_row,)` int32, if they differ. They are at the right end of
                `tokens`, and logits of the padding before them are meaningless.

        Raises:
            ValueError: A token is not in the vocabulary, or the text context is full.
        """
        if tokens.shape[1] == 1 and counts is None and positions == (-1,):
            return self._read_one(tokens, cache)
        return self.logits(self.read(tokens, cache, counts)[:, positions])

    def logits(self, states: FloatArray) -> FloatArray:
        """Return the logits `(..., n_vocab)` of final states `(..., n_state)`."""
        if self.outliers is None:
            return self.output(self.norm(states))
        return self.outliers(self.norm(states), self.output(self.outliers.norm(states)))

    def read(
        self, tokens: npt.NDArray[np.integer[Any]], cache: DecoderCache, counts: Indices | None = None
    ) -> FloatArray:
        """Read tokens as `__call__` does, but return the final states of all of them, `(n_row, n_new, n_state)`."""
        x = self._embed(tokens, cache, counts)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer, counts)
        return x

    def cross_attention_scores(
        self, tokens: npt.NDArray[np.integer[Any]], cache: DecoderCache, heads: npt.NDArray[np.integer[Any]]
    ) -> tuple[FloatArray, FloatArray]:
        """Return the cross-attention scores of some heads, for the alignment of words.

        Args:
            tokens: `(n,)`.
            cache: Of one audio with `n_ctx` positions, in one row without tokens; extended in place.
            heads: `(n_heads, 2)`, layer and head.

        Returns:
            The scores before the softmax, `(n_heads, n, n_ctx)`, and the final states `(n, n_state)` for
            `logits`.
        """
        n_ctx = int(cache.cross_lengths[0])
        pages = cache.cross_pages[0, : -(-n_ctx // simd.PAGE)]
        scores = np.empty((len(heads), len(tokens), n_ctx), np.float32)
        x = self._embed(tokens[None], cache, None)
        d_head = self.dims.n_text_state // self.dims.n_text_head
        for layer, block in enumerate(self.blocks):
            x = block.self_attention(x, cache, layer, None)
            queries = block.cross_queries(x)
            for i in np.flatnonzero(heads[:, 0] == layer):
                head = int(heads[i, 1])
                # the key pages of one head have the layout of a packed matrix (n_ctx, d_head)
                panels = np.ascontiguousarray(cache.storage.cross_layers[layer].key_panels(head, pages))
                matrix = simd.PackedMatrix(panels.dtype.name, (n_ctx, d_head), panels)
                scores[i] = simd.linear(queries[0, :, head * d_head : (head + 1) * d_head], matrix)
            x = block.cross_attention_and_mlp(x, queries, cache, layer)
        scores *= np.float32(d_head**-0.5)
        return scores, x[0]

    def _embed(self, tokens: npt.NDArray[np.integer[Any]], cache: DecoderCache, counts: Indices | None) -> FloatArray:
        """Return the embeddings of new tokens, `(n_row, n_new, n_state)`, and add them to the cache's lengths."""
        n_row, n_new = tokens.shape
        if n_row != cache.n_row or n_new < 1:
            raise ValueError(
                f"tokens must have shape (n_row, n_new) with n_row = {cache.n_row} and n_new > 0, not {tokens.shape}"
            )
        if counts is not None and (counts.shape != (n_row,) or counts.min() < 1 or counts.max() > n_new):
            raise ValueError(f"counts must have shape ({n_row},) and be from 1 to {n_new}")
        lengths = cache.lengths + (n_new if counts is None else counts)
        if lengths.max() > self.dims.n_text_ctx:
            raise ValueError(f"the text context holds {self.dims.n_text_ctx} tokens; {lengths.max()} were given")
        try:
            x = self.tokens.rows(tokens)
        except IndexError as error:
            raise ValueError(f"a token must be from 0 to {self.dims.n_vocab - 1}: {error}") from error
        cache.lengths[:] = lengths
        positions = lengths[:, None] + np.arange(-n_new, 0, dtype=np.int32)
        x += self.positions[positions if counts is None else np.maximum(positions, 0)]
        return x

    def _read_one(self, tokens: npt.NDArray[np.integer[Any]], cache: DecoderCache) -> FloatArray:
        """Read one token per row. The first call captures the kernel calls as a graph, and later calls replay it."""
        step = cache.step or CapturedStep(cache.n_row, self.dims.n_text_state)
        if not self.tokens.embed(tokens, self.positions, cache.lengths, step.x):
            step.x[...] = self._embed(tokens, cache, None)
        if step.graph.usable and step.logits is not None:
            step.graph.replay()
            return step.logits
        with step.graph:
            x = step.x
            for layer, block in enumerate(self.blocks):
                x = block(x, cache, layer)
            step.logits = self.logits(x)
        cache.step = step if step.graph.usable else None
        return step.logits
