"""Text normalizers give what openai-whisper's do: for texts whose form is in data/normalized.json, and some by hand."""

import json
import sys
import unicodedata
from pathlib import Path

import pytest

from whisper_apr.compat.whisper import normalizers as package
from whisper_apr.compat.whisper.normalizers import english

sys.path.insert(0, str(Path(__file__).parent / "parity"))
from make_normalized import N_TEXT, normalizers

ENTRIES = json.loads((Path(__file__).parent / "data" / "normalized.json").read_bytes())
FUNCTIONS = normalizers(package, english)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_forms_are_those_of_openai_whisper(name: str) -> None:
    assert len(ENTRIES) == N_TEXT
    assert [FUNCTIONS[name](entry[""]) for entry in ENTRIES] == [entry[name] for entry in ENTRIES]
    assert len({entry[name] for entry in ENTRIES}) > N_TEXT / 2


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Mr. O'Brien won't pay twenty five dollars and fifty cents [laughs]", "mister 0 brien will not pay $25.50"),
        ("the colour of nineteen ninety nine men, ninety percent", "the color of 1999 men 90%"),
        ("two point five million or double oh seven; thirty first", "2500000 or 00731st"),
        ("minus 500 uh and a half", "-500 and a half"),
        ("", ""),
    ],
)
def test_english(text: str, form: str) -> None:
    assert package.EnglishTextNormalizer()(text) == form


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("한국어", "한 국 어"),
        (unicodedata.normalize("NFD", "한국"), "한 국"),
        ("\u1112\u1161\u11ab\u11ab!", "한\u11ab "),
        ("日本 (x) 語", "日 本 語"),
        ("a\u200db\u0600c\r\nd", "a\u200d b \u0600c d"),
    ],
)
def test_letters(text: str, letters: str) -> None:
    assert package.BasicTextNormalizer(split_letters=True)(text) == letters
