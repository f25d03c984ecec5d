"""Hotwords: expected words, given to the model as a prompt or favored by a bias on their tokens."""

from collections.abc import Sequence

import numpy as np

from ..tokenizer import Tokenizer
from .logit_filters import FloatArray, Tokens


def split_hotwords(hotwords: str | Sequence[str]) -> list[str]:
    """Return the words or phrases, which are separated by commas if given as text."""
    words = hotwords.split(",") if isinstance(hotwords, str) else hotwords
    return [word.strip() for word in words if word.strip()]


def hotword_prompt(hotwords: str | Sequence[str] | None, tokenizer: Tokenizer) -> list[int]:
    """Return the hotwords' tokens as previous text, as in faster-whisper: text unchanged, a list joined by spaces."""
    line = hotwords.strip() if isinstance(hotwords, str) else " ".join(split_hotwords(hotwords or ()))
    return tokenizer.encode(" " + line) if line else []


class TrieNode:
    """A node of a trie of tokens: the beginning of one or several hotwords."""

    def __init__(self) -> None:
        self.children: dict[int, TrieNode] = {}


class HotwordBias:
    """A logit filter that favors hotwords.

    Adds a bias to the logits of tokens that begin a hotword or continue one that has begun. The tokens of each word are
    kept in a trie, with a space before the word and, for languages without spaces, also without.
    """

    def __init__(self, hotwords: str | Sequence[str], bias: float, tokenizer: Tokenizer) -> None:
        self.bias = np.float32(bias)
        self.root = TrieNode()
        self.depth = 0
        for word in split_hotwords(hotwords):
            for text in (" " + word, word):
                node, tokens = self.root, tokenizer.encode(text)
                self.depth = max(self.depth, len(tokens))
                for token in tokens:
                    node = node.children.setdefault(token, TrieNode())

    def apply(self, logits: FloatArray, sampled: Tokens) -> None:
        """See `LogitFilter`."""
        recent = sampled[:, max(0, sampled.shape[1] - self.depth) :].tolist()
        for row, past in zip(logits, recent, strict=True):
            wanted = set(self.root.children)
            for start in range(len(past)):
                node: TrieNode | None = self.root
                for token in past[start:]:
                    node = node.children.get(token) if node else None
                if node:
                    wanted.update(node.children)
            row[list(wanted)] += self.bias
