"""Where a line may end in text that is written without spaces: the rules that Japanese calls kinsoku, and combining marks.

A full stop, a comma or a closing bracket never begins a line, an opening bracket never ends one (the character classes cl-01 to cl-07 of
W3C's "Requirements for Japanese Text Layout", of which Chinese and Korean have the same signs). Small kana and the long-vowel mark may begin
a line, as that document's loose rules allow.
"""

import unicodedata

# what the categories Pe and Pf, of closing brackets and quotation marks, do not tell; in their compatibility form, which is that of
# full-width, half-width and small variants too
CLOSING = frozenset("、。・〜~,.:;?!%")


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WFH"  # H: the half-width forms of the same signs


def may_break(before: str, after: str) -> bool:
    """Whether a line may end between two words that are written one after the other.

    Where neither side is East Asian only a combining mark forbids it, so that other text is laid out as openai-whisper does.
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
