"""Determine a model's vocabulary: the packaged one, or the model's own.

Ordinary tokens and special tokens are each stored only if they are not OpenAI's.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..checkpoint import ModelDimensions
from ..errors import FormatError
from ..tokenizer.bpe import pack_vocabulary, packed_vocabulary
from ..tokenizer.kind import (
    ENGLISH_SIZE,
    N_ENGLISH,
    N_MULTILINGUAL,
    packaged_kind,
    packaged_name,
    packaged_tokens,
    tokenizer_kind,
)
from ..tokenizer.special_tokens import END_OF_TEXT, SpecialTokens
from .files import read_json, read_json_value, read_text
from .special_tokens import find_special_tokens

# Bytes of a JSON file. Since release 0.20, tokenizers writes each merge as a list, and Whisper's tokenizer.json has
# 3.5 MiB; the rest is for larger vocabularies.
MAX_VOCABULARY = 16 << 20
FILES = ("vocab.json", "tokenizer.json", "vocabulary.json", "vocabulary.txt")  # that list tokens, by precedence


class Vocabulary(NamedTuple):
    """A model's own tokens.

    Attributes:
        ordinary: The packed ordinary tokens; empty for the packaged vocabulary.
        special: The special tokens; None for OpenAI's, in their order.
    """

    ordinary: bytes
    special: SpecialTokens | None


def _packaged_tokens(dims: ModelDimensions, n_ordinary: int | None) -> list[bytes]:
    """Return the tokens of the packaged vocabulary for a model; empty if there is none.

    Args:
        dims: The model's dimensions.
        n_ordinary: Number of the model's ordinary tokens; None if only the model's size is known.
    """
    kind = packaged_kind(dims.n_vocab)
    if n_ordinary is None and kind != "unknown":
        return packaged_tokens(N_ENGLISH if kind == "gpt2" else N_MULTILINGUAL)
    return packaged_tokens(n_ordinary or 0)


def validate_vocabulary(
    packed: bytes, dims: ModelDimensions, where: str, special: SpecialTokens | None = None
) -> bytes:
    """Validate a vocabulary that is stored in a file.

    Args:
        packed: The ordinary tokens, see `tokenizer.bpe.pack_vocabulary`.
        dims: The model's dimensions.
        where: Names the file in error messages.
        special: The model's own special tokens.

    Returns:
        `packed`, or nothing if it is the packaged vocabulary.

    Raises:
        FormatError: The vocabulary is damaged or does not fit the model.
    """
    name = packaged_name(special.n_ordinary) if special else packaged_kind(dims.n_vocab)
    if name != "unknown" and packed == packed_vocabulary(name):
        packed = b""
    tokenizer_kind(dims.n_vocab, packed, where, special)
    return packed


def pack_model_vocabulary(
    tokens: Sequence[bytes], dims: ModelDimensions, where: str, special: SpecialTokens | None = None
) -> bytes:
    """Pack a file's tokens.

    Args:
        tokens: The bytes of each token, in the order of their ids. Tokens from `<|endoftext|>` on are ignored.
        dims: The model's dimensions.
        where: Names the file in error messages.
        special: The model's own special tokens.

    Returns:
        The packed ordinary tokens; nothing if there are no tokens, or if they are those of the packaged vocabulary.

    Raises:
        FormatError: The tokens do not fit the model.
    """
    packaged, end = _packaged_tokens(dims, special.n_ordinary if special else None), END_OF_TEXT.encode()
    if end in tokens:
        tokens = tokens[: tokens.index(end)]
    elif packaged:  # a model of Whisper's size has as many ordinary tokens; assume Whisper's where the file has none
        tokens = [*tokens[: len(packaged)], *packaged[len(tokens) :]]
    # some files omit the last ordinary token of the multilingual vocabulary, which is empty
    if not tokens or [*tokens, *[b""] * (len(packaged) - len(tokens))] == packaged:
        return b""
    if any(len(token) > 255 for token in tokens):
        raise FormatError(f"{where}: its vocabulary has a token of more than 255 bytes, which is not supported")
    return validate_vocabulary(pack_vocabulary(tokens), dims, where, special)


# ---- Hugging Face's and CTranslate2's files --------------------------------------------------------------------------


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


class _Names(NamedTuple):
    """The ids of tokens by their names, and the names that are marked as special."""

    ids: dict[str, int]
    special: set[str]


def read_vocabulary(folder: Path, dims: ModelDimensions, config: Mapping[str, Any] | None = None) -> Vocabulary:
    """Read the vocabulary of a folder.

    Read are `vocab.json` and `added_tokens.json`, or else `tokenizer.json`, or else CTranslate2's `vocabulary.json` or
    `vocabulary.txt`; and `tokenizer_config.json`.

    Args:
        folder: The folder.
        dims: The model's dimensions.
        config: The content of generation_config.json, or of CTranslate2's config.json.

    Raises:
        FormatError: A file is damaged, or its tokens do not fit the model.
    """
    config, path = config or {}, _vocabulary_file(folder)
    ids, marked = _read_names(path) if path is not None else _Names({}, set())
    where = str(path or folder)
    if not all(isinstance(text, str) and isinstance(n, int) and n >= 0 for text, n in ids.items()):
        raise FormatError(f"{where}: a token's id is not an integer from 0 on")
    # without a name, it is where it is in a model of this size
    end = ids.get(END_OF_TEXT, _expected_end(config, dims))
    if path is None and not end:
        return Vocabulary(b"", None)
    if not 0 < end <= dims.n_vocab:
        raise FormatError(f"{where}: {END_OF_TEXT} has no id, or one beyond the model's {dims.n_vocab} tokens")
    special = find_special_tokens(ids, marked, config, dims.n_vocab, end, where)
    # an id that the file does not list is Whisper's token; beyond Whisper's vocabulary, an empty one
    packaged = packaged_tokens(end) or _packaged_tokens(dims, None)
    tokens = packaged[:end] + [b""] * (end - len(packaged))
    for text, token_id in ids.items():
        if token_id < end:
            tokens[token_id] = _decode_token(text)
    return Vocabulary(pack_model_vocabulary([*tokens, END_OF_TEXT.encode()], dims, where, special), special)


def _expected_end(config: Mapping[str, Any], dims: ModelDimensions) -> int:
    """Return the id of the end of text if no file names it; 0 if it is unknown.

    A configuration's `eos_token_id` alone says nothing: transformers' default is that of the English-only vocabulary.
    """
    is_english = config.get("is_multilingual") is False and config.get("eos_token_id") == N_ENGLISH
    if is_english or dims.n_vocab == ENGLISH_SIZE:
        return N_ENGLISH
    says_more = any(config.get(key) for key in ("lang_to_id", "no_timestamps_token_id", "lang_ids"))
    return N_MULTILINGUAL if says_more else len(_packaged_tokens(dims, None))


def _vocabulary_file(folder: Path) -> Path | None:
    """Return the file that lists a folder's tokens."""
    for name in FILES:
        if (folder / name).exists():
            return folder / name
    return None


def _read_names(path: Path) -> _Names:
    """Read the names in a vocabulary file and the files beside it. Raises FormatError."""
    if path.name.startswith("vocabulary."):
        return _Names({text: n for n, text in enumerate(_read_list(path))}, set())
    content = read_json(path, MAX_VOCABULARY)
    if path.name == "vocab.json":
        added = path.with_name("added_tokens.json")
        names = _Names(content | (read_json(added, MAX_VOCABULARY) if added.exists() else {}), set())
    else:
        names = _read_tokenizer(content, path)
    settings = path.with_name("tokenizer_config.json")
    tokens = read_json(settings, MAX_VOCABULARY).get("added_tokens_decoder") if settings.exists() else None
    for token in tokens.values() if isinstance(tokens, dict) else ():
        if isinstance(token, dict) and token.get("special") is True:
            names.special.add(str(token.get("content")))
    return names


def _read_tokenizer(content: Mapping[str, Any], path: Path) -> _Names:
    """Return the names in a `tokenizer.json`. Raises FormatError."""
    try:
        ids: dict[str, int] = dict(content["model"]["vocab"])
        added = list(content.get("added_tokens", ()))
        special = {str(token["content"]) for token in added if token.get("special") is True}
        return _Names(ids | {str(token["content"]): token["id"] for token in added}, special)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise FormatError(f"{path}: not a byte-pair tokenizer: it has no valid model.vocab ({error!r})") from error


def _read_list(path: Path) -> list[str]:
    """Return the tokens of a `vocabulary.json` or a `vocabulary.txt`, in the order of their ids. Raises FormatError."""
    if path.suffix == ".json":
        tokens = read_json_value(path, MAX_VOCABULARY)
        if not isinstance(tokens, list) or not all(isinstance(text, str) for text in tokens):
            raise FormatError(f"{path}: not a list of tokens")
        return tokens
    return read_text(path, MAX_VOCABULARY).removesuffix("\n").split("\n")
