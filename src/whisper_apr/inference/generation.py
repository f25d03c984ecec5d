"""Generate the tokens of several windows together, one token of each at a time (continuous batching).

Each weight is read from memory once per step for all windows. A window that is finished leaves at once, and another one
may join at any step, so that the batch stays full. What is generated for a window does not depend on the others.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from .. import simd
from ..model.decoder import TextDecoder
from ..model.decoder_cache import AudioSlot, DecoderCache
from .logit_filters import LogitFilter, Tokens
from .repetition import loop_continuation
from .search import Candidates, Search

FloatArray = simd.FloatArray

STUCK_STEP = 4  # tokens between checks whether candidates are stuck, which cost more the longer they are
LOOP_DRAFT = 11  # tokens of a loop that are read ahead: with the one before them as many as a register block has rows


@dataclass(frozen=True)
class Prompt:
    """What the decoder reads before it generates tokens.

    Attributes:
        tokens: Ending with those that the result begins with.
        n_from_sot: The number of tokens from `<|startoftranscript|>` to the end.
        n_prefix: The number of tokens at the end that belong to the result.
        draft: Tokens that are expected after them. They are read with the prompt and, as far as they are those that
            are chosen, need no step of their own (speculative decoding, Leviathan et al. 2023).
    """

    tokens: tuple[int, ...]
    n_from_sot: int
    n_prefix: int = 0
    draft: tuple[int, ...] = ()


class Generation:
    """The candidates for the text of one window, while they are generated."""

    def __init__(
        self,
        slot: AudioSlot,
        prompt: Prompt,
        search: Search,
        n_row: int,
        logit_filters: Sequence[LogitFilter],
        max_tokens: int,
        is_stuck: Callable[[Sequence[int]], bool] | None = None,
        timestamps: range = range(0),
    ) -> None:
        """Prepare to generate.

        Args:
            slot: Where the window's audio is.
            prompt: What is read first.
            search: Chooses tokens.
            n_row: Candidates that are generated at the same time.
            logit_filters: Applied in order before each token is chosen.
            max_tokens: The most tokens of a candidate, with its prefix.
            is_stuck: Whether a candidate with these tokens need not be continued; None to continue all.
            timestamps: The tokens that are timestamps, to guess how a loop goes on.
        """
        self.slot = slot
        self.prompt = prompt
        self.cache = slot.rows(n_row)
        self._search = search
        self._logit_filters = logit_filters
        self._max_tokens = max_tokens
        self._is_stuck = is_stuck
        self._timestamps = timestamps
        self._draft = prompt.draft[: max(0, max_tokens - prompt.n_prefix - 1)]  # the last token is not read
        self._draft_logits: FloatArray | None = None  # after the prompt and each token of the draft
        prefix = prompt.tokens[len(prompt.tokens) - prompt.n_prefix :]
        self.sampled: Tokens = np.tile(np.array(prefix, np.int64), (n_row, 1))  # (n_row, n)

    def read_prompt_and_draft(self, decoder: TextDecoder) -> bool:
        """Read the prompt with its draft. Returns False without a draft, or if there are several rows."""
        n = len(self._draft)
        if not n or self.cache.n_row > 1:
            return False
        tokens = np.array([[*self.prompt.tokens, *self._draft]])
        logits = decoder(tokens, self.cache, (-n - self.prompt.n_from_sot, *range(-n - 1, 0)))[0]
        self.slot.prompt, self.slot.prompt_logits = self.prompt.tokens, logits[:2].copy()
        self._draft_logits = logits[1:]
        return True

    def read_loop(self, decoder: TextDecoder) -> bool:
        """Read the last token of a text in a loop, with a draft of those after it.

        A text that repeats itself up to `max_tokens` thus takes a fraction of the steps. Returns False without a loop,
        or if there are several rows.
        """
        n = min(LOOP_DRAFT, self._max_tokens - self.sampled.shape[1] - 1)
        if self.cache.n_row > 1:
            return False
        draft = loop_continuation(self.sampled[0].tolist(), n, self._timestamps)  # empty if n is 0
        if not draft:
            return False
        self._draft = tuple(draft)
        self._draft_logits = decoder(np.array([[self.sampled[0, -1], *draft]]), self.cache, slice(None))[0]
        return True

    def choose_from_draft(self) -> bool:
        """Choose tokens as long as they are those of the draft that was read, and one more; see `choose`."""
        assert self._draft_logits is not None
        logits, self._draft_logits = self._draft_logits, None
        done = self.choose(logits[:1])
        for i, token in enumerate(self._draft):
            if done or self.sampled[0, -1] != token:
                break
            done = self.choose(logits[i + 1 : i + 2])
        n_chosen = self.sampled.shape[1] - self.prompt.n_prefix
        self.cache.lengths[:] = len(self.prompt.tokens) + n_chosen - 1  # the rest of the draft is forgotten
        return done

    def start(self) -> bool:
        """Choose the first token, after the prompt in the slot; see `choose`."""
        if self._draft_logits is not None:
            return self.choose_from_draft()
        assert self.slot.prompt_logits is not None
        self.cache.share_first_rows(np.array([len(self.prompt.tokens)], np.int32))
        return self.choose(np.repeat(self.slot.prompt_logits[-1:], len(self.sampled), axis=0))

    def choose(self, logits: FloatArray) -> bool:
        """Choose the next token of each row, and return whether the candidates are finished.

        Args:
            logits: `(n_row, n_vocab)`, which are overwritten.
        """
        for logit_filter in self._logit_filters:
            logit_filter.apply(logits, self.sampled)
        self.sampled, done = self._search.update(self.sampled, logits, self.cache)
        return bool(done[0]) or self.sampled.shape[1] >= self._max_tokens or self._all_stuck()

    def _all_stuck(self) -> bool:
        if self._is_stuck is None or self.sampled.shape[1] % STUCK_STEP:
            return False
        return all(self._search.has_ended(row) or self._is_stuck(row) for row in self.sampled.tolist())

    def finish(self) -> tuple[Candidates, list[float]]:
        """Return the candidates, which begin with the prefix, and the log-probabilities of the tokens after it."""
        return self._search.finish(0, self.sampled)


R = TypeVar("R")

# Yields what is to be generated, and is resumed when it is finished. Returns a window's result.
Decoding = Generator[Generation, None, R]


@dataclass(eq=False)
class _Member(Generic[R]):
    """A window in the batch."""

    index: int
    decoding: Decoding[R]
    generation: Generation


class ContinuousBatch(Generic[R]):
    """Windows that are decoded together."""

    def __init__(
        self, decoder: TextDecoder, size: int, n_row: int, check_cancelled: Callable[[], object] = lambda: None
    ) -> None:
        """Make an empty batch.

        Args:
            decoder: The network.
            size: The most windows at a time.
            n_row: The most candidates of a window.
            check_cancelled: Called before every token; an exception that it raises is passed on.
        """
        self._decoder = decoder
        self._pool = decoder.new_pool(size, n_row)
        self._check_cancelled = check_cancelled
        self._members: list[_Member[R]] = []
        self._joined: list[tuple[list[_Member[R]], DecoderCache]] | None = None  # by the number of rows
        self._finished: list[tuple[int, R]] = []
        self._n_added = 0

    def __len__(self) -> int:
        """Return the number of windows that are not finished."""
        return len(self._members)

    @contextmanager
    def slot(self, features: FloatArray) -> Iterator[AudioSlot]:
        """Return a slot with the audio of a window, `(n_ctx, n_audio_state)`, for a decoding to generate tokens in."""
        with self._pool.slot() as slot:
            self._decoder.fill_slot(slot, features)
            yield slot

    def audio_cache(self, features: FloatArray) -> DecoderCache:
        """Return a cache of one row without tokens for the audio of a window that is finished.

        Its keys and values are computed again only if another window has taken its slot. The cache is valid until then.
        """
        slot = self._pool.free_slot(features)
        return self._decoder.audio_cache(features) if slot is None else slot.rows(1)

    def add(self, decodings: Sequence[Decoding[R]]) -> list[int]:
        """Let windows join, and return their numbers, by which `step` refers to them."""
        first, self._n_added = self._n_added, self._n_added + len(decodings)
        numbers = range(first, self._n_added)
        self._resume(list(zip(numbers, decodings, strict=True)))
        return list(numbers)

    def cancel(self, number: int) -> None:
        """Remove a window that is not finished."""
        for member in self._members:
            if member.index == number:
                member.decoding.close()
        self._members = [member for member in self._members if member.index != number]
        self._joined = None

    def close(self) -> None:
        """Remove all windows. A decoding that refers to the batch would keep it, with its KV cache, in a cycle."""
        for member in self._members:
            member.decoding.close()
        self._members, self._joined = [], None

    def step(self) -> list[tuple[int, R]]:
        """Generate one token of each window, and return the numbers and results of those that are finished."""
        ended: list[_Member[R]] = []
        if self._members:
            self._check_cancelled()
        for members, cache in self._by_rows():
            # several windows share what a step costs, so that fewer steps of one would save little
            if len(members) == 1 and members[0].generation.read_loop(self._decoder):
                ended += members if members[0].generation.choose_from_draft() else []
                continue
            tokens = np.concatenate([member.generation.sampled[:, -1:] for member in members])
            logits = self._decoder(tokens, cache)[:, 0].reshape(len(members), -1, self._decoder.dims.n_vocab)
            ended += [member for member, own in zip(members, logits, strict=True) if member.generation.choose(own)]
        self._leave(ended)
        finished, self._finished = self._finished, []
        return finished

    def run(self, decodings: Sequence[Decoding[R]]) -> list[R]:
        """Return the results of windows that are decoded together, without others."""
        numbers, results = self.add(decodings), dict[int, R]()
        while len(results) < len(numbers):
            results |= dict(self.step())
        return [results[number] for number in numbers]

    def _by_rows(self) -> list[tuple[list[_Member[R]], DecoderCache]]:
        """Return the windows, and the caches that they share, by their number of rows.

        Equally many rows of each audio are the queries of one cross-attention.
        """
        if self._joined is None:
            by_rows: dict[int, list[_Member[R]]] = {}
            for member in self._members:
                by_rows.setdefault(member.generation.cache.n_row, []).append(member)
            self._joined = [
                (members, DecoderCache.join([member.generation.cache for member in members]))
                for members in by_rows.values()
            ]
        return self._joined

    def _leave(self, ended: list[_Member[R]]) -> None:
        if ended:
            self._members = [member for member in self._members if member not in ended]
            self._joined = None
            self._resume([(member.index, member.decoding) for member in ended])

    def _resume(self, decodings: list[tuple[int, Decoding[R]]]) -> None:
        """Run decodings up to what they generate next, and read the prompts of that."""
        members = []
        for index, decoding in decodings:
            try:
                members.append(_Member(index, decoding, next(decoding)))
            except StopIteration as stop:
                self._finished.append((index, stop.value))
        if not members:
            return
        self._check_cancelled()
        self._read_prompts([member.generation for member in members])
        self._members += members
        self._joined = None
        self._leave([member for member in members if member.generation.start()])

    def _read_prompts(self, generations: Sequence[Generation]) -> None:
        """Read prompts that are not in their slot yet, those with equally many initial tokens together."""
        new = [each for each in generations if each.slot.prompt != each.prompt.tokens]
        new = [each for each in new if not each.read_prompt_and_draft(self._decoder)]
        for n_from_sot in {each.prompt.n_from_sot for each in new}:
            group = [each for each in new if each.prompt.n_from_sot == n_from_sot]
            lengths = np.array([len(each.prompt.tokens) for each in group], np.int32)
            tokens = np.zeros((len(group), lengths.max()), np.int64)
            for row, each in zip(tokens, group, strict=True):
                row[len(row) - len(each.prompt.tokens) :] = each.prompt.tokens
            counts = None if (lengths == lengths[0]).all() else lengths
            cache = DecoderCache.join([each.slot.rows(1) for each in group])
            logits = self._decoder(tokens, cache, (-n_from_sot, -1), counts)
            for each, after in zip(group, logits, strict=True):
                each.slot.prompt, each.slot.prompt_logits = each.prompt.tokens, after
