"""Normalize text of any language: lower case, without brackets, symbols and, if wanted, diacritics."""

import re
import unicodedata

# Letters that Unicode does not decompose, and what replaces them.
ADDITIONAL_DIACRITICS = {
    "œ": "oe",
    "Œ": "OE",
    "ø": "o",
    "Ø": "O",
    "æ": "ae",
    "Æ": "AE",
    "ß": "ss",
    "ẞ": "SS",
    "đ": "d",
    "Đ": "D",
    "ð": "d",
    "Ð": "D",
    "þ": "th",
    "Þ": "th",
    "ł": "l",
    "Ł": "L",
}

_BRACKETS = re.compile(r"[<\[][^>\]]*[>\]]")
_PARENTHESES = re.compile(r"\(([^)]+?)\)")
_WHITE_SPACE = re.compile(r"\s+")

# Extended grapheme clusters (Unicode Standard Annex 29), of text without marks (categories Mn, Mc and Me) and symbols.
# What remains are Hangul syllables, and characters that prepend, extend or control.
_PREPEND = (
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd\U000110cd\U000111c2\U000111c3\U000113d1"
    "\U0001193f\U00011941\U00011a84-\U00011a89\U00011d46\U00011f02"
)
_EXTEND = "\u200c\u200d\U000e0020-\U000e007f"
_CONTROL = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff0-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f"
    "\U000e0080-\U000e0fff"
)
_LEAD, _VOWEL, _TAIL = "[\u1100-\u115f\ua960-\ua97c]", "[\u1160-\u11a7\ud7b0-\ud7c6]", "[\u11a8-\u11ff\ud7cb-\ud7fb]"
_SYLLABLES_WITHOUT_TAIL = "".join(map(chr, range(0xAC00, 0xD7A4, 28)))
_HANGUL = f"{_LEAD}*(?:(?:{_VOWEL}|[{_SYLLABLES_WITHOUT_TAIL}]){_VOWEL}*|[\uac00-\ud7a3]){_TAIL}*|{_LEAD}+|{_TAIL}+"
_CLUSTER = re.compile(f"\r\n|[{_CONTROL}]|[{_PREPEND}]*(?:{_HANGUL}|[^{_CONTROL}])[{_EXTEND}]*")


def remove_symbols_and_diacritics(s: str, keep: str = "") -> str:
    """Replace symbols, punctuation and marks by spaces, and remove diacritics.

    Args:
        s: The text.
        keep: Characters that stay.
    """
    return "".join(
        character if character in keep else _plain(character) for character in unicodedata.normalize("NFKD", s)
    )


def _plain(character: str) -> str:
    if character in ADDITIONAL_DIACRITICS:
        return ADDITIONAL_DIACRITICS[character]
    category = unicodedata.category(character)
    if category == "Mn":
        return ""
    return " " if category[0] in "MSP" else character


def remove_symbols(s: str) -> str:
    """Replace symbols, punctuation and marks by spaces. Letters with diacritics stay."""
    return "".join(
        " " if unicodedata.category(character)[0] in "MSP" else character
        for character in unicodedata.normalize("NFKC", s)
    )


def remove_brackets(s: str) -> str:
    """Remove what is in angle brackets, square brackets and parentheses, such as "[laughter]"."""
    return _PARENTHESES.sub("", _BRACKETS.sub("", s))


def join_white_space(s: str) -> str:
    """Replace every run of white space by one space."""
    return _WHITE_SPACE.sub(" ", s)


class BasicTextNormalizer:
    """Normalizes text of any language. An instance is called with a text.

    Args:
        remove_diacritics: Whether to replace letters by their base letters.
        split_letters: Whether to put a space between characters, for languages without spaces between words.
    """

    def __init__(self, remove_diacritics: bool = False, split_letters: bool = False) -> None:
        self.clean = remove_symbols_and_diacritics if remove_diacritics else remove_symbols
        self.split_letters = split_letters

    def __call__(self, s: str) -> str:
        """Return the normalized text."""
        s = self.clean(remove_brackets(s.lower())).lower()
        if self.split_letters:
            s = " ".join(_CLUSTER.findall(s))
        return join_white_space(s)
