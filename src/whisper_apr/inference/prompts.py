"""The prompt and prefix of each window of a sequence: text given to the decoder before it, and text it begins with."""

from collections.abc import Sequence


class PromptContext:
    """The prompt and prefix of each window of a sequence.

    Args:
        always: Tokens that begin every window's prompt.
        before: Tokens that follow them in the first window's prompt; the text of each window is appended to these.
        max_tokens: The most tokens that a prompt may have; a prefix counts too.
        prefix: Tokens that the first window's text begins with.
    """

    def __init__(
        self, always: Sequence[int], before: Sequence[int], max_tokens: int, prefix: Sequence[int] = ()
    ) -> None:
        self.always = list(always)
        self.recent = list(before)
        self.max_tokens = max_tokens
        self._prefix = tuple(prefix)

    def next_prompt(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the next window's prompt and prefix. Only the first window has a prefix, which shortens its prompt."""
        prefix, self._prefix = self._prefix, ()
        max_tokens = max(0, self.max_tokens - len(prefix))
        always = self.always[max(0, len(self.always) - max_tokens) :]
        recent = self.recent[max(0, len(self.recent) - (max_tokens - len(always))) :]
        return (*always, *recent), prefix

    def add(self, tokens: Sequence[int]) -> None:
        """Append a window's text."""
        self.recent = [*self.recent, *tokens][-max(1, self.max_tokens) :]

    def clear(self) -> None:
        """Forget the text of all windows so far."""
        self.recent = []
