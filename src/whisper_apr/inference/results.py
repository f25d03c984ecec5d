"""What a transcription gives. Times are in seconds from the recording's beginning."""

from dataclasses import asdict, dataclass
from typing import Any


class _Record:
    """Fields by attribute and, as openai-whisper's dictionaries have them, by key."""

    def __getitem__(self, key: str) -> Any:
        try:
            return getattr(self, key)
        except AttributeError:
            raise KeyError(key) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists all the way down; fields that are None are left out."""
        return asdict(self, dict_factory=lambda pairs: {k: v for k, v in pairs if v is not None})  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class Word(_Record):
    word: str  # with the space before it, where there is one
    start: float
    end: float
    probability: float
    speaker: str | None = None  # the channel's number, from 0, where each is transcribed apart (channel="each")


@dataclass(frozen=True)
class Segment(_Record):
    id: int
    seek: int  # where its window begins, in frames of 10 ms
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] | None = None  # None where they were not asked for
    language: str | None = None  # where it may be another one in each window or channel
    speaker: str | None = None  # the channel's number, from 0, where each is transcribed apart (channel="each")


@dataclass(frozen=True)
class Transcription(_Record):
    text: str
    segments: tuple[Segment, ...]
    language: str
