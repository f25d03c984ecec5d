"""faster_whisper.tokenizer: text as tokens."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from ...errors import OptionError
from ...tokenizer import LANGUAGES, TASKS, get_tokenizer
from ...tokenizer import Tokenizer as _Tokenizer
from ...tokenizer.special_tokens import TIME_STEP

_TASKS = TASKS
_LANGUAGE_CODES = (*sorted(LANGUAGES.keys() - {"yue"}), "yue")


class Tokenizer:
    """A vocabulary, with the language and task of a transcript.

    Attributes:
        tokenizer: `WhisperModel.hf_tokenizer`, or a `tokenizers.Tokenizer`.
        task: Token of the task; None for an English-only model.
        language: Token of the language; None for an English-only model.
        language_code: Code of the language.
    """

    def __init__(
        self, tokenizer: Any, multilingual: bool, task: str | None = None, language: str | None = None
    ) -> None:
        """Make a tokenizer.

        Args:
            tokenizer: The vocabulary.
            multilingual: Whether the model knows other languages than English.
            task: "transcribe" or "translate"; needed if multilingual.
            language: A code; needed if multilingual.

        Raises:
            OptionError: The task or the language is unknown.
        """
        self.tokenizer = tokenizer
        self.task: int | None = None
        self.language: int | None = None
        self.language_code = "en"
        if not multilingual:
            return
        if task not in _TASKS:
            raise OptionError(f"{task!r} is not a task; use {' or '.join(_TASKS)}")
        if language not in _LANGUAGE_CODES:
            raise OptionError(f"{language!r} is not the code of a language; use one of {', '.join(_LANGUAGE_CODES)}")
        self.task = self._special(task)
        self.language = self._special(language)
        self.language_code = language

    def _special(self, name: str) -> int:
        token: int | None = self.tokenizer.token_to_id(f"<|{name}|>")
        if token is None:
            raise OptionError(f"the vocabulary has no token <|{name}|>")
        return token

    @cached_property
    def transcribe(self) -> int:
        """Token of the task of transcribing."""
        return self._special("transcribe")

    @cached_property
    def translate(self) -> int:
        """Token of the task of translating to English."""
        return self._special("translate")

    @cached_property
    def sot(self) -> int:
        """Start of transcript."""
        return self._special("startoftranscript")

    @cached_property
    def sot_lm(self) -> int:
        """Start of text without audio."""
        return self._special("startoflm")

    @cached_property
    def sot_prev(self) -> int:
        """Start of the previous text."""
        return self._special("startofprev")

    @cached_property
    def eot(self) -> int:
        """End of text."""
        return self._special("endoftext")

    @cached_property
    def no_timestamps(self) -> int:
        """The transcript has no timestamps."""
        return self._special("notimestamps")

    @cached_property
    def no_speech(self) -> int:
        """No speech in the window."""
        known = self.tokenizer.token_to_id("<|nospeech|>") is not None
        return self._special("nospeech" if known else "nocaptions")

    @property
    def timestamp_begin(self) -> int:
        """The timestamp 0.00 s."""
        return self.no_timestamps + 1

    @property
    def sot_sequence(self) -> list[int]:
        """Start of transcript, language and task."""
        return [self.sot, *(token for token in (self.language, self.task) if token is not None)]

    def encode(self, text: str) -> list[int]:
        """Encode a text."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Iterable[int]) -> str:
        """Decode the tokens of text, without timestamps and other special tokens."""
        return str(self.tokenizer.decode([token for token in tokens if token < self.eot]))

    def decode_with_timestamps(self, tokens: Iterable[int]) -> str:
        """Decode tokens to text, with timestamps such as `<|1.08|>`."""
        parts: list[str] = []
        run: list[int] = []
        for token in tokens:
            if token < self.timestamp_begin:
                run.append(token)
                continue
            parts += [self.tokenizer.decode(run), f"<|{(token - self.timestamp_begin) * TIME_STEP:.2f}|>"]
            run = []
        return "".join([*parts, self.tokenizer.decode(run)])

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """The tokens of annotations such as (LAUGHTER), sorted."""
        known: tuple[int, ...] | None = getattr(self.tokenizer, "non_speech_tokens", None)
        # a `tokenizers.Tokenizer` of Whisper has one of the two packaged vocabularies
        is_english = self.eot == get_tokenizer(False).eot
        return get_tokenizer(not is_english).non_speech_tokens if known is None else known

    def split_to_word_tokens(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Split tokens into words; into characters in languages without spaces between words."""
        return self._like_ours("split_to_word_tokens", tokens)

    def split_tokens_on_unicode(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Split tokens into the shortest runs of complete characters."""
        return self._like_ours("split_tokens_on_unicode", tokens)

    def split_tokens_on_spaces(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Split tokens before each space, punctuation mark and special token."""
        return self._like_ours("split_tokens_on_spaces", tokens)

    def _like_ours(self, method: str, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Call a method of whisper_apr's tokenizer, which uses this one's vocabulary, language and end of text."""
        words: tuple[list[str], list[list[int]]] = getattr(_Splitter(self), method)(tokens)
        return words


class _Splitter(_Tokenizer):
    """whisper_apr's rules for words, over the vocabulary of another tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.__dict__.update(language=tokenizer.language_code, eot=tokenizer.eot, _tokenizer=tokenizer)

    def decode_with_timestamps(self, tokens: Iterable[int]) -> str:
        text: str = self.__dict__["_tokenizer"].decode_with_timestamps(tokens)
        return text
