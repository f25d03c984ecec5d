"""The decoder: tokens and audio features become logits. It owns the key-value cache.

The cache's rows are audio x beam, from the start. Each row of the self-attention has pages of 16 positions, named by a page table, so that
a beam can go on from another's past by naming its pages; keys and values of the audio are computed once and shared by its beams.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import simd
from ..formats.checkpoint import ModelDimensions
from .layers import FloatArray, LayerNorm, Linear, Mlp, Tensors, float32, stacked

Pages = tuple[npt.NDArray[Any], npt.NDArray[Any]]


def _table(n_row: int, n_ctx: int) -> npt.NDArray[np.int32]:
    """A page table in which every row has pages of its own."""
    n_page = -(-n_ctx // simd.PAGE)
    return np.arange(n_row * n_page, dtype=np.int32).reshape(n_row, n_page)


class Cache:
    """What the decoder remembers of `n_audio * beams` rows, all of one length."""

    def __init__(self, dims: ModelDimensions, n_audio: int, beams: int) -> None:
        self.n_audio = n_audio
        self.beams = beams
        self.length = 0
        self.pages = _table(n_audio * beams, dims.n_text_ctx)
        self.cross_pages = _table(n_audio, dims.n_audio_ctx)
        self.cross_lengths = np.full(n_audio, dims.n_audio_ctx, np.int32)
        n_head, d_head = dims.n_text_head, dims.n_text_state // dims.n_text_head
        self.layers: list[Pages] = [simd.new_pages(self.pages.size, n_head, d_head) for _ in range(dims.n_text_layer)]
        self.cross_layers: list[Pages] = [
            simd.new_pages(self.cross_pages.size, n_head, d_head) for _ in range(dims.n_text_layer)
        ]

    @property
    def n_row(self) -> int:
        return self.n_audio * self.beams

    def reorder(self, source: npt.NDArray[np.integer[Any]]) -> None:
        """Row i goes on from the past of row `source[i]`.

        A page that is full is never written again, so it is shared by naming it; only the page that is being filled is copied.
        """
        if np.array_equal(source, np.arange(self.n_row)):
            return
        n_full, n_begun = divmod(self.length, simd.PAGE)
        if n_begun:
            begun = self.pages[:, n_full]
            moved = np.flatnonzero(source != np.arange(self.n_row))
            for keys, values in self.layers:
                keys[begun[moved]] = keys[begun[source[moved]]]
                values[begun[moved]] = values[begun[source[moved]]]
        self.pages[:, :n_full] = self.pages[source, :n_full]


class Block:
    def __init__(self, tensors: Tensors, block: str) -> None:
        self.norm = LayerNorm(tensors, f"{block}.attn_ln")
        self.project = stacked(tensors, f"{block}.attn", ("query", "key", "value"))
        self.out = Linear.read(tensors, f"{block}.attn.out")
        self.cross_norm = LayerNorm(tensors, f"{block}.cross_attn_ln")
        self.cross_query = Linear.read(tensors, f"{block}.cross_attn.query")
        self.cross_project = stacked(tensors, f"{block}.cross_attn", ("key", "value"))
        self.cross_out = Linear.read(tensors, f"{block}.cross_attn.out")
        self.mlp = Mlp(tensors, block)

    def remember_audio(self, features: FloatArray, cache: Cache, pages: Pages) -> None:
        both = self.cross_project(features)
        width = both.shape[-1] // 2
        simd.store_pages(both[..., :width], both[..., width:], cache.cross_pages, 0, *pages)

    def __call__(self, x: FloatArray, cache: Cache, layer: int, lengths: npt.NDArray[np.int32]) -> FloatArray:
        """`(n_row, n_new, n_state)` -> the same shape; the new positions' keys and values go into the cache."""
        width = x.shape[-1]
        q, k, v = np.split(self.project(self.norm(x)), (width, 2 * width), axis=-1)
        keys, values = cache.layers[layer]
        simd.store_pages(k, v, cache.pages, cache.length, keys, values)
        x = self.out(simd.paged_attention(q, keys, values, cache.pages, lengths, causal=True), residual=x)
        # beams of one audio read the same keys: they stand in line as queries
        q = self.cross_query(self.cross_norm(x)).reshape(cache.n_audio, -1, width)
        attended = simd.paged_attention(q, *cache.cross_layers[layer], cache.cross_pages, cache.cross_lengths)
        return self.mlp(self.cross_out(attended.reshape(x.shape), residual=x))


class TextDecoder:
    def __init__(self, tensors: Tensors, dims: ModelDimensions) -> None:
        self.dims = dims
        self.tokens = Linear(tensors["decoder.token_embedding.weight"])  # the table of inputs, and of outputs
        self.positions = float32(tensors, "decoder.positional_embedding")
        self.blocks = [Block(tensors, f"decoder.blocks.{i}") for i in range(dims.n_text_layer)]
        self.norm = LayerNorm(tensors, "decoder.ln")

    def new_cache(self, features: FloatArray, beams: int = 1) -> Cache:
        """A cache for features `(n_audio, n_audio_ctx, n_audio_state)` and so many beams of each, no token read yet."""
        cache = Cache(self.dims, len(features), beams)
        for block, pages in zip(self.blocks, cache.cross_layers, strict=True):
            block.remember_audio(features, cache, pages)
        return cache

    def __call__(
        self, tokens: npt.NDArray[np.integer[Any]], cache: Cache, positions: Sequence[int] | slice = (-1,)
    ) -> FloatArray:
        """Read on: tokens `(n_row, n_new)` -> logits of the new positions that are asked for, `(n_row, n_positions, n_vocab)`.

        Raises ValueError where a token is outside of the vocabulary, or where the text context is full.
        """
        n_row, n_new = tokens.shape
        if n_row != cache.n_row or n_new < 1:
            raise ValueError(f"tokens must have shape ({cache.n_row}, at least 1), not {tokens.shape}")
        end = cache.length + n_new
        if end > self.dims.n_text_ctx:
            raise ValueError(f"the text context holds {self.dims.n_text_ctx} tokens; {end} were given")
        if tokens.min() < 0 or tokens.max() >= self.dims.n_vocab:
            raise ValueError(f"a token must be from 0 to {self.dims.n_vocab - 1}, not {tokens.min()} or {tokens.max()}")
        x = self.tokens.weight.rows(tokens) + self.positions[cache.length : end]
        lengths = np.full(n_row, end, np.int32)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer, lengths)
        cache.length = end
        return self.tokens(self.norm(x[:, positions]))
