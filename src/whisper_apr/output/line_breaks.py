"""Where a line may be broken in text without spaces: the kinsoku rules of Japanese, and combining marks.

A full stop, comma or closing bracket may not begin a line, and an opening bracket may not end one: character classes
cl-01 to cl-07 of W3C's "Requirements for Japanese Text Layout", whose characters are also used in Chinese and Korean.
Small kana and the prolonged sound mark may begin a line, as that document's loose rules allow.
"""

import unicodedata

# Characters that may not begin a line, besides those of the Unicode categories Pe and Pf (closing brackets and
# quotation marks), in NFKC form, which full-width, half-width and small variants share.
CLOSING = frozenset("、。・〜~,.:;?!%")


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WFH"  # H: half-width forms of East Asian characters


def may_break(before: str, after: str) -> bool:
    """Return whether a line may be broken between two consecutive words.

    If neither side is East Asian, only a combining mark prevents a break, so that such text is laid out as by
    openai-whisper.

    Args:
        before: The word before the break, with any space.
        after: The word after it, with any space.
    """
    if not before or not after or before[-1].isspace() or after[0].isspace():
        return True
    last, first = before[-1], after[0]
    category = unicodedata.category(first)
    if category.startswith("M"):
        return False
    if not (_is_wide(last) or _is_wide(first)):
        return True
    is_closing = category in ("Pe", "Pf") or unicodedata.normalize("NFKC", first)[0] in CLOSING
    return not is_closing and unicodedata.category(last) not in ("Ps", "Pi")
