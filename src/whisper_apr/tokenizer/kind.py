"""Determine which tokenizer a model uses, and which languages it knows, from the size of its vocabulary."""

from ..errors import FormatError
from .bpe import unpack_vocabulary
from .languages import LANGUAGES
from .tokenizer import special_names

MULTILINGUAL_SIZE = 51865  # tokens of the smallest multilingual vocabulary, which has languages and tasks
ENGLISH_SIZE = 51864  # tokens of the English-only vocabulary
LARGEST_SIZE = 51866  # tokens of OpenAI's largest vocabulary (large-v3); fine-tuned models may append tokens
N_NOT_LANGUAGES = 51765  # tokens of the English-only vocabulary that are not languages; multilingual: one more


def packaged_kind(n_vocab: int) -> str:
    """Return the kind of the packaged tokenizer for a vocabulary of this size.

    Returns:
        "multilingual", "gpt2" (English-only) or "unknown" (fewer tokens than any Whisper model).
    """
    if n_vocab >= MULTILINGUAL_SIZE:
        return "multilingual"
    return "gpt2" if n_vocab == ENGLISH_SIZE else "unknown"


def tokenizer_kind(n_vocab: int, vocabulary: bytes = b"", where: str = "model") -> tuple[str, tuple[str, ...]]:
    """Return the kind of tokenizer and the codes of the languages, in the order of their tokens.

    Args:
        n_vocab: Number of rows of the token embedding.
        vocabulary: The model's own ordinary tokens, see `bpe.pack_vocabulary`; empty for the packaged vocabulary.
        where: Names the file in error messages.

    Raises:
        FormatError: The vocabulary is damaged, or its number of tokens does not fit n_vocab.
    """
    if not vocabulary:
        kind = packaged_kind(n_vocab)
        n_language = max(0, n_vocab - N_NOT_LANGUAGES - (kind == "multilingual"))
        return kind, tuple(LANGUAGES)[:n_language]
    n_token, n_special = len(unpack_vocabulary(vocabulary, where)), len(special_names(0))
    n_language = n_vocab - n_token - n_special
    if not 1 <= n_language <= len(LANGUAGES):
        raise FormatError(
            f"{where}: a vocabulary of {n_token} tokens does not fit a model of {n_vocab}: "
            f"the rest must be {n_special} special tokens and 1 to {len(LANGUAGES)} languages"
        )
    return "gpt2" if n_vocab == ENGLISH_SIZE else "multilingual", tuple(LANGUAGES)[:n_language]
