"""The words of a text and the number of errors in them."""

import unicodedata

from whisper_apr.evaluation import count_edits


def units(text: str, language: str) -> list[str]:
    """Return the words of a text, or its characters if it is Japanese, without case, apostrophes and punctuation."""
    plain = (
        unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", "")
    )
    plain = "".join(sign if unicodedata.category(sign)[0] in "LMN" else " " for sign in plain)
    return list(plain.replace(" ", "")) if language == "ja" else plain.split()


def edits(true: list[str], heard: list[str]) -> int:
    """Return the edit distance (Levenshtein) of two texts, in units."""
    return count_edits(true, heard).errors
