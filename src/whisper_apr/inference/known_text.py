"""A known text: its words, and about when each of them is spoken, by comparison with the words that were recognized."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple

from ..errors import OptionError
from ..tokenizer import Tokenizer
from .options import APPENDED, PREPENDED
from .results import Word
from .text_matching import is_letter, match_words, matching_key
from .word_timestamps.alignment import WordTiming, merge_punctuations

SegmentUnit = Literal["lines", "sentences"]
SEGMENT_UNITS: tuple[SegmentUnit, ...] = ("lines", "sentences")
SENTENCE_ENDS = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])\s*")  # noqa: RUF001
MAX_CHARACTERS = 5_000_000  # of a text: a hundred hours of speech
MAX_WORD_TOKENS = 50  # more cannot be spoken as one word; for example a long URL, or garbage
REACH = 0.5  # seconds by which a word may exceed the recognized words in whose place it stands
MIN_LETTER, MAX_LETTER = 0.02, 0.3  # seconds of a letter in the fastest and the slowest speech
LONG_STRETCH = 10.0  # seconds that a stretch may last however few letters it has
MAX_RATIO, MORE_LETTERS = 2, 10  # how many more letters may be recognized in place of words of the text
PAUSE = 0.5  # seconds between words that are aligned separately
MAX_PIECE = 15.0  # seconds of words that are aligned together


@dataclass(frozen=True)
class TextWord:
    """A word of the text, with the space before it and its punctuation; `segment` is the number of its segment."""

    text: str
    tokens: tuple[int, ...]
    segment: int

    @property
    def key(self) -> str:
        """The word for comparison, empty if it has only punctuation."""
        return matching_key(self.text)


def check_text(text: str) -> None:
    """Raise OptionError if a text has no words, or is too long."""
    if not any(map(is_letter, text)):
        raise OptionError("text has no words; pass the words that are spoken in the recording")
    if len(text) > MAX_CHARACTERS:
        raise OptionError(f"text has {len(text)} characters, more than {MAX_CHARACTERS}; align it in parts")


def split_text(text: str, tokenizer: Tokenizer, unit: SegmentUnit) -> list[TextWord]:
    """Return the words of a text, whose segments are its lines or its sentences."""
    parts = text.splitlines()
    if unit == "sentences":  # which do not continue in the next line
        parts = [sentence for line in parts for sentence in SENTENCE_ENDS.split(line)]
    words: list[TextWord] = []
    for number, part in enumerate(filter(None, map(str.strip, parts))):
        tokens = tokenizer.encode(f" {part}" if tokenizer.has_spaces else part)
        split = zip(*tokenizer.split_to_word_tokens(tokens), strict=True)
        timings = [WordTiming(word, tuple(tokens), 0, 0, 0) for word, tokens in split]
        words += [TextWord(t.word, t.tokens, number) for t in merge_punctuations(timings, PREPENDED, APPENDED)]
    return words


class Added(NamedTuple):
    """Recognized words that the text does not have, and the index of the text's word that follows them."""

    words: Sequence[Word]
    before: int


@dataclass(frozen=True)
class Places:
    """About when each word of a text is spoken.

    Attributes:
        times: Start and end in seconds of each word; None if it is not spoken.
        doubtful: First word and end of each stretch that was not recognized, and may have been skipped.
        added: Stretches of recognized words that the text does not have.
    """

    times: list[tuple[float, float] | None]
    doubtful: list[tuple[int, int]] = field(default_factory=list)
    added: list[Added] = field(default_factory=list)


def find_places(words: Sequence[TextWord], recognized: Sequence[Word], duration: float) -> Places:
    """Find about when the words of a text are spoken.

    A word that was recognized has the time at which it was. Words in place of others share the time of those. A word
    without counterpart may be spoken in the time between its neighbors, if that is long enough.

    Args:
        words: The text.
        recognized: The words that were recognized, in order.
        duration: Seconds of the recording.
    """
    places = Places([None] * len(words))
    keys = [word.key if len(word.tokens) <= MAX_WORD_TOKENS else "" for word in words]
    pairs = match_words(keys, [matching_key(word.word) for word in recognized])
    for (i, j), (next_i, next_j) in pairwise([(-1, -1), *pairs, (len(words), len(recognized))]):
        if i >= 0:
            places.times[i] = recognized[j].start, recognized[j].end
        low = recognized[j].end if j >= 0 else 0.0
        high = recognized[next_j].start if next_j < len(recognized) else duration
        between = recognized[j + 1 : next_j]
        if between:
            low, high = max(low, between[0].start - REACH), min(high, between[-1].end + REACH)
        stretch = range(i + 1, next_i)
        most = MAX_RATIO * sum(len(words[index].key) for index in stretch) + MORE_LETTERS
        is_likely = recognized and sum(len(matching_key(word.word)) for word in between) <= most
        fits = is_likely and _spread(places.times, stretch, words, low, high)
        if fits and not between:
            places.doubtful.append((stretch.start, stretch.stop))
        if between and not fits:
            places.added.append(Added(between, next_i))
    return places


def _spread(
    times: list[tuple[float, float] | None], stretch: range, words: Sequence[TextWord], low: float, high: float
) -> bool:
    """Divide the time from `low` to `high` among the words of a stretch, if they can take that long."""
    letters = {i: max(1, len(words[i].key)) for i in stretch if len(words[i].tokens) <= MAX_WORD_TOKENS}
    total = sum(letters.values())
    if not total or not MIN_LETTER * total <= high - low <= max(LONG_STRETCH, MAX_LETTER * total):
        return False
    done = 0
    for i, n in letters.items():
        begin, end = (low + (high - low) * at / total for at in (done, done + n))
        times[i] = begin, end
        done += n
    return True


def divide(words: Sequence[TextWord], places: Places, max_tokens: int) -> Iterator[list[int]]:
    """Yield the indices of words that are aligned together: those between pauses and added speech, up to a limit."""
    piece: list[int] = []
    first = last = 0.0
    n_token = 0
    after_added = {stretch.before for stretch in places.added}
    for i, time in enumerate(places.times):
        if time is None:
            continue
        start, end = time
        n_token += len(words[i].tokens)
        is_apart = start - last > PAUSE or i in after_added
        if piece and (is_apart or end - first > MAX_PIECE or n_token > max_tokens):
            yield piece
            piece, n_token = [], len(words[i].tokens)
        if not piece:
            first = start
        piece.append(i)
        last = end
    if piece:
        yield piece
