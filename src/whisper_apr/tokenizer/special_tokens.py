"""The ids of a vocabulary's special tokens, for models whose tokens are not numbered as OpenAI's are.

A fine-tuned model may have tokens behind the timestamps, no timestamps, or fewer languages than its base.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import FormatError
from .languages import LANGUAGES

TIME_STEP = 0.02  # seconds between timestamp tokens: two mel frames, one position of the encoder
N_TIMESTAMPS = 1501  # from 0.00 to 30.00 s

END_OF_TEXT = "<|endoftext|>"
START = "<|startoftranscript|>"
NO_TIMESTAMPS = "<|notimestamps|>"
TASK_NAMES = ("<|translate|>", "<|transcribe|>")
# the tokens from the tasks to the timestamps, in the order of their ids in OpenAI's vocabularies
AFTER_LANGUAGES = (*TASK_NAMES, "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", NO_TIMESTAMPS)
REQUIRED = (END_OF_TEXT, START, *AFTER_LANGUAGES)


def language_name(code: str) -> str:
    """Return the name of a language's token."""
    return f"<|{code}|>"


def timestamp_name(index: int) -> str:
    """Return the name of a timestamp."""
    return f"<|{index * TIME_STEP:.2f}|>"


def special_names(num_languages: int) -> list[str]:
    """Return the names of OpenAI's special tokens in the order of their ids, which follow those of ordinary tokens."""
    return [
        END_OF_TEXT,
        START,
        *map(language_name, tuple(LANGUAGES)[:num_languages]),
        *AFTER_LANGUAGES,
        *map(timestamp_name, range(N_TIMESTAMPS)),
    ]


@dataclass(frozen=True)
class AddedToken:
    """A token that was added to a vocabulary.

    Attributes:
        id: The token's id.
        text: The text that it stands for, or its name.
        is_special: Whether it is a name, which is no part of a transcript.
    """

    id: int
    text: str
    is_special: bool = False


@dataclass(frozen=True)
class SpecialTokens:
    """The tokens of a vocabulary from `<|endoftext|>` on. Those before it are ordinary tokens.

    Attributes:
        n_vocab: Number of tokens, with those that have no name.
        multilingual: Whether a transcript starts with a language and a task.
        ids: The name and the id of each special token except timestamps, in the order of their ids.
        timestamp_begin: The timestamp 0.00 s.
        n_timestamps: 1501, or 0 for a model without timestamps.
        added: Further tokens, in the order of their ids.
    """

    n_vocab: int
    multilingual: bool
    ids: tuple[tuple[str, int], ...]
    timestamp_begin: int
    n_timestamps: int = N_TIMESTAMPS
    added: tuple[AddedToken, ...] = ()

    @classmethod
    def in_order(cls, n_ordinary: int, num_languages: int, multilingual: bool) -> "SpecialTokens":
        """Return the special tokens in OpenAI's order, behind `n_ordinary` tokens."""
        names = special_names(num_languages)[:-N_TIMESTAMPS]
        begin = n_ordinary + len(names)
        ids = tuple((name, n_ordinary + i) for i, name in enumerate(names))
        return cls(begin + N_TIMESTAMPS, multilingual, ids, begin)

    @property
    def n_ordinary(self) -> int:
        """Number of ordinary tokens, which is the id of `<|endoftext|>`."""
        return dict(self.ids)[END_OF_TEXT]

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes of the languages, in the order of their tokens."""
        return tuple(name[2:-2] for name, _ in self.ids if name[2:-2] in LANGUAGES)

    def names(self) -> dict[str, int]:
        """Return the ids of all special tokens by name, timestamps included."""
        times = {timestamp_name(i): self.timestamp_begin + i for i in range(self.n_timestamps)}
        return {**dict(self.ids), **times, **{token.text: token.id for token in self.added if token.is_special}}

    def check(self, where: str) -> None:
        """Check that the ids can be those of a model.

        Args:
            where: Names the file in error messages.

        Raises:
            FormatError: A token is missing, lies outside of the vocabulary or among the ordinary tokens, or two have
                the same id.
        """
        ids: Mapping[str, int] = dict(self.ids)
        if missing := [name for name in REQUIRED if name not in ids]:
            raise FormatError(f"{where}: the vocabulary has no token {missing[0]}")
        if self.n_timestamps not in (0, N_TIMESTAMPS) or self.timestamp_begin < 0:
            raise FormatError(
                f"{where}: {self.n_timestamps} timestamps from token {self.timestamp_begin} on are not supported; "
                f"there must be {N_TIMESTAMPS} or none"
            )
        taken: dict[int, str] = {}
        named = [*self.ids, *((token.text, token.id) for token in self.added)]
        if self.n_timestamps:
            named += [(timestamp_name(0), self.timestamp_begin), (timestamp_name(N_TIMESTAMPS - 1), self._last)]
        for name, token in named:
            if not self.n_ordinary <= token < self.n_vocab:
                raise FormatError(
                    f"{where}: {name} is token {token}; special tokens must be from {END_OF_TEXT}, which is "
                    f"{self.n_ordinary}, to {self.n_vocab - 1}, the model's last"
                )
            other = taken.setdefault(token, name)
            if other != name or self.timestamp_begin < token < self._last:
                other = other if other != name else "a timestamp"
                raise FormatError(f"{where}: {name} and {other} are the same token, {token}")
        if self.multilingual and not self.languages:
            raise FormatError(f"{where}: the vocabulary has no language that Whisper knows")

    @property
    def _last(self) -> int:
        return self.timestamp_begin + self.n_timestamps - 1
