"""Whisper's tokens: the vocabulary's ordinary ones, and those that stand for languages, tasks and times."""

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from whisper_apr.errors import OptionError

from .bpe import Encoding, load_ranks, unpack_vocabulary
from .languages import LANGUAGES, to_language_code

Task = Literal["transcribe", "translate"]

TASKS: tuple[Task, ...] = ("transcribe", "translate")
TIME_STEP = 0.02  # seconds from one timestamp token to the next: two frames of mel, one of the encoder
N_TIMESTAMPS = 1501  # 0.00 to 30.00 s

# Written without spaces between the words, which are therefore split at every character.
_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# Signs of a note on what is heard, such as [LAUGHTER] or a speaker's name, rather than of speech. Signs and runs of them
# are suppressed where they are one token. A music sign is suppressed by its first token, even where it takes several:
# all lie between U+2640 and U+267F, so that their first bytes stand for nothing but such symbols.
_NOTE_SIGNS = '"#()*+/:;<=>@[\\]^_`{|}~「」『』'
_NOTE_RUNS = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"
_MUSIC_SIGNS = "♩♪♫♬♭♮♯"


@dataclass(frozen=True)
class Tokenizer:
    """A vocabulary, and the language and task that a transcript begins with. `get_tokenizer` makes it."""

    encoding: Encoding
    num_languages: int
    language: str | None = None  # a code; None where the model knows no language tokens
    task: Task | None = None

    def encode(self, text: str) -> list[int]:
        """The tokens of any text; see `Encoding.encode`. The name of a special token is ordinary text."""
        return self.encoding.encode(text)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of the tokens, timestamps left out; other special tokens appear by name.

        Decode a whole run of tokens, not one by one: a token may end inside a character, which then becomes U+FFFD.
        """
        return self.encoding.decode([token for token in tokens if token < self.timestamp_begin])

    def decode_with_timestamps(self, tokens: Iterable[int]) -> str:
        """The text of the tokens, timestamps as `<|1.08|>`. OptionError where a number is no token."""
        return self.encoding.decode(tokens)

    # ---- special tokens ----

    @property
    def special_tokens(self) -> dict[str, int]:
        """The special tokens by name, in the order of their numbers."""
        return self.encoding.special_tokens

    @cached_property
    def eot(self) -> int:
        """End of text: 50257, and 50256 in English-only models."""
        return self.special_tokens["<|endoftext|>"]

    @cached_property
    def sot(self) -> int:
        """Start of transcript."""
        return self.special_tokens["<|startoftranscript|>"]

    @cached_property
    def translate(self) -> int:
        """The task of translating into English."""
        return self.special_tokens["<|translate|>"]

    @cached_property
    def transcribe(self) -> int:
        """The task of writing down what is said, in its own language."""
        return self.special_tokens["<|transcribe|>"]

    @cached_property
    def sot_lm(self) -> int:
        """Start of a text without audio."""
        return self.special_tokens["<|startoflm|>"]

    @cached_property
    def sot_prev(self) -> int:
        """Start of the text that came before, which stands before `sot`."""
        return self.special_tokens["<|startofprev|>"]

    @cached_property
    def no_speech(self) -> int:
        """Nobody speaks."""
        return self.special_tokens["<|nospeech|>"]

    @cached_property
    def no_timestamps(self) -> int:
        """The transcript is to have no timestamps."""
        return self.special_tokens["<|notimestamps|>"]

    @cached_property
    def timestamp_begin(self) -> int:
        """The token of 0.00 s; every token from here on is a timestamp, `TIME_STEP` seconds after the one before."""
        return self.special_tokens["<|0.00|>"]

    # ---- languages ----

    @cached_property
    def language_token(self) -> int:
        """The token of this tokenizer's language. OptionError where it has none, as with English-only models."""
        if self.language is None:
            raise OptionError("this tokenizer has no language: the model is English-only")
        return self.to_language_token(self.language)

    def to_language_token(self, language: str) -> int:
        """The token of a language given by code or by name. OptionError where this vocabulary lacks it."""
        code = to_language_code(language)
        if code not in self.all_language_codes:
            raise OptionError(f"language {language!r} is not among the {self.num_languages} that this model knows")
        return self.special_tokens[f"<|{code}|>"]

    @cached_property
    def all_language_codes(self) -> tuple[str, ...]:
        """The codes of the languages in this vocabulary, in the order of their tokens."""
        return tuple(LANGUAGES)[: self.num_languages]

    @cached_property
    def all_language_tokens(self) -> tuple[int, ...]:
        """The languages' tokens, beside `all_language_codes`."""
        return tuple(self.special_tokens[f"<|{code}|>"] for code in self.all_language_codes)

    # ---- what a transcript begins with, and what it may not hold ----

    @cached_property
    def sot_sequence(self) -> tuple[int, ...]:
        """Start of transcript, language, task; for an English-only model the start alone."""
        sequence = [self.sot]
        if self.language is not None:
            sequence.append(self.language_token)
        if self.task is not None:
            sequence.append(self.translate if self.task == "translate" else self.transcribe)
        return tuple(sequence)

    @cached_property
    def sot_sequence_including_notimestamps(self) -> tuple[int, ...]:
        """`sot_sequence`, then the token that asks for no timestamps."""
        return (*self.sot_sequence, self.no_timestamps)

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """The tokens to suppress so that a transcript holds what is said and no notes (♪♪, (LAUGHTER), [JOHN]), sorted.

        Plain punctuation stays, and so do the hyphen and the apostrophe inside a word; at a word's beginning they go.
        """
        tokens = {encoded[0] for encoded in (self.encode(" -"), self.encode(" '")) if len(encoded) == 1}
        for sign in (*_NOTE_SIGNS, *_NOTE_RUNS.split(), *_MUSIC_SIGNS):
            for encoded in (self.encode(sign), self.encode(" " + sign)):
                # one byte of three begins much else: so it is where a vocabulary of another make joins none of them
                if len(encoded) == 1 or (
                    sign in _MUSIC_SIGNS and len(self.encoding.decode_bytes(encoded[:1]).strip()) > 1
                ):
                    tokens.add(encoded[0])
        return tuple(sorted(tokens))

    # ---- words ----

    def split_to_word_tokens(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Cut tokens into words: their texts, and beside each the tokens it is made of.

        Every token is in exactly one word, in order. Languages that write no spaces are split at every character.
        """
        if self.language in _WITHOUT_SPACES:
            return self.split_tokens_on_unicode(tokens)
        return self.split_tokens_on_spaces(tokens)

    def split_tokens_on_unicode(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Cut tokens into the shortest runs that end where a character ends; as `split_to_word_tokens` returns them."""
        whole = self.decode_with_timestamps(tokens)
        words: list[str] = []
        word_tokens: list[list[int]] = []
        offset = 0  # where the current run begins in `whole`
        current: list[int] = []
        for token in tokens:
            current.append(token)
            text = self.decode_with_timestamps(current)
            # A replacement character means half a character, unless the whole text has one in that place too. Where
            # bytes are not UTF-8 the run may lie beyond the end of the whole text; then nothing more can complete it.
            broken = offset + text.find(_REPLACEMENT) if _REPLACEMENT in text else None
            if broken is None or whole[broken : broken + 1] in ("", _REPLACEMENT):
                words.append(text)
                word_tokens.append(current)
                offset += len(text)
                current = []
        if current:  # never completed: no token is lost
            words.append(self.decode_with_timestamps(current))
            word_tokens.append(current)
        return words, word_tokens

    def split_tokens_on_spaces(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Cut tokens before each space, punctuation mark and special token; as `split_to_word_tokens` returns them."""
        words: list[str] = []
        word_tokens: list[list[int]] = []
        for part, part_tokens in zip(*self.split_tokens_on_unicode(tokens), strict=True):
            special = part_tokens[0] >= self.eot
            # "in" on purpose: nothing but white space, and a run such as "()", count as punctuation too.
            if not words or special or part.startswith(" ") or part.strip() in string.punctuation:
                words.append(part)
                word_tokens.append(part_tokens)
            else:
                words[-1] += part
                word_tokens[-1] += part_tokens
        return words, word_tokens


def special_names(num_languages: int) -> list[str]:
    """The names of the special tokens, in the order of their numbers, which follow those of the ordinary ones."""
    return [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in tuple(LANGUAGES)[:num_languages]),
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
        *(f"<|{i * TIME_STEP:.2f}|>" for i in range(N_TIMESTAMPS)),
    ]


@lru_cache(maxsize=4)
def get_encoding(name: str = "gpt2", num_languages: int = 99, vocabulary: bytes = b"") -> Encoding:
    """The vocabulary `gpt2` (English-only: 51,864 tokens) or `multilingual` (51,865; 51,866 with 100 languages).

    vocabulary: a model's own ordinary tokens in the place of those, as `bpe.pack_vocabulary` has them.
    """
    if name not in ("gpt2", "multilingual"):
        raise OptionError(f"vocabulary {name!r} is not known: it is 'gpt2' or 'multilingual'")
    if not 1 <= num_languages <= len(LANGUAGES):
        raise OptionError(f"num_languages is {num_languages}: it must be 1 to {len(LANGUAGES)}")
    if vocabulary:
        return Encoding(unpack_vocabulary(vocabulary), special_names(num_languages))
    ranks = load_ranks(name)
    return Encoding(list(ranks), special_names(num_languages), ranks)


def get_tokenizer(
    multilingual: bool,
    *,
    num_languages: int = 99,
    language: str | None = None,
    task: Task | None = None,
    vocabulary: bytes = b"",
) -> Tokenizer:
    """The tokenizer of a model. Made once for each set of arguments, then the same object.

    language: a code or an English name, in any case; None is English. task: None is `transcribe`. For an English-only
    model (`multilingual=False`) both are checked and then left out. num_languages: 99, and 100 from large-v3 on.
    vocabulary: see `get_encoding`.
    OptionError where a language or task is not known, or this model lacks the language.
    """
    if task is not None and task not in TASKS:
        raise OptionError(f"task {task!r} is not known: it is 'transcribe' or 'translate'")
    code = None if language is None else to_language_code(language)
    if not multilingual:
        return _tokenizer("gpt2", num_languages, None, None, vocabulary)
    return _tokenizer("multilingual", num_languages, code or "en", task or "transcribe", vocabulary)


@lru_cache(maxsize=2 * 2 * len(LANGUAGES))
def _tokenizer(name: str, num_languages: int, language: str | None, task: Task | None, vocabulary: bytes) -> Tokenizer:
    tokenizer = Tokenizer(get_encoding(name, num_languages, vocabulary), num_languages, language, task)
    if language is not None:
        tokenizer.to_language_token(language)  # raises where this vocabulary lacks it
    return tokenizer
