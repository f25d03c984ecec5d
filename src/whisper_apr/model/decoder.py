"""The text decoder: tokens and audio features to logits, with a paged KV cache.

The keys and values of each row's tokens are in pages of 16 positions, referred to by a page table: a beam continues
from another one's past by copy-on-write. Those of the audio are computed once and shared by its rows. The result of a
row does not depend on the other rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import simd
from ..checkpoint import ModelDimensions
from .layers import FloatArray, LayerNorm, Linear, Mlp, Tensors, stacked

Indices = npt.NDArray[np.int32]


class CacheStorage:
    """Pages of 16 positions with the keys and values of every layer, for self-attention and cross-attention."""

    def __init__(self, dims: ModelDimensions, n_audio: int, n_row: int, dtype: npt.DTypeLike) -> None:
        n_head, d_head, n_layer = dims.n_text_head, dims.n_text_state // dims.n_text_head, dims.n_text_layer
        self.n_page = -(-dims.n_text_ctx // simd.PAGE)  # of a row
        n_cross = -(-dims.n_audio_ctx // simd.PAGE)  # of an audio
        self.layers = [simd.new_kv_cache(n_row * self.n_page, n_head, d_head, dtype) for _ in range(n_layer)]
        self.audio_pages: Indices = np.arange(n_audio * n_cross, dtype=np.int32).reshape(n_audio, n_cross)
        self.cross_layers = simd.new_kv_caches(n_layer, self.audio_pages.size, n_head, d_head, dtype)
        self.n_audio_ctx = dims.n_audio_ctx


class DecoderCache:
    """The KV cache of a batch: for each row the keys and values of its tokens, for each audio those of its features.

    Each row has a page table, so that a beam can continue from another one's past by referring to its pages. The rows
    of one audio are adjacent; rows may have different lengths.
    """

    def __init__(self, storage: CacheStorage, lengths: Indices, pages: Indices, audio: Indices) -> None:
        """Make a cache of rows; `allocate` makes one with new storage.

        Args:
            storage: Where the pages are; may be shared.
            lengths: Tokens read by each row, `(n_row,)`.
            pages: The page table, `(n_row, n_page)`.
            audio: Index of each row's audio, `(n_row,)`.
        """
        self.storage = storage
        self.lengths = lengths
        self.pages = pages
        self.audio = audio
        self._group_rows()

    @classmethod
    def allocate(
        cls, dims: ModelDimensions, n_audio: int, beams: int, dtype: npt.DTypeLike = np.float32
    ) -> "DecoderCache":
        """Return an empty cache of `n_audio * beams` rows."""
        n_row = n_audio * beams
        storage = CacheStorage(dims, n_audio, n_row, dtype)
        pages = np.arange(n_row * storage.n_page, dtype=np.int32).reshape(n_row, storage.n_page)
        audio = np.repeat(np.arange(n_audio, dtype=np.int32), beams)
        return cls(storage, np.zeros(n_row, np.int32), pages, audio)

    def _group_rows(self) -> None:
        """If every audio has equally many rows, batch them as the queries of one cross-attention call."""
        begins = np.flatnonzero(np.diff(self.audio, prepend=-1))
        sizes = np.diff(begins, append=self.n_row)
        self.group = int(sizes[0]) if len(sizes) and (sizes == sizes[0]).all() else 1
        self.cross_pages: Indices = self.storage.audio_pages[self.audio[:: self.group]]
        self.cross_lengths: Indices = np.full(len(self.cross_pages), self.storage.n_audio_ctx, np.int32)
        self.step: CapturedStep | None = None

    @property
    def n_row(self) -> int:
        """The number of rows."""
        return len(self.lengths)

    @property
    def length(self) -> int:
        """Tokens read by the longest row."""
        return int(self.lengths.max(initial=0))

    def view(self, rows: npt.NDArray[np.integer[Any]]) -> "DecoderCache":
        """Return a cache of some rows that reads and writes this one's pages. Its lengths are its own."""
        return DecoderCache(self.storage, self.lengths[rows], self.pages[rows], self.audio[rows])

    def share_first_rows(self, lengths: Indices) -> None:
        """Let all rows of an audio continue from the past of its first row, read through a `view`.

        Args:
            lengths: Tokens read by the first row of each audio, `(n_audio,)`.
        """
        self.lengths[:] = np.repeat(lengths, self.group)
        self.reorder(np.arange(self.n_row) // self.group * self.group)

    def reorder(self, source: npt.NDArray[np.integer[Any]]) -> None:
        """Let row i continue from the past of row `source[i]`, which must have the same audio and length.

        Full pages are never written again and are shared by reference; only the page being filled is copied.

        Raises:
            ValueError: The audio or the length differs.
        """
        moved = np.flatnonzero(source != np.arange(self.n_row))
        if not len(moved):
            return
        source = source[moved]
        if (self.lengths[source] != self.lengths[moved]).any() or (self.audio[source] != self.audio[moved]).any():
            raise ValueError("a row can continue only from a row of the same audio and length")
        n_full, n_partial = np.divmod(self.lengths[moved], simd.PAGE)
        partial = np.flatnonzero(n_partial)
        to, origin = self.pages[moved[partial], n_full[partial]], self.pages[source[partial], n_full[partial]]
        for layer in self.storage.layers:
            layer.copy_pages(origin, to)
        is_full = np.arange(self.pages.shape[1]) < n_full[:, None]
        self.pages[moved] = np.where(is_full, self.pages[source], self.pages[moved])

    def keep(self, rows: npt.NDArray[np.integer[Any]]) -> None:
        """Keep only these rows, in this order; rows of one audio must stay adjacent."""
        self.lengths, self.pages, self.audio = self.lengths[rows], self.pages[rows], self.audio[rows]
        self._group_rows()


class CapturedStep:
    """The kernel calls of decoding one token per row, captured as a graph, with its input and output."""

    def __init__(self, n_row: int, width: int) -> None:
        self.x = np.empty((n_row, 1, width), np.float32)
        self.logits: FloatArray | None = None
        self.graph = simd.Graph()


class DecoderBlock:
    """A decoder block: self-attention, cross-attention and MLP, each with layer normalization and a residual."""

    def __init__(self, tensors: Tensors, block: str) -> None:
        self.norm = LayerNorm(tensors, f"{block}.attn_ln")
        self.project = stacked(tensors, f"{block}.attn", ("query", "key", "value"))
        self.out = Linear.read(tensors, f"{block}.attn.out")
        self.cross_norm = LayerNorm(tensors, f"{block}.cross_attn_ln")
        self.cross_query = Linear.read(tensors, f"{block}.cross_attn.query")
        self.cross_project = stacked(tensors, f"{block}.cross_attn", ("key", "value"))
        self.cross_out = Linear.read(tensors, f"{block}.cross_attn.out")
        self.mlp = Mlp(tensors, block)

    def store_audio(self, features: FloatArray, cache: DecoderCache, layer: int, workspace: FloatArray) -> None:
        """Store the keys and values of the audio. `workspace` `(n_audio, n_audio_ctx, 2 * n_state)` is overwritten."""
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


class TextDecoder:
    """Whisper's text decoder.

    `cache_dtype` is that of the KV cache: float32, or float16 or int8 for a half or a quarter of its memory and of the
    time of the attention.
    """

    def __init__(self, tensors: Tensors, dims: ModelDimensions, cache_dtype: npt.DTypeLike = np.float32) -> None:
        self.dims = dims
        self.cache_dtype = cache_dtype
        self.tokens = Linear(tensors.matrix("decoder.token_embedding"))  # also the output projection
        self.positions = tensors.array("decoder.positional_embedding")
        self.blocks = [DecoderBlock(tensors, f"decoder.blocks.{i}") for i in range(dims.n_text_layer)]
        self.norm = LayerNorm(tensors, "decoder.ln")

    def new_cache(self, features: FloatArray, beams: int = 1) -> DecoderCache:
        """Return a cache for features `(n_audio, n_audio_ctx, n_audio_state)`, with `beams` rows each and no tokens."""
        cache = DecoderCache.allocate(self.dims, len(features), beams, self.cache_dtype)
        # shared by the layers
        workspace = simd.huge_zeros((*features.shape[:-1], 2 * self.dims.n_text_state), np.float32)
        for layer, block in enumerate(self.blocks):
            block.store_audio(features, cache, layer, workspace)
        return cache

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
        return self.tokens(self.norm(states))

    def read(
        self, tokens: npt.NDArray[np.integer[Any]], cache: DecoderCache, counts: Indices | None = None
    ) -> FloatArray:
        """Read tokens as `__call__` does, but return the final states of all of them, `(n_row, n_new, n_state)`."""
        x = self._embed(tokens, cache, counts)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer, counts)
        return x

    def cross_attention_scores(
        self, tokens: npt.NDArray[np.integer[Any]], features: FloatArray, heads: npt.NDArray[np.integer[Any]]
    ) -> tuple[FloatArray, FloatArray]:
        """Return the cross-attention scores of some heads, for the alignment of words.

        Args:
            tokens: `(n,)`.
            features: `(n_audio_ctx, n_audio_state)`.
            heads: `(n_heads, 2)`, layer and head.

        Returns:
            The scores before the softmax, `(n_heads, n, n_audio_ctx)`, and the final states `(n, n_state)` for
            `logits`.
        """
        cache = self.new_cache(features[None])
        scores = np.empty((len(heads), len(tokens), self.dims.n_audio_ctx), np.float32)
        x = self._embed(tokens[None], cache, None)
        d_head = self.dims.n_text_state // self.dims.n_text_head
        for layer, block in enumerate(self.blocks):
            x = block.self_attention(x, cache, layer, None)
            queries = block.cross_queries(x)
            for i in np.flatnonzero(heads[:, 0] == layer):
                head = int(heads[i, 1])
                # the key pages of one head have the layout of a packed matrix (n_audio_ctx, d_head)
                panels = np.ascontiguousarray(cache.storage.cross_layers[layer].key_panels(head, cache.cross_pages[0]))
                matrix = simd.PackedMatrix(panels.dtype.name, (scores.shape[2], d_head), panels)
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
            x = self.tokens.weight.rows(tokens)
        except IndexError as error:
            raise ValueError(f"a token must be from 0 to {self.dims.n_vocab - 1}: {error}") from error
        cache.lengths[:] = lengths
        positions = lengths[:, None] + np.arange(-n_new, 0, dtype=np.int32)
        x += self.positions[positions if counts is None else np.maximum(positions, 0)]
        return x

    def _read_one(self, tokens: npt.NDArray[np.integer[Any]], cache: DecoderCache) -> FloatArray:
        """Read one token per row. The first call captures the kernel calls as a graph, and later calls replay it."""
        step = cache.step or CapturedStep(cache.n_row, self.dims.n_text_state)
        if not self.tokens.weight.embed(tokens, self.positions, cache.lengths, step.x):
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
