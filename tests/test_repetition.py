"""Text that repeats itself in a loop."""

import pytest

from whisper_apr.inference.repetition import (
    MAX_PERIOD,
    MIN_COPIES,
    MIN_REPEATED,
    MIN_TOKENS,
    loop_continuation,
    loop_start,
)

TIME = 1000  # and above: timestamps
TIMES = range(TIME, TIME + 1500)


def start(tokens: list[int]) -> int | None:
    return loop_start(tokens, lambda token: token < TIME)


@pytest.mark.parametrize("period", [1, 3, 10, 25, MAX_PERIOD])
def test_a_loop_is_found_and_its_second_copy(period: int) -> None:
    before, copy = [901, 902, 903], list(range(period))
    n = max(MIN_COPIES, -(-MIN_TOKENS // period))
    looped = before + copy * n
    assert start(looped) == len(before) + period
    assert start(before + copy * (n - 1)) is None
    assert start([*looped, 904]) is None  # the text goes on


def test_an_incomplete_last_copy_belongs_to_the_loop() -> None:
    copy = list(range(10))
    assert start([901, *copy * 4, *copy[:7]]) == 11


def test_timestamps_are_passed_over() -> None:
    looped = [token for i in range(6) for token in (TIME + 2 * i, *range(8), TIME + 2 * i + 1)]
    assert start(looped) == 11  # the text after the second segment's timestamp
    assert loop_start(looped, lambda token: True) is None


def test_no_loop() -> None:
    assert start([]) is None
    assert start(list(range(200))) is None
    assert start([5] * (MIN_TOKENS - 1)) is None  # "no, no, no" is said, too
    assert start(list(range(MAX_PERIOD + 1)) * 5) is None


def following(tokens: list[int], n: int) -> list[int]:
    return loop_continuation(tokens, n, TIMES)


@pytest.mark.parametrize("period", [1, 3, MIN_REPEATED, MAX_PERIOD])
def test_a_loop_goes_on_as_before(period: int) -> None:
    copy = list(range(100, 100 + period))
    tokens = [901, 902, *copy, *(copy * MIN_REPEATED)[:MIN_REPEATED]]
    after = (copy * 2 * MIN_REPEATED)[MIN_REPEATED:]
    assert following(tokens, 7) == after[:7]
    assert following(tokens, 0) == []
    assert following(tokens[:-1], 7) == []


def test_the_timestamps_of_a_loop_go_on() -> None:
    looped = [token for i in range(5) for token in (TIME + 50 * i, *range(9), TIME + 50 * (i + 1))]
    for known in range(3 * 11, 4 * 11):
        assert following(looped[:known], 11) == looped[known : known + 11]
    last = TIMES[-1]
    assert following([last - 30, *range(9), last - 20, *range(9), last - 1, *range(9)], 2) == [last, 0]
    assert following([TIME, *range(9), TIME + 7, *range(9)], 1) == [TIME + 14]
    assert following([*range(10), TIME + 7, *range(10)], 1) == [TIME + 7]  # the time between them is not known


def test_the_nearest_copy_tells_how_a_text_goes_on() -> None:
    """The period of " a b a b" is 2, not 4."""
    assert following([1, 2] * MIN_REPEATED, 3) == [1, 2, 1]
    assert following([5] * (MIN_REPEATED + 1), 3) == [5] * 3


def test_nothing_is_expected_without_a_loop() -> None:
    assert following([], 5) == []
    assert following(list(range(200)), 5) == []
    far = list(range(MAX_PERIOD + 1))
    assert following(far * 3, 5) == []
    assert following([*[5] * 50, 6], 5) == []
