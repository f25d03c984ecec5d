"""Keep the decoded windows of unfinished recordings, so that an interrupted transcription can be resumed.

The text of a window depends only on its audio, its prompt, the model and the options. A transcription that is run again
with the same model and options, and takes decoded windows from a journal, gives the result of an uninterrupted one.
"""

import zlib
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from ..audio import N_FRAMES
from ..model.encoder import TIME_STRIDE
from ..tokenizer import LANGUAGES
from .decode import DecodingResult
from .results import Segment, Word
from .window_text import SeekWindow
from .windows import Aligner, WindowSequence

MAX_SECONDS = 1e9  # of any time: 30 years


@dataclass(frozen=True)
class _Decoded:
    """A DecodingResult without its features and language probabilities."""

    language: str
    tokens: tuple[int, ...]
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    compression_ratio: float
    is_cut: bool
    n_ctx: int  # positions that were encoded


@dataclass(frozen=True)
class _Word:
    """A Word."""

    word: str
    start: float
    end: float
    probability: float
    speaker: str | None = None


@dataclass(frozen=True)
class _Segment:
    """A Segment."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[_Word, ...] | None = None
    language: str | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class _Entry:
    """A window. Its content is copied, because a program may change its results."""

    decoded: _Decoded
    segments: tuple[_Segment, ...] | None = None  # with words; None if they were not aligned


class Journal:
    """The decoded windows of recordings, by the index of the recording."""

    def __init__(self) -> None:
        self._entries: dict[int, dict[str, _Entry]] = {}
        self._reached: dict[int, float] = {}
        self._continued: set[int] = set()  # recordings whose windows are no longer all taken from the journal

    def dump(self, recording: int) -> dict[str, Any]:
        """Return a recording's windows as dictionaries, lists, strings and numbers; empty if there are none."""
        return {key: asdict(entry) for key, entry in self._entries.get(recording, {}).items()}

    def load(self, recording: int, content: Any, n_vocab: int) -> None:
        """Load what `dump` returned, possibly by way of JSON and in another process.

        Raises:
            ValueError: `content` is anything else, or has tokens of `n_vocab` or above.
        """
        if not isinstance(content, dict):
            raise ValueError("a journal must be a dictionary")
        entries: dict[str, _Entry] = {str(key): _read(_Entry, value) for key, value in content.items()}
        for entry in entries.values():
            _check(entry, n_vocab)
        self._entries[recording] = entries

    def forget(self, recording: int) -> None:
        """Remove a recording, which is finished."""
        self._entries.pop(recording, None)
        self._reached.pop(recording, None)
        self._continued.discard(recording)

    def reached(self, recording: int) -> float:
        """Return the start in seconds of the first window decoded after windows from the journal; 0 if none was."""
        return self._reached.get(recording, 0.0)

    def entry(self, sequence: WindowSequence, window: SeekWindow) -> "JournalEntry":
        """Return the window's entry, which is empty if the window has not been decoded before."""
        recording = sequence.recording
        entry = JournalEntry(self._entries.setdefault(recording, {}), _key(sequence, window))
        is_known = entry.result is not None
        if recording not in self._continued and (is_known or recording in self._reached):
            self._reached[recording] = max(window.start, self._reached.get(recording, 0.0))
            if not is_known:
                self._continued.add(recording)
        return entry


class JournalEntry:
    """The entry of one window in a journal."""

    def __init__(self, entries: dict[str, _Entry], key: str) -> None:
        self._entries, self._key = entries, key

    @property
    def result(self) -> DecodingResult | None:
        """The decoded window, with audio features `(n_ctx, 0)`; None if it was not decoded before."""
        entry = self._entries.get(self._key)
        if entry is None:
            return None
        values = {field.name: getattr(entry.decoded, field.name) for field in fields(_Decoded)}
        features = np.zeros((values.pop("n_ctx"), 0), np.float32)
        return DecodingResult(features, **(values | {"tokens": list(entry.decoded.tokens)}))

    @property
    def has_words(self) -> bool:
        """Whether the window's segments were aligned before."""
        entry = self._entries.get(self._key)
        return entry is not None and entry.segments is not None

    def keep(self, result: DecodingResult) -> None:
        """Store the decoded window, unless it has numbers that JSON lacks."""
        values = {field.name: getattr(result, field.name) for field in fields(_Decoded) if field.name != "n_ctx"}
        values["n_ctx"] = len(result.audio_features)
        numbers = {name: float(value) for name, value in values.items() if isinstance(value, float | np.floating)}
        if all(map(isfinite, numbers.values())):
            self._entries[self._key] = _Entry(_Decoded(**(values | numbers | {"tokens": tuple(result.tokens)})))

    def aligner(self, aligner: Aligner) -> Aligner:
        """Return an aligner that returns the stored segments, or calls `aligner` and stores its result."""

        def aligned(segments: list[Segment], *rest: Any) -> list[Segment]:
            entry = self._entries.get(self._key)
            if entry is not None and entry.segments is not None:
                return list(map(_to_segment, entry.segments))
            found = aligner(segments, *rest)
            if entry is not None:
                self._entries[self._key] = replace(entry, segments=tuple(map(_from_segment, found)))
            return found

        return cast(Aligner, aligned)


def _from_segment(segment: Segment) -> _Segment:
    values: dict[str, Any] = {**segment, "tokens": tuple(segment.tokens)}
    if segment.words is not None:
        values["words"] = tuple(_Word(**word) for word in segment.words)
    return _Segment(**values)


def _to_segment(segment: _Segment) -> Segment:
    values = {field.name: getattr(segment, field.name) for field in fields(_Segment)}
    words = None if segment.words is None else [Word(**asdict(word)) for word in segment.words]
    return Segment(**(values | {"words": words}))


def _key(sequence: WindowSequence, window: SeekWindow) -> str:
    """Return the window's position and clip, and checksums of its spectrogram and its prompt."""
    prompt = repr((window.prompt, window.prefix, sequence.tokenizer.language)).encode()
    mel = zlib.crc32(np.ascontiguousarray(window.mel).data)
    place = f"{sequence.channel} {sequence.clip_number} {window.seek} {window.size}"
    return f"{place} {mel:08x} {zlib.crc32(prompt):08x}"


# ---- from JSON ------------------------------------------------------------------------------------------------------


def _check(entry: _Entry, n_vocab: int) -> None:
    """Raise ValueError for values that the rest of the package assumes not to occur."""
    segments = entry.segments or ()
    if not 0 < entry.decoded.n_ctx <= N_FRAMES // TIME_STRIDE:
        raise ValueError(f"a journal has a window of {entry.decoded.n_ctx} positions")
    if entry.decoded.language not in LANGUAGES:
        raise ValueError(f"a journal has the unknown language {entry.decoded.language!r}")
    for tokens in (entry.decoded.tokens, *(segment.tokens for segment in segments)):
        if any(not 0 <= token < n_vocab for token in tokens):
            raise ValueError("a journal has tokens that are not in the model's vocabulary")
    spans: list[_Segment | _Word] = [*segments, *(word for segment in segments for word in segment.words or ())]
    for span in spans:
        if not 0 <= span.start <= span.end <= MAX_SECONDS:
            raise ValueError(f"a journal has the impossible times {span.start} to {span.end}")


@cache
def _fields(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the types of a dataclass's fields, and the names of those without a default."""
    needed = [field.name for field in fields(kind) if field.default is MISSING]
    return get_type_hints(kind), frozenset(needed)


def _read(kind: Any, value: Any) -> Any:
    """Convert a value from JSON to the type `kind`. Raises ValueError if it does not match."""
    if kind is float and type(value) in (int, float) and isfinite(value):
        return float(value)
    if kind in (bool, int, str) and type(value) is kind:
        return value
    if get_origin(kind) in (Union, UnionType):
        (inner,) = [each for each in get_args(kind) if each is not NoneType]
        return None if value is None else _read(inner, value)
    if get_origin(kind) is tuple and isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_read(get_args(kind)[0], each) for each in value)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        types, needed = _fields(kind)
        if needed <= value.keys() <= types.keys():
            return kind(**{name: _read(types[name], each) for name, each in value.items()})
    raise ValueError(f"a journal has {str(value)[:40]!r} instead of a {getattr(kind, '__name__', kind)}")
