"""Byte-pair encoding as tiktoken does it for GPT-2 and Whisper: text -> pieces -> UTF-8 bytes -> tokens, and back.

A text is first cut into pieces by GPT-2's pattern (a word with the space before it, a number, a run of signs ...). A
piece that is a token is done. Otherwise its bytes are one token each; then, again and again, the two neighbours whose
union has the lowest rank are merged, the leftmost first among equals, until no union is a token. A token's number is its
rank.

What is a letter, a number or white space follows Unicode 16.0 on every Python, as in tiktoken 0.14. `unicodedata` knows
Unicode 14.0 in Python 3.11, 15.0 in 3.12, 15.1 in 3.13 and 16.0 in 3.14: the older ones would cut thousands of newer
letters differently.
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

_ASSETS = Path(__file__).parent.parent / "assets"
_MAX_BYTES = 8 << 20  # of a vocabulary unpacked; Whisper's has 0.4 MiB
_MAX_TOKENS = 200_000
_COUNT = struct.Struct("<I")

# GPT-2's pattern, `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, for a text in which
# _unicode_classes has put one ASCII character in the place of every letter, number and white space beyond ASCII.
_PIECE = re.compile(r"'(?:[stmd]|re|ve|ll)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII)


@lru_cache(maxsize=1)
def _unicode_classes() -> bytes:
    """What `_PIECE` is to see for each code point: ASCII itself, `A` a letter, `0` a number, tab white space, `!` other.

    It ends after the last letter; `str.translate` leaves what lies beyond as it is, and `_PIECE` takes it for a sign.
    """
    return zlib.decompress((_ASSETS / "unicode_classes.z").read_bytes())


def split(text: str) -> list[str]:
    """Cut a text into the pieces that tokens never cross. Joined, they are the text."""
    if text.isascii():
        return _PIECE.findall(text)
    return [text[m.start() : m.end()] for m in _PIECE.finditer(text.translate(_unicode_classes()))]


def packed_vocabulary(name: str) -> bytes:
    """A vocabulary that comes with the package, `gpt2` or `multilingual`, as `pack_vocabulary` makes one."""
    return (_ASSETS / f"{name}.tokens.z").read_bytes()


def pack_vocabulary(tokens: Sequence[bytes]) -> bytes:
    """Ordinary tokens in the order of their ranks, each of at most 255 bytes, as one piece of data.

    It is zlib over: the number of tokens (uint32, little-endian), the length of each (a byte), then their bytes.
    """
    return zlib.compress(b"".join([_COUNT.pack(len(tokens)), bytes(map(len, tokens)), *tokens]), 9)


def unpack_vocabulary(data: bytes, where: str = "model") -> list[bytes]:
    """Return the tokens that `pack_vocabulary` packed.

    A token may be empty or occur twice; encoding then uses the first occurrence.

    Args:
        data: The packed vocabulary.
        where: Names the file in error messages.

    Raises:
        FormatError: If the data is damaged, or one of the 256 single bytes is not a token.
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
    """The tokens of a vocabulary that comes with the package, `gpt2` or `multilingual`, and their ranks, in order."""
    return {token: rank for rank, token in enumerate(unpack_vocabulary(packed_vocabulary(name)))}


class Encoding:
    """A vocabulary: ordinary tokens with their ranks, and after them the special tokens, in order.

    tokens: the bytes of each ordinary token, in the order of their ranks; every single byte is among them.
    special_tokens: names of the tokens that stand for no text, such as `<|endoftext|>`. ranks: of the tokens, where the
    caller has them.
    """

    def __init__(
        self, tokens: Sequence[bytes], special_tokens: Sequence[str], ranks: Mapping[bytes, int] | None = None
    ) -> None:
        self.special_tokens: dict[str, int] = {name: len(tokens) + i for i, name in enumerate(special_tokens)}
        self._ranks = ranks or {token: rank for rank, token in reversed([*enumerate(tokens)])}
        self._bytes = [*tokens, *(name.encode() for name in special_tokens)]

    @property
    def n_vocab(self) -> int:
        """How many tokens there are, special ones included."""
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        """The tokens of any text, exactly as tiktoken's `encode_ordinary` gives them.

        The name of a special token, such as `<|endoftext|>`, is ordinary text here and never becomes that token. A
        pair of surrogates counts as the character that it stands for, and a lone surrogate as U+FFFD, as in tiktoken.
        """
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
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
        """The tokens of a piece that is not one token. O(n log n): hostile text may be one word without an end."""
        ranks, size = self._ranks, len(piece)
        # A part is known by where it starts: there `stop` holds where it ends, `before` where its left neighbour starts.
        stop = list(range(1, size + 1))
        before = list(range(-1, size - 1))
        # Pairs that are tokens, lowest rank first, then leftmost. Merging makes entries stale: they are passed over later.
        pairs = [(rank, i) for i in range(size - 1) if (rank := ranks.get(piece[i : i + 2])) is not None]
        heapify(pairs)
        while pairs:
            rank, start = heappop(pairs)
            middle = stop[start]
            if not start < middle < size:  # merged away, or no right neighbour
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
        """The bytes of the tokens; a special token's are its name. OptionError where a number is no token."""
        ids = list(tokens)
        for token in ids:
            if not 0 <= token < len(self._bytes):
                raise OptionError(f"{token} is not a token: this vocabulary's go from 0 to {len(self._bytes) - 1}")
        return b"".join([self._bytes[token] for token in ids])

    def decode(self, tokens: Iterable[int]) -> str:
        """The text that the tokens stand for. Bytes that are not UTF-8, such as half a character, become U+FFFD."""
        return self.decode_bytes(tokens).decode("utf-8", "replace")
