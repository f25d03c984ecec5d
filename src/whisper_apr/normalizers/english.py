"""Normalize English text: contractions, titles, numbers, and American spelling."""

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from ._numbers import DECIMALS, MULTIPLIERS, NumberReader
from .basic import join_white_space, remove_brackets, remove_symbols_and_diacritics

_FILLERS = re.compile(r"\b(hmm|mm|mhm|mmm|uh|um)\b")

# Regular expressions and their replacements, in the order in which they are applied.
_CONTRACTIONS = {
    r"\bwon't\b": "will not",
    r"\bcan't\b": "can not",
    r"\blet's\b": "let us",
    r"\bain't\b": "aint",
    r"\by'all\b": "you all",
    r"\bwanna\b": "want to",
    r"\bgotta\b": "got to",
    r"\bgonna\b": "going to",
    r"\bi'ma\b": "i am going to",
    r"\bimma\b": "i am going to",
    r"\bwoulda\b": "would have",
    r"\bcoulda\b": "could have",
    r"\bshoulda\b": "should have",
    r"\bma'am\b": "madam",
}
_TITLES = {
    "mr": "mister",
    "mrs": "missus",
    "st": "saint",
    "dr": "doctor",
    "prof": "professor",
    "capt": "captain",
    "gov": "governor",
    "ald": "alderman",
    "gen": "general",
    "sen": "senator",
    "rep": "representative",
    "pres": "president",
    "rev": "reverend",
    "hon": "honorable",
    "asst": "assistant",
    "assoc": "associate",
    "lt": "lieutenant",
    "col": "colonel",
    "jr": "junior",
    "sr": "senior",
    "esq": "esquire",
}
_ENDINGS = {
    r"'d been\b": " had been",
    r"'s been\b": " has been",
    r"'d gone\b": " had gone",
    r"'s gone\b": " has gone",
    r"'d done\b": " had done",  # but "'s done" may be "is done"
    r"'s got\b": " has got",
    r"n't\b": " not",
    r"'re\b": " are",
    r"'s\b": " is",
    r"'d\b": " would",
    r"'ll\b": " will",
    r"'t\b": " not",
    r"'ve\b": " have",
    r"'m\b": " am",
}

_AND_A_HALF = re.compile(r"\band\s+a\s+half\b")


class EnglishNumberNormalizer:
    """Writes numbers in digits: "twenty five dollars" becomes "$25". An instance is called with a text in lower case.

    Endings stay ("1960s", "32nd"), percent and currencies become signs, and digits that are read one by one are joined:
    "one oh one" becomes "101".
    """

    def __call__(self, s: str) -> str:
        """Return the text with numbers in digits."""
        return self.postprocess(" ".join(self.process_words(self.preprocess(s).split())))

    def process_words(self, words: list[str]) -> Iterator[str]:
        """Yield words, with numbers in digits."""
        reader, is_read = NumberReader(), False
        for before, word, after in zip([None, *words], words, [*words[1:], None], strict=False):
            is_read = False if is_read else reader.read(before, word, after)
        reader.end_number()
        return iter(reader.written)

    def preprocess(self, s: str) -> str:
        """Write "and a half" after a number as "point five", and separate letters from digits."""
        *parts, last = _AND_A_HALF.split(s)
        joined: list[str] = []
        for part in parts:
            if part.strip():
                is_after_number = part.split()[-1] in DECIMALS | MULTIPLIERS.keys()
                joined += [part, "point five" if is_after_number else "and a half"]
        if last.strip():
            joined.append(last)
        s = " ".join(joined)
        s = re.sub(r"([a-z])([0-9])", r"\1 \2", s)
        s = re.sub(r"([0-9])([a-z])", r"\1 \2", s)
        return re.sub(r"([0-9])\s+(st|nd|rd|th|s)\b", r"\1\2", s)

    def postprocess(self, s: str) -> str:
        """Write cents as a fraction ("$2 and ¢7" as "$2.07"), and "1" and "1s" as "one" and "ones"."""
        s = re.sub(r"([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\b", lambda m: f"{m[1]}{m[2]}.{int(m[3]):02d}", s)
        s = re.sub(r"[€£$]0.([0-9]{1,2})\b", lambda m: f"¢{int(m[1])}", s)
        return re.sub(r"\b1(s?)\b", r"one\1", s)


@cache
def _american_spellings() -> dict[str, str]:
    """Return British spellings and their American ones, from www.tysto.com/uk-us-spelling-list.html."""
    spellings: dict[str, str] = json.loads(
        files("whisper_apr").joinpath("assets", "american_spellings.json").read_bytes()
    )
    return spellings


class EnglishSpellingNormalizer:
    """Spells words as in American English. An instance is called with a text in lower case."""

    def __init__(self) -> None:
        self.mapping = dict(_american_spellings())

    def __call__(self, s: str) -> str:
        """Return the words in American spelling, joined by one space."""
        return " ".join(self.mapping.get(word, word) for word in s.split())


class EnglishTextNormalizer:
    """Normalizes English text. An instance is called with a text."""

    def __init__(self) -> None:
        titles = {rf"\b{short}\b": f"{long} " for short, long in _TITLES.items()}
        self.replacers = {**_CONTRACTIONS, **titles, **_ENDINGS}
        self.standardize_numbers = EnglishNumberNormalizer()
        self.standardize_spellings = EnglishSpellingNormalizer()

    def __call__(self, s: str) -> str:
        """Return the normalized text."""
        s = _FILLERS.sub("", remove_brackets(s.lower()))
        s = re.sub(r"\s+'", "'", s)
        for pattern, replacement in self.replacers.items():
            s = re.sub(pattern, replacement, s)
        s = re.sub(r"(\d),(\d)", r"\1\2", s)
        s = re.sub(r"\.([^0-9]|$)", r" \1", s)
        s = remove_symbols_and_diacritics(s, keep=".%$¢€£")
        s = self.standardize_spellings(self.standardize_numbers(s))
        # signs that do not belong to a number
        s = re.sub(r"[.$¢€£]([^0-9])", r" \1", s)
        s = re.sub(r"([^0-9])%", r"\1 ", s)
        return join_white_space(s)
