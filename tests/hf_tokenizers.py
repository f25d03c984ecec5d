"""Hugging Face's tokenizers of Whisper's packaged vocabularies, without a download."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whisper_apr.formats.vocabulary import _bytes_of_characters
from whisper_apr.tokenizer import bpe
from whisper_apr.tokenizer.special_tokens import N_TIMESTAMPS, special_names

_CHARACTERS = {value: character for character, value in _bytes_of_characters().items()}


def token_text(token: bytes) -> str:
    """Return a token as vocabulary files have it, a character for each byte."""
    return "".join(_CHARACTERS[value] for value in token)


def merge_of(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """Return the two tokens that byte-pair encoding merges to this one."""
    parts = [bytes([value]) for value in token]
    while len(parts) > 2:
        best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], len(ranks)))
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]


def vocabulary(name: str = "multilingual") -> dict[str, int]:
    """Return a packaged vocabulary as in a vocab.json, with `<|endoftext|>`."""
    found = {token_text(token): rank for token, rank in bpe.load_ranks(name).items()}
    return found | {"<|endoftext|>": len(found)}


def merges(name: str = "multilingual") -> list[tuple[str, str]]:
    """Return a packaged vocabulary's merges, in order."""
    ranks = bpe.load_ranks(name)
    pairs = [merge_of(token, ranks) for token in ranks if len(token) > 1]
    return [(token_text(left), token_text(right)) for left, right in pairs]


def write_tokenizer_json(
    path: Path, vocab: Mapping[str, int], added: Sequence[Mapping[str, Any]] = (), merges: Sequence[Any] = ()
) -> None:
    """Write a tokenizer.json as the release 0.23 of tokenizers does: indented, and a merge is a list."""
    model = {"type": "BPE", "vocab": dict(vocab), "merges": [list(pair) for pair in merges]}
    content = {"version": "1.0", "added_tokens": list(added), "model": model}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def transformers_tokenizer(num_languages: int = 99, timestamps: bool = True, name: str = "multilingual") -> Any:
    """Return transformers' tokenizer of a packaged vocabulary with Whisper's special tokens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tokenizers import AddedToken
        from transformers import WhisperTokenizer

        tokenizer = WhisperTokenizer(vocab=vocabulary(name), merges=merges(name))
    names = special_names(num_languages)[1:]
    special, times = names[:-N_TIMESTAMPS], names[-N_TIMESTAMPS:]
    tokenizer.add_tokens([AddedToken(text, special=True) for text in special], special_tokens=True)
    if timestamps:
        tokenizer.add_tokens([AddedToken(text, normalized=False) for text in times])
    return tokenizer
