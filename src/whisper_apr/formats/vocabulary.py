"""Which tokens a model's numbers are: those that come with the package, or the model's own.

Of a model's own the ordinary tokens are kept. The special ones follow them, in Whisper's order: where a source says otherwise, it is refused.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..checkpoint import ModelDimensions
from ..errors import FormatError
from ..tokenizer.bpe import load_ranks, pack_vocabulary, packed_vocabulary
from ..tokenizer.kind import LARGEST_SIZE, own_kind, tokenizer_kind
from ..tokenizer.tokenizer import special_names
from .files import read_json

END_OF_TEXT = "<|endoftext|>"  # the first special token
MAX_VOCABULARY = 3 << 20  # bytes of a JSON file; large-v3-turbo's tokenizer.json has 2.6 MiB


def _own_tokens(dims: ModelDimensions) -> list[bytes]:
    kind = own_kind(dims.n_vocab)
    return [] if kind == "unknown" else list(load_ranks(kind))


def check_vocabulary(packed: bytes, dims: ModelDimensions, where: str) -> bytes:
    """A packed vocabulary that a file holds, or nothing where it is the one that comes with the package. Raises FormatError."""
    kind = own_kind(dims.n_vocab)
    if kind != "unknown" and packed == packed_vocabulary(kind):
        return b""
    try:
        tokenizer_kind(dims.n_vocab, packed)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
    return packed


def vocabulary_of(tokens: Sequence[bytes], dims: ModelDimensions, where: str) -> bytes:
    """The packed vocabulary of a file's tokens, in the order of their numbers; nothing where it has none, or the package's own.

    What follows the ordinary tokens is left out. Raises FormatError for tokens that cannot be the model's.
    """
    own, end = _own_tokens(dims), END_OF_TEXT.encode()
    if end in tokens:
        tokens = tokens[: tokens.index(end)]
    elif own:  # a model of Whisper's size: it has as many ordinary tokens, and those that are not named are Whisper's
        tokens = [*tokens[: len(own)], *own[len(tokens) :]]
    # the multilingual vocabulary's last token is empty, and left out by some
    if not tokens or [*tokens, *[b""] * (len(own) - len(tokens))] == own:
        return b""
    if any(len(token) > 255 for token in tokens):
        raise FormatError(f"{where}: its vocabulary holds a token of more than 255 bytes")
    return check_vocabulary(pack_vocabulary(tokens), dims, where)


# ---- Hugging Face's files -------------------------------------------------------------------------------------------


@cache
def _bytes_of_signs() -> dict[str, int]:
    """GPT-2's way of writing bytes as text: those that can be seen stand for themselves, the others for what follows U+00FF, in order."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    unseen = [value for value in range(256) if value not in seen]
    return {chr(value): value for value in seen} | {chr(256 + i): value for i, value in enumerate(unseen)}


def _as_bytes(text: str) -> bytes:
    signs = _bytes_of_signs()
    if all(sign in signs for sign in text):
        return bytes(signs[sign] for sign in text)
    return text.encode("utf-8", "replace")


def read_vocabulary(folder: Path, dims: ModelDimensions) -> bytes:
    """The packed vocabulary of a folder with `vocab.json` or `tokenizer.json`; nothing where it has neither, or the package's own.

    Raises FormatError where it is damaged or cannot be the model's.
    """
    path = folder / "vocab.json"
    if path.exists():
        numbers = read_json(path, MAX_VOCABULARY)
        added = folder / "added_tokens.json"
        numbers = numbers | (read_json(added) if added.exists() else {})
    else:
        path = folder / "tokenizer.json"
        if not path.exists():
            return b""
        numbers = _numbers_of(read_json(path, MAX_VOCABULARY), path)
    if not all(isinstance(text, str) and isinstance(n, int) and n >= 0 for text, n in numbers.items()):
        raise FormatError(f"{path}: holds a token whose number is none")
    own = _own_tokens(dims)
    end = numbers.get(END_OF_TEXT, len(own))
    if not 0 < end <= dims.n_vocab:
        raise FormatError(
            f"{path}: {END_OF_TEXT} has no number, or one that the model of {dims.n_vocab} tokens has not"
        )
    # a number that is not named is Whisper's token, or stands for nothing
    tokens = own[:end] + [b""] * (end - len(own))
    for text, number in numbers.items():
        if number < end:
            tokens[number] = _as_bytes(text)
    vocabulary = vocabulary_of([*tokens, END_OF_TEXT.encode()], dims, str(path))
    if vocabulary or dims.n_vocab > LARGEST_SIZE:
        _check_special(numbers, end, tokenizer_kind(dims.n_vocab, vocabulary)[1], path)
    return vocabulary


def _numbers_of(content: Mapping[str, Any], path: Path) -> dict[str, int]:
    """The tokens in a `tokenizer.json`, with their numbers. Raises FormatError."""
    try:
        numbers: dict[str, int] = dict(content["model"]["vocab"])
        return numbers | {str(token["content"]): token["id"] for token in content.get("added_tokens", ())}
    except (TypeError, KeyError, ValueError) as error:
        raise FormatError(f"{path}: its tokens are not where they are in a byte-pair tokenizer ({error!r})") from error


def _check_special(numbers: Mapping[str, int], end: int, languages: Sequence[str], path: Path) -> None:
    for number, name in enumerate(special_names(len(languages)), end):
        if numbers.get(name, number) != number:
            raise FormatError(
                f"{path}: {name} is token {numbers[name]}, not {number} as in Whisper's order; it cannot be read"
            )
