"""The methods of `tokenizers.Tokenizer` that programs use of `WhisperModel.hf_tokenizer`."""

from collections.abc import Iterable
from dataclasses import dataclass

from ...tokenizer import Tokenizer


@dataclass(frozen=True)
class Encoded:
    """An encoded text."""

    ids: list[int]


class HfTokenizer:
    """A model's vocabulary with the methods of `tokenizers.Tokenizer`."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._encoding = tokenizer.encoding
        self._special = tokenizer.special_tokens
        self._names = {token: name for name, token in self._special.items()}
        self.non_speech_tokens = tokenizer.non_speech_tokens

    def encode(self, text: str, add_special_tokens: bool = True) -> Encoded:
        """Encode a text.

        Args:
            text: The text.
            add_special_tokens: Whether to put the tokens of a transcript without timestamps around it.
        """
        tokens = self._encoding.encode(text)
        if add_special_tokens:
            names = ("<|startoftranscript|>", "<|notimestamps|>", "<|endoftext|>")
            start, without, end = (self._special[name] for name in names)
            tokens = [start, without, *tokens, end]
        return Encoded(tokens)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Decode tokens to text, without the special ones unless `skip_special_tokens` is False."""
        return self._encoding.decode(token for token in ids if not (skip_special_tokens and self._is_special(token)))

    def decode_batch(self, sequences: Iterable[Iterable[int]], skip_special_tokens: bool = True) -> list[str]:
        """Decode several sequences of tokens; see `decode`."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    def _is_special(self, token: int) -> bool:
        name = self._names.get(token)  # timestamps are ordinary tokens of Hugging Face's tokenizers
        return name is not None and not name[2:3].isdigit()

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token, given as Hugging Face's tokenizers show it; None if there is no such token."""
        if token in self._special:
            return self._special[token]
        found = self._encoding.encode(token)
        return found[0] if len(found) == 1 else None

    def id_to_token(self, token_id: int) -> str | None:
        """Return a token's text, or None if there is no such token."""
        return self._encoding.decode([token_id]) if 0 <= token_id < self._encoding.n_vocab else None

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """Return the number of tokens, without special ones unless `with_added_tokens`."""
        return self._encoding.n_vocab if with_added_tokens else self._encoding.n_vocab - len(self._special)
