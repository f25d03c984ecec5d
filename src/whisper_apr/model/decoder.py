"""The decoder: tokens and audio features become logits. It owns the key-value cache.

Each row of the self-attention has pages of 16 positions, named by a page table, so that a beam can go on from another's past by naming
its pages; keys and values of an audio are computed once and shared by its rows. What a row gets does not depend on the other rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import simd
from ..checkpoint import ModelDimensions
from .layers import FloatArray, LayerNorm, Linear, Mlp, Tensors, stacked

Indices = npt.NDArray[np.int32]


class DecoderCache:
    """What the decoder remembers: for each row the past of its tokens, for each audio its keys and values.

    At first there are `n_audio * beams` rows, those of one audio side by side. Rows may have different lengths, and may be dropped.
    """

    def __init__(self, dims: ModelDimensions, n_audio: int, beams: int, dtype: npt.DTypeLike = np.float32) -> None:
        n_head, d_head, n_layer = dims.n_text_head, dims.n_text_state // dims.n_text_head, dims.n_text_layer
        n_page, n_cross = -(-dims.n_text_ctx // simd.PAGE), -(-dims.n_audio_ctx // simd.PAGE)
        n_row = n_audio * beams
        self.lengths: Indices = np.zeros(n_row, np.int32)
        self.pages: Indices = np.arange(n_row * n_page, dtype=np.int32).reshape(n_row, n_page)
        self.layers = [simd.new_kv_cache(self.pages.size, n_head, d_head, dtype) for _ in range(n_layer)]
        self.audio: Indices = np.repeat(np.arange(n_audio, dtype=np.int32), beams)  # which one each row hears
        self.audio_pages: Indices = np.arange(n_audio * n_cross, dtype=np.int32).reshape(n_audio, n_cross)
        self.cross_layers = simd.new_kv_caches(n_layer, self.audio_pages.size, n_head, d_head, dtype)
        self._n_audio_ctx = dims.n_audio_ctx
        self._arrange()

    def _arrange(self) -> None:
        """Rows of one audio stand in line as the queries of one cross-attention, where all audios have equally many rows."""
        begins = np.flatnonzero(np.diff(self.audio, prepend=-1))
        sizes = np.diff(begins, append=self.n_row)
        self.group = int(sizes[0]) if len(sizes) and (sizes == sizes[0]).all() else 1
        self.cross_pages: Indices = self.audio_pages[self.audio[:: self.group]]
        self.cross_lengths: Indices = np.full(len(self.cross_pages), self._n_audio_ctx, np.int32)
        self.step: CapturedStep | None = None

    @property
    def n_row(self) -> int:
        return len(self.lengths)

    @property
    def length(self) -> int:
        """Of the longest row."""
        return int(self.lengths.max(initial=0))

    def reorder(self, source: npt.NDArray[np.integer[Any]]) -> None:
        """Row i goes on from the past of row `source[i]`, which must hear the same audio and be as long.

        A page that is full is never written again, so it is shared by naming it; only the page that is being filled is copied.
        """
        moved = np.flatnonzero(source != np.arange(self.n_row))
        if not len(moved):
            return
        source = source[moved]
        if (self.lengths[source] != self.lengths[moved]).any() or (self.audio[source] != self.audio[moved]).any():
            raise ValueError("a row can go on only from one that hears the same audio and is as long")
        n_full, n_begun = np.divmod(self.lengths[moved], simd.PAGE)
        begun = np.flatnonzero(n_begun)
        to, origin = self.pages[moved[begun], n_full[begun]], self.pages[source[begun], n_full[begun]]
        for layer in self.layers:
            layer.copy_pages(origin, to)
        full = np.arange(self.pages.shape[1]) < n_full[:, None]
        self.pages[moved] = np.where(full, self.pages[source], self.pages[moved])

    def keep(self, rows: npt.NDArray[np.integer[Any]]) -> None:
        """Only these rows go on, in this order; the others cost nothing from now on. Rows of one audio must stay side by side."""
        self.lengths, self.pages, self.audio = self.lengths[rows], self.pages[rows], self.audio[rows]
        self._arrange()


class CapturedStep:
    """Reading one token a row, recorded: the arrays between the first and the last."""

    def __init__(self, n_row: int, width: int) -> None:
        self.x = np.empty((n_row, 1, width), np.float32)
        self.logits: FloatArray | None = None
        self.graph = simd.Graph()


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

    def remember_audio(self, features: FloatArray, cache: DecoderCache, layer: int, work: FloatArray) -> None:
        """`work` `(n_audio, n_audio_ctx, 2 * n_state)` is written over."""
        k, v = np.split(self.cross_project(features, out=work), 2, axis=-1)
        simd.store_pages(k, v, cache.cross_pages, cache.cross_lengths, cache.cross_layers[layer])

    def attend(self, x: FloatArray, cache: DecoderCache, layer: int, counts: Indices | None) -> FloatArray:
        """Self-attention of `(n_row, n_new, n_state)`; the new positions' keys and values go into the cache first."""
        q, k, v = np.split(self.project(self.norm(x)), 3, axis=-1)
        past = cache.layers[layer]
        simd.store_pages(k, v, cache.pages, cache.lengths, past, counts)
        return self.out(simd.paged_attention(q, past, cache.pages, cache.lengths, causal=True), residual=x)

    def queries(self, x: FloatArray) -> FloatArray:
        """What the cross-attention asks for."""
        return self.cross_query(self.cross_norm(x))

    def finish(self, x: FloatArray, queries: FloatArray, cache: DecoderCache, layer: int) -> FloatArray:
        """Cross-attention and what follows it."""
        lines = queries.reshape(len(cache.cross_pages), -1, x.shape[-1])
        heard = simd.paged_attention(lines, cache.cross_layers[layer], cache.cross_pages, cache.cross_lengths)
        return self.mlp(self.cross_out(heard.reshape(x.shape), residual=x))

    def __call__(self, x: FloatArray, cache: DecoderCache, layer: int, counts: Indices | None = None) -> FloatArray:
        """`(n_row, n_new, n_state)` -> the same shape."""
        x = self.attend(x, cache, layer, counts)
        return self.finish(x, self.queries(x), cache, layer)


class TextDecoder:
    """Rows of tokens -> logits. `cache_dtype` is float32, or float16 or int8 for a half or a quarter of the attention's memory and time."""

    def __init__(self, tensors: Tensors, dims: ModelDimensions, cache_dtype: npt.DTypeLike = np.float32) -> None:
        self.dims = dims
        self.cache_dtype = cache_dtype
        self.tokens = Linear(tensors.matrix("decoder.token_embedding"))  # the table of inputs, and of outputs
        self.positions = tensors.array("decoder.positional_embedding")
        self.blocks = [Block(tensors, f"decoder.blocks.{i}") for i in range(dims.n_text_layer)]
        self.norm = LayerNorm(tensors, "decoder.ln")

    def new_cache(self, features: FloatArray, beams: int = 1) -> DecoderCache:
        """A cache for features `(n_audio, n_audio_ctx, n_audio_state)` and so many beams of each, no token read yet."""
        cache = DecoderCache(self.dims, len(features), beams, self.cache_dtype)
        # one layer's keys and values after the other's
        work = simd.huge_zeros((*features.shape[:-1], 2 * self.dims.n_text_state), np.float32)
        for layer, block in enumerate(self.blocks):
            block.remember_audio(features, cache, layer, work)
        return cache

    def __call__(
        self,
        tokens: npt.NDArray[np.integer[Any]],
        cache: DecoderCache,
        positions: Sequence[int] | slice = (-1,),
        counts: Indices | None = None,
    ) -> FloatArray:
        """Read on: tokens `(n_row, n_new)` -> logits of the new positions that are asked for, `(n_row, n_positions, n_vocab)`.

        Where rows have different numbers of new tokens, `counts` `(n_row,)` int32 says how many: they stand at the right end of tokens,
        and the logits at the left end mean nothing. Logits of one token a row lie in an array that the next call writes anew.
        Raises ValueError where a token is outside of the vocabulary, or where the text context is full.
        """
        if tokens.shape[1] == 1 and counts is None and positions == (-1,):
            return self._read_one(tokens, cache)
        return self.logits(self.read(tokens, cache, counts)[:, positions])

    def logits(self, states: FloatArray) -> FloatArray:
        """Final states `(..., n_state)` -> `(..., n_vocab)`."""
        return self.tokens(self.norm(states))

    def read(
        self, tokens: npt.NDArray[np.integer[Any]], cache: DecoderCache, counts: Indices | None = None
    ) -> FloatArray:
        """As a call, but gives the final states of all new positions, `(n_row, n_new, n_state)`."""
        x = self._embed(tokens, cache, counts)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer, counts)
        return x

    def cross_attention_scores(
        self, tokens: npt.NDArray[np.integer[Any]], features: FloatArray, heads: npt.NDArray[np.integer[Any]]
    ) -> tuple[FloatArray, FloatArray]:
        """How much each token listens to each position of an audio, for the alignment of words.

        tokens `(n,)`, features `(n_audio_ctx, n_audio_state)`, heads `(n_heads, 2)` of layer and head -> scores before the softmax,
        `(n_heads, n, n_audio_ctx)`, and final states `(n, n_state)`, which `logits` understands.
        """
        cache = self.new_cache(features[None])
        scores = np.empty((len(heads), len(tokens), self.dims.n_audio_ctx), np.float32)
        x = self._embed(tokens[None], cache, None)
        d_head = self.dims.n_text_state // self.dims.n_text_head
        for layer, block in enumerate(self.blocks):
            x = block.attend(x, cache, layer, None)
            queries = block.queries(x)
            for i in np.flatnonzero(heads[:, 0] == layer):
                head = int(heads[i, 1])
                # one head's pages of keys are a packed matrix (n_audio_ctx, d_head)
                panels = np.ascontiguousarray(cache.cross_layers[layer].key_panels(head, cache.cross_pages[0]))
                matrix = simd.PackedMatrix(panels.dtype.name, (scores.shape[2], d_head), panels)
                scores[i] = simd.linear(queries[0, :, head * d_head : (head + 1) * d_head], matrix)
            x = block.finish(x, queries, cache, layer)
        scores *= np.float32(d_head**-0.5)
        return scores, x[0]

    def _embed(self, tokens: npt.NDArray[np.integer[Any]], cache: DecoderCache, counts: Indices | None) -> FloatArray:
        """The first states of new tokens; the cache's rows become as long as they will be."""
        n_row, n_new = tokens.shape
        if n_row != cache.n_row or n_new < 1:
            raise ValueError(f"tokens must have shape ({cache.n_row}, at least 1), not {tokens.shape}")
        if counts is not None and (counts.shape != (n_row,) or counts.min() < 1 or counts.max() > n_new):
            raise ValueError(f"counts must be ({n_row},) numbers from 1 to {n_new}")
        lengths = cache.lengths + (n_new if counts is None else counts)
        if lengths.max() > self.dims.n_text_ctx:
            raise ValueError(f"the text context holds {self.dims.n_text_ctx} tokens; {lengths.max()} were given")
        try:
            x = self.tokens.weight.rows(tokens)
        except IndexError as error:
            raise ValueError(f"a token must be from 0 to {self.dims.n_vocab - 1}: {error}") from error
        cache.lengths[:] = lengths
        places = lengths[:, None] + np.arange(-n_new, 0, dtype=np.int32)
        x += self.positions[places if counts is None else np.maximum(places, 0)]
        return x

    def _read_one(self, tokens: npt.NDArray[np.integer[Any]], cache: DecoderCache) -> FloatArray:
        """One token a row: the first time its calls are recorded, from then on they are made again at the cost of one."""
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
