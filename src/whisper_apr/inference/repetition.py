"""Text that repeats itself in a loop, recognized by its last tokens while it is decoded, and how it continues."""

from collections.abc import Callable, Sequence

MIN_COPIES = 4  # of the repeated tokens, one after another
MIN_TOKENS = 40  # of all copies; a text with as many copies of a sentence compresses by more than 2.4
MAX_PERIOD = 40  # tokens of one copy
MIN_REPEATED = 10  # tokens that are the same as one period before, for the same to be expected of those after them


def loop_start(tokens: Sequence[int], is_text: Callable[[int], bool]) -> int | None:
    """Return the index of the first token of the second copy, if the text ends in a loop, else None.

    Other tokens than text are passed over: in a loop of segments the timestamps differ.

    Args:
        tokens: The tokens decoded so far.
        is_text: Whether a token is text.
    """
    if len(tokens) < MIN_TOKENS:
        return None
    places = [i for i, token in enumerate(tokens) if is_text(token)]
    text = [tokens[i] for i in places]
    for period in range(1, min(MAX_PERIOD, len(text) // MIN_COPIES) + 1):
        n_same = 0  # tokens at the end that equal those one period before
        while n_same < len(text) - period and text[-1 - n_same] == text[-1 - n_same - period]:
            n_same += 1
        n_copies = n_same // period + 1
        if n_copies >= MIN_COPIES and n_copies * period >= MIN_TOKENS:
            return places[len(text) - n_same]
    return None


def loop_continuation(tokens: Sequence[int], n: int, timestamps: range) -> list[int]:
    """Return the next `n` tokens of a text whose last `MIN_REPEATED` tokens repeat earlier ones, or none.

    It is a guess, which is almost always right in a loop, and needs fewer tokens than `loop_start`. In a loop of
    segments, the timestamps are expected to go on by the same time.

    Args:
        tokens: The tokens decoded so far.
        n: The number of tokens to guess.
        timestamps: The tokens that are timestamps.
    """
    known = list(tokens[-MIN_REPEATED - 2 * MAX_PERIOD :])
    symbols = [timestamps.start if token in timestamps else token for token in known]
    for period in range(1, min(MAX_PERIOD, len(known) - MIN_REPEATED) + 1):
        if symbols[-MIN_REPEATED:] == symbols[-MIN_REPEATED - period : -period]:
            break
    else:
        return []
    for _ in range(n):
        token = known[-period]
        if token in timestamps and len(known) >= 2 * period:
            token += token - known[-2 * period]
            token = min(max(token, timestamps.start), timestamps.stop - 1)
        known.append(token)
    return known[len(known) - n :]
