"""What windows were decoded to, kept so that a transcription that was interrupted goes on where it was.

A window's text depends on its sound and on what it is told, and on nothing else. So a transcription that runs again with the same model
and options, and takes from a journal what was decoded before, comes to the result of one that was never interrupted.
"""

import zlib
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from ..tokenizer import LANGUAGES
from .decode import DecodingResult
from .results import Segment, Word
from .windows import Aligner, SeekWindow, WindowSequence

LATEST = 1e9  # seconds: 30 years of sound
NO_FEATURES = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class _Decoded:
    """A window's DecodingResult without its features."""

    language: str
    tokens: tuple[int, ...]
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    compression_ratio: float
    is_cut: bool


@dataclass(frozen=True)
class _Entry:
    decoded: _Decoded
    segments: tuple[Segment, ...] | None = None  # with their words; None where these were not looked for


class Journal:
    """The windows that were decoded of recordings that are not finished, by the recordings' numbers."""

    def __init__(self) -> None:
        self._entries: dict[int, dict[str, _Entry]] = {}
        self._reached: dict[int, float] = {}
        self._went_on: set[int] = set()  # the recordings of which a window was missing after some that were there

    def dump(self, recording: int) -> dict[str, Any]:
        """Return what there is of a recording, in dictionaries, lists, texts and numbers; empty where nothing was decoded."""
        return {key: asdict(entry) for key, entry in self._entries.get(recording, {}).items()}

    def load(self, recording: int, content: Any, n_vocab: int) -> None:
        """Take what `dump` returned, in this process or, through JSON, in another.

        Raises ValueError for anything else, and for tokens beyond the model's `n_vocab`.
        """
        if not isinstance(content, dict):
            raise ValueError("a journal must be a dictionary")
        entries: dict[str, _Entry] = {str(key): _read(_Entry, value) for key, value in content.items()}
        for entry in entries.values():
            _check(entry, n_vocab)
        self._entries[recording] = entries

    def forget(self, recording: int) -> None:
        """Drop a recording, which is finished."""
        self._entries.pop(recording, None)
        self._reached.pop(recording, None)
        self._went_on.discard(recording)

    def reached(self, recording: int) -> float:
        """Return where, in seconds, windows were decoded again after those that were taken from the journal; 0 where none was."""
        return self._reached.get(recording, 0.0)

    def place(self, passage: WindowSequence, window: SeekWindow) -> "Place":
        """Return the window's place, which is empty where it has not been decoded before."""
        recording = passage.recording
        place = Place(self._entries.setdefault(recording, {}), _key(passage, window))
        is_known = place.result is not None
        if recording not in self._went_on and (is_known or recording in self._reached):
            self._reached[recording] = max(window.start, self._reached.get(recording, 0.0))
            if not is_known:
                self._went_on.add(recording)
        return place


class Place:
    """The place of one window in a journal."""

    def __init__(self, entries: dict[str, _Entry], key: str) -> None:
        self._entries, self._key = entries, key

    @property
    def result(self) -> DecodingResult | None:
        """What the window was decoded to before, without features."""
        entry = self._entries.get(self._key)
        if entry is None:
            return None
        return DecodingResult(NO_FEATURES, **{f.name: getattr(entry.decoded, f.name) for f in fields(_Decoded)})

    @property
    def has_words(self) -> bool:
        """Whether the window's segments are there with their words."""
        entry = self._entries.get(self._key)
        return entry is not None and entry.segments is not None

    def keep(self, result: DecodingResult) -> None:
        """Take in what the window was decoded to."""
        about = {field.name: getattr(result, field.name) for field in fields(_Decoded)}
        numbers = {name: float(value) for name, value in about.items() if isinstance(value, float | np.floating)}
        if all(map(isfinite, numbers.values())):  # JSON has no others
            self._entries[self._key] = _Entry(_Decoded(**(about | numbers)))

    def aligner(self, aligner: Aligner) -> Aligner:
        """Return an aligner that gives the words that are there, or finds them by `aligner` and keeps them."""

        def aligned(segments: list[Segment], *rest: Any) -> list[Segment]:
            entry = self._entries.get(self._key)
            if entry is not None and entry.segments is not None:
                return list(entry.segments)
            found = aligner(segments, *rest)
            if entry is not None:
                self._entries[self._key] = replace(entry, segments=tuple(found))
            return found

        return cast(Aligner, aligned)


def _key(passage: WindowSequence, window: SeekWindow) -> str:
    """Where a window is, of which clip, and checksums of its sound and of what it is told."""
    told = repr((window.prompt, window.prefix, passage.tokenizer.language)).encode()
    sound = zlib.crc32(np.ascontiguousarray(window.mel).data)
    return f"{passage.channel} {passage.place} {window.seek} {window.size} {sound:08x} {zlib.crc32(told):08x}"


# ---- from JSON ------------------------------------------------------------------------------------------------------


def _check(entry: _Entry, n_vocab: int) -> None:
    """Raise ValueError for values that the rest of the package takes for granted not to occur."""
    segments = entry.segments or ()
    if entry.decoded.language not in LANGUAGES:
        raise ValueError(f"a journal has the language {entry.decoded.language!r}")
    for tokens in (entry.decoded.tokens, *(segment.tokens for segment in segments)):
        if any(not 0 <= token < n_vocab for token in tokens):
            raise ValueError("a journal has tokens that the model does not have")
    spans: list[Segment | Word] = [*segments, *(word for segment in segments for word in segment.words or ())]
    for span in spans:
        if not 0 <= span.start <= span.end <= LATEST:
            raise ValueError(f"a journal has times from {span.start} to {span.end}")


@cache
def _fields(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """A record's fields with their types, and the names of those that it must have."""
    needed = [field.name for field in fields(kind) if field.default is MISSING]
    return get_type_hints(kind), frozenset(needed)


def _read(kind: Any, value: Any) -> Any:
    """Make a record, or a part of one, of what JSON has of it. Raises ValueError where it does not fit."""
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
    raise ValueError(f"a journal has {str(value)[:40]!r} where it must have {getattr(kind, '__name__', kind)}")
