"""Whisper's tokenizer: ordinary tokens for text, and special tokens for languages, tasks and timestamps."""

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from whisper_apr.errors import OptionError

from .bpe import Encoding, load_ranks, unpack_vocabulary
from .languages import LANGUAGES, to_language_code
from .special_tokens import END_OF_TEXT, N_TIMESTAMPS, NO_TIMESTAMPS, START, SpecialTokens, language_name

Task = Literal["transcribe", "translate"]

TASKS: tuple[Task, ...] = ("transcribe", "translate")

# Languages that are written without spaces between words; every character counts as a word.
_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# Symbols of annotations such as [LAUGHTER] or a speaker's name. Symbols and runs of them are suppressed if they are one
# token. A music symbol is suppressed by its first token even if it takes several: all are between U+2640 and U+267F, so
# their first bytes begin only similar symbols.
_SYMBOLS = '"#()*+/:;<=>@[\\]^_`{|}~「」『』'
_SYMBOL_RUNS = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"
_MUSIC_SYMBOLS = "♩♪♫♬♭♮♯"


@dataclass(frozen=True)
class Tokenizer:
    """An encoding, and the language and task of a transcript. Use `get_tokenizer` to create one.

    Attributes:
        encoding: The vocabulary.
        num_languages: Number of languages in the vocabulary.
        timestamp_begin: The timestamp 0.00 s. Each following token is a timestamp, 0.02 s later.
        timestamp_end: The token after the last timestamp; `timestamp_begin` if the vocabulary has no timestamps.
        language: A language code; None for an English-only model.
        task: "transcribe" or "translate"; None for an English-only model.
    """

    encoding: Encoding
    num_languages: int
    timestamp_begin: int
    timestamp_end: int
    language: str | None = None
    task: Task | None = None

    def encode(self, text: str) -> list[int]:
        """Encode a text, see `Encoding.encode`. The name of a special token is encoded as ordinary text."""
        return self.encoding.encode(text)

    def decode(self, token_ids: Iterable[int]) -> str:
        """Decode tokens to text, without timestamps and added special tokens; OpenAI's appear by name.

        Decode all tokens of a text together: one token may end within a character, which then becomes U+FFFD.
        """
        return self.encoding.decode([token for token in token_ids if not self._is_hidden(token)])

    def decode_with_timestamps(self, token_ids: Iterable[int]) -> str:
        """Decode tokens to text, with timestamps such as `<|1.08|>`.

        Raises:
            OptionError: An id is not in the vocabulary.
        """
        return self.encoding.decode(token_ids)

    # ---- kinds of tokens ----

    @cached_property
    def added_text(self) -> frozenset[int]:
        """The tokens of text that were added to the vocabulary, behind the special tokens."""
        return frozenset(self.encoding.added.values())

    @cached_property
    def text_ids(self) -> slice | list[int]:
        """The tokens of text, as an index of an axis of all tokens."""
        return [*range(self.eot), *sorted(self.added_text)] if self.added_text else slice(self.eot)

    def is_text(self, token: int) -> bool:
        """Return whether a token is text, and not a special token."""
        return token < self.eot or token in self.added_text

    def _is_hidden(self, token: int) -> bool:
        return self.is_timestamp(token) or (token >= self.timestamp_end and token not in self.added_text)

    @property
    def has_timestamps(self) -> bool:
        """Whether the vocabulary has timestamps."""
        return self.timestamp_end > self.timestamp_begin

    def is_timestamp(self, token: int) -> bool:
        """Return whether a token is a timestamp."""
        return self.timestamp_begin <= token < self.timestamp_end

    # ---- special tokens ----

    @property
    def special_tokens(self) -> dict[str, int]:
        """The ids of the special tokens by name, in order."""
        return self.encoding.special_tokens

    @cached_property
    def eot(self) -> int:
        """End of text: 50257, or 50256 in English-only models."""
        return self.special_tokens[END_OF_TEXT]

    @cached_property
    def sot(self) -> int:
        """Start of transcript."""
        return self.special_tokens[START]

    @cached_property
    def translate(self) -> int:
        """The task of translating to English."""
        return self.special_tokens["<|translate|>"]

    @cached_property
    def transcribe(self) -> int:
        """The task of transcribing in the spoken language."""
        return self.special_tokens["<|transcribe|>"]

    @cached_property
    def sot_lm(self) -> int:
        """Start of text without audio (start of language model)."""
        return self.special_tokens["<|startoflm|>"]

    @cached_property
    def sot_prev(self) -> int:
        """Start of the previous text, which precedes `sot` in a prompt."""
        return self.special_tokens["<|startofprev|>"]

    @cached_property
    def no_speech(self) -> int:
        """No speech in the window."""
        return self.special_tokens["<|nospeech|>"]

    @cached_property
    def no_timestamps(self) -> int:
        """The transcript has no timestamps."""
        return self.special_tokens[NO_TIMESTAMPS]

    # ---- languages ----

    @cached_property
    def language_token(self) -> int:
        """The token of this tokenizer's language. Raises OptionError for an English-only model."""
        if self.language is None:
            raise OptionError("this tokenizer has no language: the model is English-only")
        return self.to_language_token(self.language)

    def to_language_token(self, language: str) -> int:
        """Return the token of a language, given by code or name.

        Raises:
            OptionError: Whisper or this vocabulary does not have the language.
        """
        code = to_language_code(language)
        if code not in self.all_language_codes:
            raise OptionError(f"language {language!r} is not among the {self.num_languages} that this model knows")
        return self.special_tokens[language_name(code)]

    @cached_property
    def all_language_codes(self) -> tuple[str, ...]:
        """The codes of this vocabulary's languages, in the order of their tokens."""
        return tuple(name[2:-2] for name in self.special_tokens if name[2:-2] in LANGUAGES)

    @cached_property
    def all_language_tokens(self) -> tuple[int, ...]:
        """The tokens of this vocabulary's languages, in the order of `all_language_codes`."""
        return tuple(self.special_tokens[language_name(code)] for code in self.all_language_codes)

    # ---- the start of a transcript, and suppressed tokens ----

    @cached_property
    def sot_sequence(self) -> tuple[int, ...]:
        """Start of transcript, language and task; for an English-only model only the first."""
        sequence = [self.sot]
        if self.language is not None:
            sequence.append(self.language_token)
        if self.task is not None:
            sequence.append(self.translate if self.task == "translate" else self.transcribe)
        return tuple(sequence)

    @cached_property
    def sot_sequence_including_notimestamps(self) -> tuple[int, ...]:
        """`sot_sequence` followed by the token for no timestamps."""
        return (*self.sot_sequence, self.no_timestamps)

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """The tokens to suppress to avoid annotations such as ♪♪, (LAUGHTER) and [JOHN], sorted.

        Common punctuation marks are not among them. Hyphens and apostrophes are only suppressed at the start of a word.
        """
        tokens = {encoded[0] for encoded in (self.encode(" -"), self.encode(" '")) if len(encoded) == 1}
        for symbol in (*_SYMBOLS, *_SYMBOL_RUNS.split(), *_MUSIC_SYMBOLS):
            for encoded in (self.encode(symbol), self.encode(" " + symbol)):
                # A first token of only one of the three bytes, as in a custom vocabulary, begins many other characters.
                is_specific = len(self.encoding.decode_bytes(encoded[:1]).strip()) > 1
                if len(encoded) == 1 or (symbol in _MUSIC_SYMBOLS and is_specific):
                    tokens.add(encoded[0])
        return tuple(sorted(tokens))

    # ---- words ----

    @property
    def has_spaces(self) -> bool:
        """Whether the language is written with spaces between words."""
        return self.language not in _WITHOUT_SPACES

    def split_to_word_tokens(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Split tokens into words. Languages without spaces between words are split at every character.

        Returns:
            The words' texts, and the tokens of each word. Every token is in exactly one word, in order.
        """
        return self.split_tokens_on_spaces(tokens) if self.has_spaces else self.split_tokens_on_unicode(tokens)

    def split_tokens_on_unicode(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Split tokens into the shortest runs of complete characters; see `split_to_word_tokens`."""
        whole = self.decode_with_timestamps(tokens)
        words: list[str] = []
        word_tokens: list[list[int]] = []
        offset = 0  # of the current run in `whole`
        current: list[int] = []
        for token in tokens:
            current.append(token)
            text = self.decode_with_timestamps(current)
            # A replacement character means an incomplete character, unless the whole text has one there too. With bytes
            # that are not valid UTF-8 the run may be longer than the whole text; then no token can complete it.
            broken = offset + text.find(_REPLACEMENT) if _REPLACEMENT in text else None
            if broken is None or whole[broken : broken + 1] in ("", _REPLACEMENT):
                words.append(text)
                word_tokens.append(current)
                offset += len(text)
                current = []
        if current:  # never completed; keep its tokens
            words.append(self.decode_with_timestamps(current))
            word_tokens.append(current)
        return words, word_tokens

    def split_tokens_on_spaces(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Split tokens before each space, punctuation mark and special token; see `split_to_word_tokens`."""
        words: list[str] = []
        word_tokens: list[list[int]] = []
        for part, part_tokens in zip(*self.split_tokens_on_unicode(tokens), strict=True):
            special = not self.is_text(part_tokens[0])
            # `in` is a substring test: white space alone, and a run such as "()", also count as punctuation.
            if not words or special or part.startswith(" ") or part.strip() in string.punctuation:
                words.append(part)
                word_tokens.append(part_tokens)
            else:
                words[-1] += part
                word_tokens[-1] += part_tokens
        return words, word_tokens


@lru_cache(maxsize=4)
def get_encoding(
    name: str = "gpt2", num_languages: int = 99, vocabulary: bytes = b"", special_tokens: SpecialTokens | None = None
) -> Encoding:
    """Return an encoding, cached.

    Args:
        name: "gpt2" (English-only, 51,864 tokens) or "multilingual" (51,865 tokens; 51,866 with 100 languages).
        num_languages: Number of language tokens.
        vocabulary: A model's own ordinary tokens instead of the packaged ones, see `bpe.pack_vocabulary`.
        special_tokens: A model's own special tokens; None has OpenAI's, in their order.

    Raises:
        OptionError: The name or the number of languages is not supported.
        FormatError: If `vocabulary` is damaged.
    """
    if name not in ("gpt2", "multilingual"):
        raise OptionError(f"vocabulary {name!r} is unknown: it must be 'gpt2' or 'multilingual'")
    if not 1 <= num_languages <= len(LANGUAGES):
        raise OptionError(f"num_languages is {num_languages}: it must be 1 to {len(LANGUAGES)}")
    ranks = None if vocabulary else load_ranks(name)
    tokens = unpack_vocabulary(vocabulary) if ranks is None else list(ranks)
    special = special_tokens or SpecialTokens.in_order(len(tokens), num_languages, name == "multilingual")
    added = {token.text: token.id for token in special.added if not token.is_special}
    return Encoding(tokens, special.names(), ranks, added, special.n_vocab)


def get_tokenizer(
    multilingual: bool,
    *,
    num_languages: int = 99,
    language: str | None = None,
    task: Task | None = None,
    vocabulary: bytes = b"",
    special_tokens: SpecialTokens | None = None,
) -> Tokenizer:
    """Return the tokenizer of a model, cached.

    Args:
        multilingual: Whether the model is multilingual rather than English-only.
        num_languages: Number of language tokens: 99, or 100 from large-v3 on.
        language: A code or an English name, in upper or lower case; None is English. For an English-only model it is
            validated but not used.
        task: "transcribe" or "translate"; None is "transcribe". For an English-only model it is validated but not used.
        vocabulary: A model's own ordinary tokens, see `get_encoding`.
        special_tokens: A model's own special tokens, see `get_encoding`; the languages are then theirs.

    Raises:
        OptionError: The language or the task is unknown, or the model does not have the language.
    """
    if task is not None and task not in TASKS:
        raise OptionError(f"task {task!r} is unknown: it must be 'transcribe' or 'translate'")
    code = None if language is None else to_language_code(language)
    if not multilingual:
        return _tokenizer("gpt2", num_languages, None, None, vocabulary, special_tokens)
    return _tokenizer("multilingual", num_languages, code or "en", task or "transcribe", vocabulary, special_tokens)


@lru_cache(maxsize=2 * 2 * len(LANGUAGES))
def _tokenizer(
    name: str,
    num_languages: int,
    language: str | None,
    task: Task | None,
    vocabulary: bytes,
    special: SpecialTokens | None,
) -> Tokenizer:
    if special is None:
        encoding = get_encoding(name, num_languages, vocabulary)
        begin = encoding.special_tokens["<|0.00|>"]
        end = begin + N_TIMESTAMPS
    else:
        own = special.n_ordinary == len(load_ranks("gpt2"))
        encoding = get_encoding("gpt2" if own else "multilingual", 1, vocabulary, special)
        num_languages = len(special.languages)
        begin, end = special.timestamp_begin, special.timestamp_begin + special.n_timestamps
    tokenizer = Tokenizer(encoding, num_languages, begin, end, language, task)
    if language is not None:
        tokenizer.to_language_token(language)  # raises OptionError if this vocabulary does not have it
    return tokenizer
