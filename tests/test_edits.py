"""Counts of substitutions, deletions and insertions, and the words that are compared."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whisper_apr.evaluation import EditCounts, count_edits, uses_characters, words_of
from whisper_apr.evaluation.edits import matches


@pytest.mark.parametrize(
    ("true", "heard", "substituted", "deleted", "inserted"),
    [
        ("a b c", "a b c", 0, 0, 0),
        ("a b c", "a x c", 1, 0, 0),
        ("a b c", "a c", 0, 1, 0),
        ("a b c", "a b b c", 0, 0, 1),
        ("a b c", "", 0, 3, 0),
        ("", "a b", 0, 0, 2),
        ("", "", 0, 0, 0),
        ("k i t t e n", "s i t t i n g", 2, 0, 1),
        ("s a t u r d a y", "s u n d a y", 1, 2, 0),
        # two substitutions cost as much as a deletion and an insertion, which leave a word right
        ("a b", "b a", 0, 1, 1),
        ("the cat sat on the mat", "cat sit on a mat now", 2, 1, 1),
    ],
)
def test_by_hand(true: str, heard: str, substituted: int, deleted: int, inserted: int) -> None:
    counts = count_edits(true.split(), heard.split())
    assert counts == EditCounts(substituted, deleted, inserted, len(true.split()))


def distance(true: list[str], heard: list[str]) -> int:
    """The Levenshtein distance from its recursive definition, cell by cell."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(true, 1):
        row, above = [i], row
        for j, other in enumerate(heard, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (word != other)))
    return row[-1]


texts = st.lists(st.sampled_from("abcd"), max_size=12)


@given(texts, texts)
@example([], [])
def test_counts_are_an_alignment_of_the_least_distance(true: list[str], heard: list[str]) -> None:
    counts = count_edits(true, heard)
    assert counts.errors == distance(true, heard)
    assert min(counts.substitutions, counts.deletions, counts.insertions) >= 0
    assert len(true) - counts.deletions + counts.insertions == len(heard)
    assert counts.substitutions + counts.deletions <= len(true)
    back = count_edits(heard, true)
    assert (back.substitutions, back.deletions, back.insertions) == (
        counts.substitutions,
        counts.insertions,
        counts.deletions,
    )


def test_rate_and_sum() -> None:
    assert EditCounts(1, 2, 3, 4).rate == 1.5
    assert EditCounts(0, 0, 3, 0).rate is None
    assert EditCounts(1, 2, 3, 4) + EditCounts(10, 20, 30, 40) == EditCounts(11, 22, 33, 44)


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("What's THE colour—like, 25%?", "en", ["what", "is", "the", "color", "like", "25%"]),
        ("Um, Mr. Smith won't.", "en", ["mister", "smith", "will", "not"]),
        ("„Schöne“ Grüße, [lacht] 25!", "de", ["schöne", "grüße", "25"]),
        ("客観的、 実在。", "ja", list("客観的実在")),
        ("", "en", []),
    ],
)
def test_words(text: str, language: str, words: list[str]) -> None:
    assert words_of(text, language) == words
    assert uses_characters(language) == (language == "ja")


@pytest.mark.parametrize(
    ("reference", "heard", "expected"),
    [
        ("a b c", "a b c", [1, 1, 1]),
        ("a b c", "a x c", [1, 0, 1]),
        ("a b c", "b c d", [1, 1, 0]),
        ("", "a b", [0, 0]),
        ("a", "", []),
        ("a b", "b b a b", [0, 0, 1, 1]),
    ],
)
def test_matches(reference: str, heard: str, expected: list[int]) -> None:
    assert matches(reference.split(), heard.split()) == [bool(each) for each in expected]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_matches_belong_to_the_fewest_changes(reference: list[str], heard: list[str]) -> None:
    same, counts = sum(matches(reference, heard)), count_edits(reference, heard)
    assert same == len(heard) - counts.insertions - counts.substitutions
