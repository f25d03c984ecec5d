"""Determine which tokenizer a model uses, and which languages it knows, from the size of its vocabulary."""

from ..errors import FormatError
from .bpe import load_ranks, unpack_vocabulary
from .languages import LANGUAGES
from .special_tokens import SpecialTokens, special_names

ENGLISH_SIZE = 51864  # tokens of the English-only vocabulary
MULTILINGUAL_SIZE = 51865  # tokens of the multilingual vocabulary, which has languages and tasks
LARGEST_SIZE = 51866  # tokens of the multilingual vocabulary from large-v3 on, which has another language
_N_LANGUAGES = {ENGLISH_SIZE: 99, MULTILINGUAL_SIZE: 99, LARGEST_SIZE: 100}
N_ENGLISH, N_MULTILINGUAL = 50256, 50257  # ordinary tokens of the two packaged vocabularies


def packaged_kind(n_vocab: int) -> str:
    """Return the kind of the packaged tokenizer for a vocabulary of this size.

    Returns:
        "multilingual", "gpt2" (English-only) or "unknown" (not a size of OpenAI's).
    """
    if n_vocab not in _N_LANGUAGES:
        return "unknown"
    return "gpt2" if n_vocab == ENGLISH_SIZE else "multilingual"


def packaged_name(n_ordinary: int) -> str:
    """Return the name of the packaged vocabulary of this number of ordinary tokens; "unknown" if there is none."""
    return {N_ENGLISH: "gpt2", N_MULTILINGUAL: "multilingual"}.get(n_ordinary, "unknown")


def packaged_tokens(n_ordinary: int) -> list[bytes]:
    """Return the packaged vocabulary of this number of ordinary tokens; empty if there is none."""
    name = packaged_name(n_ordinary)
    return [] if name == "unknown" else list(load_ranks(name))


def tokenizer_kind(
    n_vocab: int, vocabulary: bytes = b"", where: str = "model", special: SpecialTokens | None = None
) -> tuple[str, tuple[str, ...]]:
    """Return the kind of tokenizer and the codes of the languages, in the order of their tokens.

    Args:
        n_vocab: Number of rows of the token embedding.
        vocabulary: The model's own ordinary tokens, see `bpe.pack_vocabulary`; empty for the packaged vocabulary.
        where: Names the file in error messages.
        special: The model's own special tokens; None for OpenAI's.

    Returns:
        "multilingual", "gpt2" (English-only) or "unknown" (too few tokens for text), and the codes.

    Raises:
        FormatError: The vocabulary is damaged, its number of tokens does not fit n_vocab, or nothing says what the
            tokens of a model of another size than OpenAI's are.
    """
    if special is not None:
        n_token = len(unpack_vocabulary(vocabulary, where)) if vocabulary else len(packaged_tokens(special.n_ordinary))
        if (n_token, n_vocab) != (special.n_ordinary, special.n_vocab):
            raise FormatError(
                f"{where}: a vocabulary of {n_token} tokens and special tokens from {special.n_ordinary} to "
                f"{special.n_vocab - 1} do not fit a model of {n_vocab} tokens"
            )
        return "multilingual" if special.multilingual else "gpt2", special.languages
    if not vocabulary:
        kind = packaged_kind(n_vocab)
        if kind == "unknown" and n_vocab >= N_ENGLISH:
            raise FormatError(
                f"{where}: {n_vocab} tokens are not one of OpenAI's vocabularies, which have "
                f"{', '.join(map(str, _N_LANGUAGES))}, and nothing says which tokens they are; put the model's "
                "tokenizer.json and generation_config.json beside its weights"
            )
        return kind, tuple(LANGUAGES)[: _N_LANGUAGES.get(n_vocab, 0)]
    n_token, n_special = len(unpack_vocabulary(vocabulary, where)), len(special_names(0))
    n_language = n_vocab - n_token - n_special
    if not 1 <= n_language <= len(LANGUAGES):
        raise FormatError(
            f"{where}: a vocabulary of {n_token} tokens does not fit a model of {n_vocab}: "
            f"the rest must be {n_special} special tokens and 1 to {len(LANGUAGES)} languages"
        )
    return "gpt2" if n_vocab == ENGLISH_SIZE else "multilingual", tuple(LANGUAGES)[:n_language]
