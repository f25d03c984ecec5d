"""Read the English words of numbers, and write them in digits."""

import re
from fractions import Fraction

_ZEROS = {"o", "oh", "zero"}
_TO_NINETEEN = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TO_NINETY = "twenty thirty forty fifty sixty seventy eighty ninety"
_POWERS_OF_1000 = (
    "thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion"
)
_ONES = {name: value for value, name in enumerate(_TO_NINETEEN.split(), 1)}
_TENS = {name: 10 * value for value, name in enumerate(_TO_NINETY.split(), 2)}
MULTIPLIERS = {"hundred": 100} | {name: 1000**power for power, name in enumerate(_POWERS_OF_1000.split(), 1)}

# with an ending: the number, and the ending of its digits
_IRREGULAR_ORDINALS = {
    "zeroth": (0, "th"),
    "first": (1, "st"),
    "second": (2, "nd"),
    "third": (3, "rd"),
    "fifth": (5, "th"),
    "twelfth": (12, "th"),
}
_ONES_WITH_ENDING = (
    {"sixes" if name == "six" else f"{name}s": (value, "s") for name, value in _ONES.items()}
    | _IRREGULAR_ORDINALS
    | {
        name + ("h" if name.endswith("t") else "th"): (value, "th")
        for name, value in _ONES.items()
        if value > 3 and value not in (5, 12)
    }
)
_TENS_WITH_ENDING = {
    name[:-1] + ending: (value, digits_ending)
    for name, value in _TENS.items()
    for ending, digits_ending in (("ies", "s"), ("ieth", "th"))
}
_MULTIPLIERS_WITH_ENDING = {
    name + ending: (value, ending) for name, value in MULTIPLIERS.items() for ending in ("s", "th")
}

_SIGNS = {"minus": "-", "negative": "-", "plus": "+", "positive": "+"}  # before a number
_CURRENCIES = {  # after a number, whose sign is written before it
    "pound": "£",
    "pounds": "£",
    "euro": "€",
    "euros": "€",
    "dollar": "$",
    "dollars": "$",
    "cent": "¢",
    "cents": "¢",
}
_PREFIXES = {*_SIGNS.values(), *_CURRENCIES.values()}
_REPEATS = {"double": 2, "triple": 3}
DECIMALS = {*_ONES, *_TENS, *_ZEROS}
_WORDS = {
    *DECIMALS,
    *_ONES_WITH_ENDING,
    *_TENS_WITH_ENDING,
    *MULTIPLIERS,
    *_MULTIPLIERS_WITH_ENDING,
    *_SIGNS,
    *_CURRENCIES,
    *_REPEATS,
    *("per", "percent", "and", "point"),
}

_NUMBER = re.compile(r"\d+(\.\d+)?")

# An int can still be added to; a string is digits, to which more can only be appended.
_Value = int | str


def _is_number(word: str | None) -> bool:
    return word is not None and _NUMBER.fullmatch(word) is not None


def _with_ones(value: _Value | None, n: int, before: str | None) -> _Value:
    """Return the number that "nineteen" or "five" makes of the number before it; `before` is the word before."""
    if value is None:
        return n
    if isinstance(value, str) or before in _ONES:
        digits = str(value)
        return (digits[:-1] if before in _TENS and n < 10 else digits) + str(n)
    return value + n if value % (10 if n < 10 else 100) == 0 else f"{value}{n}"


def _with_tens(value: _Value | None, n: int) -> _Value:
    if value is None:
        return n
    return value + n if isinstance(value, int) and value % 100 == 0 else f"{value}{n}"


def _multiplied(value: _Value | None, n: int) -> int | None:
    """Return the number multiplied by `n`, or None if it is no number or the product has a fraction."""
    if value is None:
        return n
    if isinstance(value, int):
        return value // 1000 * 1000 + value % 1000 * n
    try:
        product = Fraction(value) * n
    except ValueError:
        return None
    return product.numerator if product.denominator == 1 else None


class NumberReader:
    """Reads words one after another, and writes numbers in digits."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.value: _Value | None = None  # the number so far
        self.prefix = ""  # of what is written next

    def write(self, text: str) -> None:
        self.written.append(self.prefix + text)
        self.value, self.prefix = None, ""

    def end_number(self) -> None:
        if self.value is not None:
            self.write(str(self.value))

    def write_word(self, word: str) -> None:
        self.end_number()
        self.write(word)

    def append_digits(self, digits: str) -> None:
        self.value = str(self.value or "") + digits

    def read(self, before: str | None, word: str, after: str | None) -> bool:
        """Read a word between two others, and return whether the word after it has been read too."""
        has_prefix = word[0] in _PREFIXES
        digits = word[1:] if has_prefix else word
        if _is_number(digits):
            self._read_digits(word, digits, word[0] if has_prefix else "")
        elif word not in _WORDS:
            self.write_word(word)
        elif word in _ZEROS:
            self.append_digits("0")
        elif word in _ONES:
            self.value = _with_ones(self.value, _ONES[word], before)
        elif word in _ONES_WITH_ENDING:
            n, ending = _ONES_WITH_ENDING[word]
            self.write(f"{_with_ones(self.value, n, before)}{ending}")
        elif word in _TENS:
            self.value = _with_tens(self.value, _TENS[word])
        elif word in _TENS_WITH_ENDING:
            n, ending = _TENS_WITH_ENDING[word]
            self.write(f"{_with_tens(self.value, n)}{ending}")
        elif word in MULTIPLIERS:
            self.value = self._multiplied(MULTIPLIERS[word])
        elif word in _MULTIPLIERS_WITH_ENDING:
            n, ending = _MULTIPLIERS_WITH_ENDING[word]
            self.write(f"{self._multiplied(n)}{ending}")
        elif word in _CURRENCIES and self.value is not None:
            self.prefix = _CURRENCIES[word]
            self.end_number()
        elif word in ("per", "percent"):
            return self._read_percent(word, after)
        else:
            return self._read_special(before, word, after)
        return False

    def _read_digits(self, word: str, digits: str, prefix: str) -> None:
        if isinstance(self.value, str) and self.value.endswith("."):
            self.value += word  # decimals, or the next part of an address
            return
        self.end_number()
        self.prefix = prefix or self.prefix
        number = Fraction(digits)
        self.value = number.numerator if number.denominator == 1 else digits

    def _multiplied(self, n: int) -> int:
        product = _multiplied(self.value, n)
        if product is None:
            self.end_number()
            return n
        return product

    def _read_percent(self, word: str, after: str | None) -> bool:
        if self.value is not None and (word == "percent" or after == "cent"):
            self.write(f"{self.value}%")
            return word == "per"
        self.write_word(word)
        return False

    def _read_special(self, before: str | None, word: str, after: str | None) -> bool:
        """Read a word that has a meaning only before a number."""
        if after not in _WORDS and not _is_number(after):
            self.write_word(word)
        elif word in _SIGNS:
            self.end_number()
            self.prefix = _SIGNS[word]
        elif word in _REPEATS and after in {*_ONES, *_ZEROS}:
            self.append_digits(str(_ONES.get(after or "", 0)) * _REPEATS[word])
            return True
        elif word == "point":
            if after in DECIMALS or _is_number(after):
                self.append_digits(".")
        elif word != "and" or before not in MULTIPLIERS:
            self.write_word(word)
        return False
