"""The decoder's KV cache, in pages of 16 positions that a page table refers to.

A beam continues from another one's past by referring to its pages, which are copied when they are written. The keys and
values of the audio are computed once and shared by its rows. A `CachePool` has room for several audios, each of which
can be replaced by another one at any time.
"""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import simd
from ..checkpoint import ModelDimensions
from .layers import FloatArray

Indices = npt.NDArray[np.int32]


class CacheStorage:
    """Pages of 16 positions with the keys and values of every layer, for self-attention and cross-attention."""

    def __init__(self, dims: ModelDimensions, n_audio: int, n_ctx: int, n_row: int, dtype: npt.DTypeLike) -> None:
        n_head, d_head, n_layer = dims.n_text_head, dims.n_text_state // dims.n_text_head, dims.n_text_layer
        self.n_page = -(-dims.n_text_ctx // simd.PAGE)  # of a row
        n_cross = -(-n_ctx // simd.PAGE)  # of an audio
        self.layers = [simd.new_kv_cache(n_row * self.n_page, n_head, d_head, dtype) for _ in range(n_layer)]
        self.audio_pages: Indices = np.arange(n_audio * n_cross, dtype=np.int32).reshape(n_audio, n_cross)
        self.cross_layers = simd.new_kv_caches(n_layer, self.audio_pages.size, n_head, d_head, dtype)
        self.audio_lengths: Indices = np.full(n_audio, n_ctx, np.int32)  # positions of each audio, at most n_ctx


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
        cls, dims: ModelDimensions, n_audio: int, n_ctx: int, beams: int, dtype: npt.DTypeLike = np.float32
    ) -> "DecoderCache":
        """Return an empty cache of `n_audio * beams` rows, for audio with `n_ctx` positions."""
        n_row = n_audio * beams
        storage = CacheStorage(dims, n_audio, n_ctx, n_row, dtype)
        pages = np.arange(n_row * storage.n_page, dtype=np.int32).reshape(n_row, storage.n_page)
        audio = np.repeat(np.arange(n_audio, dtype=np.int32), beams)
        return cls(storage, np.zeros(n_row, np.int32), pages, audio)

    def _group_rows(self) -> None:
        """If every audio has equally many rows, batch them as the queries of one cross-attention call."""
        begins = np.flatnonzero(np.diff(self.audio, prepend=-1))
        sizes = np.diff(begins, append=self.n_row)
        self.group = int(sizes[0]) if len(sizes) and (sizes == sizes[0]).all() else 1
        self.cross_pages: Indices = self.storage.audio_pages[self.audio[:: self.group]]
        self.cross_lengths: Indices = self.storage.audio_lengths[self.audio[:: self.group]]
        self.step: CapturedStep | None = None

    @property
    def n_row(self) -> int:
        """The number of rows."""
        return len(self.lengths)

    @property
    def length(self) -> int:
        """Tokens read by the longest row."""
        return int(self.lengths.max(initial=0))

    @classmethod
    def join(cls, caches: Sequence["DecoderCache"]) -> "DecoderCache":
        """Return a cache of the rows of all `caches`, which share a storage.

        Their lengths and page tables become views of its own, so that each may still be reordered by itself.
        """
        if len(caches) == 1:
            return caches[0]
        lengths, pages, audio = (
            np.concatenate([getattr(cache, name) for cache in caches]) for name in ("lengths", "pages", "audio")
        )
        end = 0
        for cache in caches:
            start, end = end, end + cache.n_row
            cache.lengths, cache.pages, cache.step = lengths[start:end], pages[start:end], None
        return cls(caches[0].storage, lengths, pages, audio)

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


class CapturedStep:
    """The kernel calls of decoding one token per row, captured as a graph, with its input and output."""

    def __init__(self, n_row: int, width: int) -> None:
        self.x = np.empty((n_row, 1, width), np.float32)
        self.logits: FloatArray | None = None
        self.graph = simd.Graph()


class AudioSlot:
    """The place of one audio in a pool: pages for its keys and values, and for its rows.

    Attributes:
        prompt: The tokens that its first row has read, for others to continue from; None if there are none.
        prompt_logits: The logits after them, `(n_position, n_vocab)`.
    """

    def __init__(self, storage: CacheStorage, index: int, n_row: int) -> None:
        """Make the slot with number `index` of a storage that has `n_row` rows for each."""
        self._storage = storage
        self._index = index
        self._n_row = n_row
        self._features: weakref.ref[FloatArray] | None = None
        self.prompt: tuple[int, ...] | None = None
        self.prompt_logits: FloatArray | None = None

    def prepare(self, features: FloatArray) -> None:
        """Prepare for another audio, with features `(n_ctx, n_audio_state)`."""
        self._storage.audio_lengths[self._index] = len(features)
        self._features = weakref.ref(features)
        self.prompt = self.prompt_logits = None

    def holds(self, features: FloatArray) -> bool:
        """Return whether the slot has the keys and values of this array."""
        return self._features is not None and self._features() is features

    def rows(self, n_row: int) -> DecoderCache:
        """Return a cache of the first `n_row` rows, without tokens. It replaces those returned before."""
        n_page, first = self._storage.n_page, self._index * self._n_row
        pages = np.arange(first * n_page, (first + n_row) * n_page, dtype=np.int32).reshape(n_row, n_page)
        audio = np.full(n_row, self._index, np.int32)
        return DecoderCache(self._storage, np.zeros(n_row, np.int32), pages, audio)


class CachePool:
    """A KV cache for a changing set of audios. Each is in a slot, which another one takes when it is finished."""

    def __init__(self, dims: ModelDimensions, n_slot: int, n_row: int, dtype: npt.DTypeLike = np.float32) -> None:
        """Make a pool of `n_slot` slots with `n_row` rows each."""
        storage = CacheStorage(dims, n_slot, dims.n_audio_ctx, n_slot * n_row, dtype)
        self._free = [AudioSlot(storage, i, n_row) for i in reversed(range(n_slot))]

    def free_slot(self, features: FloatArray) -> AudioSlot | None:
        """Return the free slot that has the keys and values of this array, or None if there is none."""
        return next((slot for slot in self._free if slot.holds(features)), None)

    @contextmanager
    def slot(self) -> Iterator[AudioSlot]:
        """Return a slot that no other audio has. It is free again at the end of the `with` block."""
        slot = self._free.pop()
        try:
            yield slot
        finally:
            self._free.append(slot)
