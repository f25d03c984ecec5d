"""Text that repeats itself in a loop."""

import pytest

from whisper_apr.inference.repetition import MAX_PERIOD, MIN_COPIES, MIN_TOKENS, loop_start

TIME = 1000  # and above: timestamps


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
