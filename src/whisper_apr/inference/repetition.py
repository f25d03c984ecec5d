"""Text that repeats itself in a loop, recognized by its last tokens while it is decoded."""

from collections.abc import Callable, Sequence

MIN_COPIES = 4  # of the repeated tokens, one after another
MIN_TOKENS = 40  # of all copies; a text with as many copies of a sentence compresses by more than 2.4
MAX_PERIOD = 40  # tokens of one copy


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
