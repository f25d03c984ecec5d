"""Match the words of a known text with the words that were recognized, in order.

The texts may be long and differ much: parts may be skipped or added. So they are first anchored at sequences of words
that occur once in each (patience diff), and only the short stretches between anchors are compared word by word.
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence

Pair = tuple[int, int]  # index of a word of the text, index of a recognized word
Block = tuple[int, int, int, int]  # begin and end in the text, begin and end among the recognized words

ANCHOR_LENGTHS = (6, 4, 3, 2)  # words of an anchor, in the order in which they are tried
MAX_CELLS = 250_000  # product of the lengths of a stretch that is compared word by word
MIN_SHARE = 0.25  # letters of a matched run, of those unmatched on its less different side; fewer match by chance


def is_letter(character: str) -> bool:
    """Return whether a character is a letter, a mark of one, or a digit."""
    return unicodedata.category(character)[0] in "LMN"


def matching_key(word: str) -> str:
    """Return a word without case, punctuation and variants of characters; empty if it is punctuation only."""
    return "".join(filter(is_letter, unicodedata.normalize("NFKC", word).casefold()))


def match_words(text: Sequence[str], recognized: Sequence[str]) -> list[Pair]:
    """Return pairs of equal words, in the order of both.

    Args:
        text: Keys of the text's words, see `matching_key`. Empty keys match nothing.
        recognized: Keys of the recognized words.
    """
    from difflib import SequenceMatcher  # imported here, as most programs do without

    pairs: list[Pair] = []
    pending: list[Block] = [(0, len(text), 0, len(recognized))]
    while pending:
        a, b, c, d = pending.pop()
        if a == b or c == d:
            continue
        if (b - a) * (d - c) <= MAX_CELLS:
            matcher = SequenceMatcher(None, text[a:b], recognized[c:d], autojunk=False)
            pairs += [(a + i + k, c + j + k) for i, j, n in matcher.get_matching_blocks() for k in range(n)]
            continue
        anchors = _anchors(text, recognized, (a, b, c, d))
        pairs += anchors
        for i, j in anchors:
            pending.append((a, i, c, j))
            a, c = i + 1, j + 1
        if anchors:  # otherwise nothing in this stretch can be told apart
            pending.append((a, b, c, d))
    return _without_chance_matches([pair for pair in sorted(pairs) if text[pair[0]]], text, recognized)


def _anchors(text: Sequence[str], recognized: Sequence[str], block: Block) -> list[Pair]:
    """Return pairs of equal words that belong to sequences which occur once in both texts, in the order of both."""
    a, b, c, d = block
    for n in ANCHOR_LENGTHS:
        ours, theirs = _unique_sequences(text, a, b, n), _unique_sequences(recognized, c, d, n)
        common = [(i, theirs[key]) for key, i in ours.items() if key in theirs]
        pairs: list[Pair] = []
        for i, j in _longest_chain(sorted(common)):
            # sequences may overlap
            pairs += [(i + k, j + k) for k in range(n) if not pairs or (i + k > pairs[-1][0] and j + k > pairs[-1][1])]
        if pairs:
            return pairs
    return []


def _unique_sequences(words: Sequence[str], begin: int, end: int, n: int) -> dict[tuple[str, ...], int]:
    """Return the sequences of `n` words that occur once, with their positions."""
    found: dict[tuple[str, ...], int] = {}
    repeated = set()
    for i in range(begin, end - n + 1):
        key = tuple(words[i : i + n])
        if key in found:
            repeated.add(key)
        found[key] = i
    return {key: i for key, i in found.items() if key not in repeated}


def _longest_chain(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the most pairs whose second numbers increase, of pairs in the order of their first numbers."""
    ends: list[int] = []  # the lowest second number at which a chain of each length ends
    last: list[int] = []  # index of the pair that is at its end
    before: list[int] = []  # for each pair, the one before it in its chain, or -1
    for index, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1], last[length : length + 1] = [j], [index]
    chain = []
    index = last[-1] if last else -1
    while index >= 0:
        chain.append(pairs[index])
        index = before[index]
    return chain[::-1]


def _runs(pairs: Sequence[Pair]) -> Iterator[tuple[int, int]]:
    """Yield begin and end, in `pairs`, of the runs of pairs that follow each other without a gap in either text."""
    begin = 0
    for k in range(1, len(pairs) + 1):
        if k == len(pairs) or pairs[k] != (pairs[k - 1][0] + 1, pairs[k - 1][1] + 1):
            yield begin, k
            begin = k


def _without_chance_matches(pairs: list[Pair], text: Sequence[str], recognized: Sequence[str]) -> list[Pair]:
    """Remove short runs between long stretches that differ, such as an article in the middle of a skipped page."""

    def letters(words: Sequence[str], begin: int, end: int) -> int:
        return sum(len(words[i]) for i in range(begin, end))

    kept: list[Pair] = []
    runs = list(_runs(pairs))
    for number, (begin, end) in enumerate(runs):
        (i, j), (last_i, last_j) = pairs[begin], pairs[end - 1]
        before_i, before_j = (kept[-1][0] + 1, kept[-1][1] + 1) if kept else (0, 0)
        after_i, after_j = pairs[runs[number + 1][0]] if number + 1 < len(runs) else (len(text), len(recognized))
        before = max(letters(text, before_i, i), letters(recognized, before_j, j))
        after = max(letters(text, last_i + 1, after_i), letters(recognized, last_j + 1, after_j))
        if letters(text, i, last_i + 1) >= MIN_SHARE * min(before, after):
            kept += pairs[begin:end]
    return kept
