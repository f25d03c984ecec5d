"""Words to expect: as a prompt that the model is told, or as a bias on the tokens that would write them."""

from collections.abc import Sequence

import numpy as np

from ..tokenizer import Tokenizer
from .logit_filters import FloatArray, Tokens


def words_of(hotwords: str | Sequence[str]) -> list[str]:
    """Return the words or phrases; in a text they have commas between them."""
    words = hotwords.split(",") if isinstance(hotwords, str) else hotwords
    return [word.strip() for word in words if word.strip()]


def hotword_prompt(hotwords: str | Sequence[str] | None, tokenizer: Tokenizer) -> list[int]:
    """Return the tokens of the words as text that came before: a text as it is, words joined by spaces; as faster-whisper does."""
    line = hotwords.strip() if isinstance(hotwords, str) else " ".join(words_of(hotwords or ()))
    return tokenizer.encode(" " + line) if line else []


class Node:
    """A place in the trie: what has been written of one word or several."""

    def __init__(self) -> None:
        self.children: dict[int, Node] = {}

    @property
    def tokens(self) -> list[int]:
        return list(self.children)


class HotwordBias:
    """Adds `bias` to the logits of the tokens that begin a hotword, or go on with one that has been begun.

    The words stand in a trie of their tokens, with a space before them and, for languages without spaces, also without.
    """

    def __init__(self, hotwords: str | Sequence[str], bias: float, tokenizer: Tokenizer) -> None:
        self.bias = np.float32(bias)
        self.root = Node()
        self.depth = 0
        for word in words_of(hotwords):
            for text in (" " + word, word):
                node, tokens = self.root, tokenizer.encode(text)
                self.depth = max(self.depth, len(tokens))
                for token in tokens:
                    node = node.children.setdefault(token, Node())

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        recent = sampled[:, max(0, sampled.shape[1] - self.depth) :].tolist()
        for row, past in zip(logits, recent, strict=True):
            wanted = set(self.root.children)
            for start in range(len(past)):
                node: Node | None = self.root
                for token in past[start:]:
                    node = node.children.get(token) if node else None
                if node:
                    wanted.update(node.children)
            row[list(wanted)] += self.bias
