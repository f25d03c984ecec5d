"""Byte-pair encoding, exactly as tiktoken does it for GPT-2 and Whisper (Sennrich et al. 2016).

GPT-2's pattern first splits a text into pieces: a word with the space before it, a number, a run of punctuation marks
... A piece that is a token is encoded as that token. Otherwise each of its bytes is a token at first; then the two
neighbors whose concatenation has the lowest rank are merged, the leftmost of equals first, until no concatenation is a
token. A token's id is its rank.

Letters, numbers and white space are those of Unicode 16.0 on every Python, as in tiktoken 0.14. `unicodedata` has
Unicode 14.0 in Python 3.11, 15.0 in 3.12, 15.1 in 3.13 and 16.0 in 3.14, so that older versions would split thousands
of newer letters differently.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import accumulate, pairwise
from pathlib import Path

from whisper_apr.errors import FormatError, OptionError
from whisper_apr.option_values import shown

_ASSETS = Path(__file__).parent.parent / "assets"
_MAX_BYTES = 8 << 20  # of an unpacked vocabulary; Whisper's has 0.4 MiB
_MAX_TOKENS = 200_000
_COUNT = struct.Struct("<I")

# GPT-2's pattern, `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, for a text in which
# every character beyond ASCII is replaced by an ASCII one of its class, see _unicode_classes.
_PIECE = re.compile(r"'(?:[stmd]|re|ve|ll)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII)


@lru_cache(maxsize=1)
def _unicode_classes() -> bytes:
    """Return the table for `str.translate` that replaces each code point by an ASCII character of its class.

    ASCII is unchanged; a letter becomes `A`, a number `0`, white space a tab, and everything else `!`. The table ends
    after the last letter; `str.translate` leaves code points beyond it unchanged, and `_PIECE` treats them as "other".
    """
    return zlib.decompress((_ASSETS / "unicode_classes.z").read_bytes())


def split(text: str) -> list[str]:
    """Split a text into the pieces that tokens never cross; joined, they are the text."""
    if text.isascii():
        return _PIECE.findall(text)
    return [text[m.start() : m.end()] for m in _PIECE.finditer(text.translate(_unicode_classes()))]


def packed_vocabulary(name: str) -> bytes:
    """Return a packaged vocabulary, `gpt2` or `multilingual`, in the format of `pack_vocabulary`."""
    return (_ASSETS / f"{name}.tokens.z").read_bytes()


def pack_vocabulary(tokens: Sequence[bytes]) -> bytes:
    """Pack ordinary tokens, in the order of their ranks and of at most 255 bytes each, into one byte string.

    Returns:
        A zlib stream of the number of tokens (uint32, little-endian), the length of each token (uint8), and their
        bytes.
    """
    return zlib.compress(b"".join([_COUNT.pack(len(tokens)), bytes(map(len, tokens)), *tokens]), 9)


def unpack_vocabulary(data: bytes, where: str = "model") -> list[bytes]:
    """Return the tokens that `pack_vocabulary` packed.

    A token may be empty or occur twice; encoding then uses the first occurrence.

    Args:
        data: The packed vocabulary.
        where: Names the file in error messages.

    Raises:
        FormatError: The data is damaged, or one of the 256 single bytes is not a token.
    """
    try:
        unpacked = zlib.decompressobj().decompress(data, _MAX_BYTES)
    except zlib.error as error:
        raise FormatError(f"{where}: the vocabulary is damaged ({error})") from error
    count = _COUNT.unpack_from(unpacked)[0] if len(unpacked) >= _COUNT.size else 0
    first = _COUNT.size + count
    lengths = unpacked[_COUNT.size : first]
    if not 0 < count <= _MAX_TOKENS or first + sum(lengths) != len(unpacked):
        raise FormatError(f"{where}: the vocabulary is damaged: {count} tokens in {len(unpacked)} bytes")
    tokens = [unpacked[start:end] for start, end in pairwise(accumulate(lengths, initial=first))]
    missing = {bytes([value]) for value in range(256)}.difference(tokens)
    if missing:
        raise FormatError(
            f"{where}: the vocabulary lacks {len(missing)} of the 256 bytes, so it cannot encode every text"
        )
    return tokens


@lru_cache(maxsize=2)
def load_ranks(name: str) -> dict[bytes, int]:
    """Return the ordinary tokens of a packaged vocabulary, `gpt2` or `multilingual`, and their ranks, in order."""
    return {token: rank for rank, token in enumerate(unpack_vocabulary(packed_vocabulary(name)))}


class Encoding:
    """A vocabulary: ordinary tokens, followed by special tokens.

    Args:
        tokens: The bytes of each ordinary token, in the order of their ranks, every single byte among them.
        special_tokens: The ids of the tokens that do not stand for text, such as `<|endoftext|>`, by name and in order.
        ranks: The ranks of the ordinary tokens, if the caller has them already.
        added: The ids of tokens of text that were added behind them, by their text.
        n_vocab: Number of tokens, if some at the end have no name; they stand for nothing.

    Attributes:
        special_tokens: The ids of the special tokens by name.
        added: The ids of the added tokens of text.
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        special_tokens: Mapping[str, int],
        ranks: Mapping[bytes, int] | None = None,
        added: Mapping[str, int] | None = None,
        n_vocab: int = 0,
    ) -> None:
        self.special_tokens = dict(special_tokens)
        self.added = dict(added or {})
        self._ranks = ranks or {token: rank for rank, token in reversed([*enumerate(tokens)])}
        named = self.special_tokens | self.added
        size = max(n_vocab, len(tokens), *(token + 1 for token in named.values()))
        self._bytes = [*tokens, *[b""] * (size - len(tokens))]
        for name, token in named.items():
            self._bytes[token] = name.encode()
        longest_first = sorted(self.added, key=len, reverse=True)
        self._added_pattern = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if self.added else None

    @property
    def n_vocab(self) -> int:
        """Number of tokens, including special ones."""
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        """Encode a text, exactly as tiktoken's `encode_ordinary` does.

        The text of an added token becomes that token, the longest one if several begin at the same place. The name of a
        special token, such as `<|endoftext|>`, is encoded as ordinary text. A surrogate pair is encoded as its
        character, and a lone surrogate as U+FFFD, as in tiktoken.

        Raises:
            OptionError: `text` is not a string.
        """
        if not isinstance(text, str):
            raise OptionError(f"text must be a string, not {shown(text)}")
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if self._added_pattern is None:
            return self._encode_ordinary(text)
        tokens: list[int] = []
        for part in self._added_pattern.split(text):
            tokens += [self.added[part]] if part in self.added else self._encode_ordinary(part)
        return tokens

    def _encode_ordinary(self, text: str) -> list[int]:
        """Encode a text with ordinary tokens only."""
        tokens: list[int] = []
        for piece in split(text):
            data = piece.encode()
            rank = self._ranks.get(data)
            if rank is not None:
                tokens.append(rank)
            else:
                tokens += self._merge(data)
        return tokens

    def _merge(self, piece: bytes) -> list[int]:
        """Encode a piece that is not a single token, in O(n log n), because a hostile text may be one endless word."""
        ranks, size = self._ranks, len(piece)
        # A part is identified by its start: there `stop` has its end, and `before` the start of its left neighbor.
        stop = list(range(1, size + 1))
        before = list(range(-1, size - 1))
        # A heap of the pairs that are tokens: lowest rank first, then leftmost. Stale entries are skipped when popped.
        pairs = [(rank, i) for i in range(size - 1) if (rank := ranks.get(piece[i : i + 2])) is not None]
        heapify(pairs)
        while pairs:
            rank, start = heappop(pairs)
            middle = stop[start]
            if not start < middle < size:  # merged into its left neighbor, or without a right one
                continue
            end = stop[middle]
            if piece[start:end] != self._bytes[rank]:  # one of the two has grown since
                continue
            stop[start], stop[middle] = end, 0
            if end < size:
                before[end] = start
                if (rank_right := ranks.get(piece[start : stop[end]])) is not None:
                    heappush(pairs, (rank_right, start))
            left = before[start]
            if left >= 0 and (rank_left := ranks.get(piece[left:end])) is not None:
                heappush(pairs, (rank_left, left))
        tokens = []
        start = 0
        while start < size:
            tokens.append(ranks[piece[start : stop[start]]])
            start = stop[start]
        return tokens

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """Return the bytes of tokens; those of a special token are its name.

        Raises:
            OptionError: An id is not in the vocabulary.
        """
        ids = list(tokens)
        for token in ids:
            if not 0 <= token < len(self._bytes):
                raise OptionError(f"{token} is not a token: this vocabulary has ids from 0 to {len(self._bytes) - 1}")
        return b"".join([self._bytes[token] for token in ids])

    def decode(self, tokens: Iterable[int]) -> str:
        """Decode tokens to text. Bytes that are not valid UTF-8, such as half a character, become U+FFFD."""
        return self.decode_bytes(tokens).decode("utf-8", "replace")
