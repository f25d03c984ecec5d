"""Determine a model's vocabulary: the packaged one, or the model's own.

Only the ordinary tokens of a model's own vocabulary are stored. The special tokens follow them, in Whisper's order; a
model with another order is refused.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..checkpoint import ModelDimensions
from ..errors import FormatError
from ..tokenizer.bpe import load_ranks, pack_vocabulary, packed_vocabulary
from ..tokenizer.kind import LARGEST_SIZE, packaged_kind, tokenizer_kind
from ..tokenizer.tokenizer import special_names
from .files import read_json

END_OF_TEXT = "<|endoftext|>"  # the first special token
MAX_VOCABULARY = 3 << 20  # bytes of a JSON file; large-v3-turbo's tokenizer.json has 2.6 MiB


def _packaged_tokens(dims: ModelDimensions) -> list[bytes]:
    """Return the ordinary tokens of the packaged vocabulary of this size; empty if there is none."""
    kind = packaged_kind(dims.n_vocab)
    return [] if kind == "unknown" else list(load_ranks(kind))


def validate_vocabulary(packed: bytes, dims: ModelDimensions, where: str) -> bytes:
    """Validate a vocabulary that is stored in a file.

    Args:
        packed: The ordinary tokens, see `tokenizer.bpe.pack_vocabulary`.
        dims: The model's dimensions.
        where: Names the file in error messages.

    Returns:
        `packed`, or nothing if it is the packaged vocabulary.

    Raises:
        FormatError: The vocabulary is damaged or does not fit the model.
    """
    kind = packaged_kind(dims.n_vocab)
    if kind != "unknown" and packed == packed_vocabulary(kind):
        return b""
    tokenizer_kind(dims.n_vocab, packed, where)
    return packed


def pack_model_vocabulary(tokens: Sequence[bytes], dims: ModelDimensions, where: str) -> bytes:
    """Pack a file's tokens.

    Args:
        tokens: The bytes of each token, in the order of their ids. Tokens from `<|endoftext|>` on are ignored.
        dims: The model's dimensions.
        where: Names the file in error messages.

    Returns:
        The packed ordinary tokens; nothing if there are no tokens, or if they are those of the packaged vocabulary.

    Raises:
        FormatError: The tokens do not fit the model.
    """
    packaged, end = _packaged_tokens(dims), END_OF_TEXT.encode()
    if end in tokens:
        tokens = tokens[: tokens.index(end)]
    elif packaged:  # a model of Whisper's size has as many ordinary tokens; assume Whisper's where the file has none
        tokens = [*tokens[: len(packaged)], *packaged[len(tokens) :]]
    # some files omit the last ordinary token of the multilingual vocabulary, which is empty
    if not tokens or [*tokens, *[b""] * (len(packaged) - len(tokens))] == packaged:
        return b""
    if any(len(token) > 255 for token in tokens):
        raise FormatError(f"{where}: its vocabulary has a token of more than 255 bytes, which is not supported")
    return validate_vocabulary(pack_vocabulary(tokens), dims, where)


# ---- Hugging Face's files -------------------------------------------------------------------------------------------


@cache
def _bytes_of_characters() -> dict[str, int]:
    """Return the byte that each character stands for in GPT-2's vocabulary files (its `bytes_to_unicode`, inverted).

    Printable Latin-1 characters stand for themselves, the characters from U+0100 on for the other bytes, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(256) if value not in printable]
    return {chr(value): value for value in printable} | {chr(256 + i): value for i, value in enumerate(others)}


def _decode_token(text: str) -> bytes:
    """Return the bytes of a token as it is written in a vocabulary file."""
    table = _bytes_of_characters()
    if all(character in table for character in text):
        return bytes(table[character] for character in text)
    return text.encode("utf-8", "replace")


def read_vocabulary(folder: Path, dims: ModelDimensions) -> bytes:
    """Read the vocabulary of a folder with `vocab.json` or `tokenizer.json`.

    Returns:
        The packed ordinary tokens; nothing if neither file exists, or if they are those of the packaged vocabulary.

    Raises:
        FormatError: A file is damaged, or its tokens do not fit the model.
    """
    path = folder / "vocab.json"
    if path.exists():
        ids = read_json(path, MAX_VOCABULARY)
        added = folder / "added_tokens.json"
        ids = ids | (read_json(added) if added.exists() else {})
    else:
        path = folder / "tokenizer.json"
        if not path.exists():
            return b""
        ids = _read_token_ids(read_json(path, MAX_VOCABULARY), path)
    if not all(isinstance(text, str) and isinstance(n, int) and n >= 0 for text, n in ids.items()):
        raise FormatError(f"{path}: a token's id is not an integer from 0 on")
    packaged = _packaged_tokens(dims)
    end = ids.get(END_OF_TEXT, len(packaged))
    if not 0 < end <= dims.n_vocab:
        raise FormatError(f"{path}: {END_OF_TEXT} has no id, or one beyond the model's {dims.n_vocab} tokens")
    # an id that the file does not list is Whisper's token; beyond Whisper's vocabulary, an empty one
    tokens = packaged[:end] + [b""] * (end - len(packaged))
    for text, token_id in ids.items():
        if token_id < end:
            tokens[token_id] = _decode_token(text)
    vocabulary = pack_model_vocabulary([*tokens, END_OF_TEXT.encode()], dims, str(path))
    if vocabulary or dims.n_vocab > LARGEST_SIZE:
        _, languages = tokenizer_kind(dims.n_vocab, vocabulary, str(path))
        _check_special_tokens(ids, end, languages, path)
    return vocabulary


def _read_token_ids(content: Mapping[str, Any], path: Path) -> dict[str, int]:
    """Return the ids of the tokens in a `tokenizer.json`. Raises FormatError."""
    try:
        ids: dict[str, int] = dict(content["model"]["vocab"])
        return ids | {str(token["content"]): token["id"] for token in content.get("added_tokens", ())}
    except (TypeError, KeyError, ValueError) as error:
        raise FormatError(f"{path}: not a byte-pair tokenizer: it has no valid model.vocab ({error!r})") from error


def _check_special_tokens(ids: Mapping[str, int], first: int, languages: Sequence[str], path: Path) -> None:
    """Raise FormatError unless the special tokens are numbered in Whisper's order, from `first` on."""
    for expected, name in enumerate(special_names(len(languages)), first):
        if ids.get(name, expected) != expected:
            raise FormatError(
                f"{path}: {name} is token {ids[name]}, not {expected} as in Whisper's order; "
                "models with another order are not supported"
            )
