"""A model's own special tokens in the JSON header of an `.apr` version 2 file."""

from collections.abc import Mapping
from typing import Any

from ...checkpoint import ModelDimensions
from ...tokenizer.special_tokens import AddedToken, SpecialTokens


def describe_special_tokens(special: SpecialTokens | None) -> dict[str, Any]:
    """Return the entries of the header's `tokenizer`; none for OpenAI's special tokens."""
    if special is None:
        return {}
    return {
        "special_tokens": dict(special.ids),
        "timestamps": [special.timestamp_begin, special.n_timestamps],
        "added_tokens": [[token.id, token.text, token.is_special] for token in special.added],
    }


def read_special_tokens(tokenizer: Mapping[str, Any], dims: ModelDimensions, where: str) -> SpecialTokens | None:
    """Return the special tokens in the header's `tokenizer`; None if they are OpenAI's.

    Raises:
        FormatError: The tokens cannot be those of the model.
        Exception: A TypeError, KeyError, ValueError or AttributeError, if a field is missing or invalid.
    """
    if "special_tokens" not in tokenizer:
        return None
    ids = tuple((str(name), _id(token)) for name, token in tokenizer["special_tokens"].items())
    begin, count = tokenizer["timestamps"]
    added = tuple(
        AddedToken(_id(token), str(text), bool(special)) for token, text, special in tokenizer["added_tokens"]
    )
    special = SpecialTokens(
        dims.n_vocab,
        tokenizer["kind"] == "multilingual",
        tuple(sorted(ids, key=lambda item: item[1])),
        _id(begin),
        _id(count),
        tuple(sorted(added, key=lambda token: token.id)),
    )
    special.check(where)
    return special


def _id(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a token's id")
    return value
