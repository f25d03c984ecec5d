"""Byte-pair encoding, compared with tiktoken's tokens and with a slow implementation; hostile text."""

import json
import random
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.errors import OptionError
from whisper_apr.tokenizer import bpe, get_encoding

# tiktoken's tokens for several hundred texts: many scripts, emoji, combining marks, white space, surrogates, noise.
KNOWN = json.loads((Path(__file__).parent / "data" / "tokens.json").read_text())
NAMES = ("gpt2", "multilingual")

# Arbitrary text including surrogates, and text of the characters that the pattern distinguishes.
any_text = st.text(st.characters()) | st.text(" \n\t\u00a0\u3000'slrevtmdaA1\u0660\u00b2!\u0301漢😀\ud83d\ude00")


def well_formed(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def split_slowly(text: str) -> list[str]:
    """Split with GPT-2's pattern, implemented alternative by alternative with `unicodedata`."""

    def kind(char: str) -> str:
        category = unicodedata.category(char)
        if category[0] == "Z" or char in "\t\n\v\f\r\x85":
            return "space"
        return category[0] if category[0] in "LN" else "sign"

    pieces = []
    while text:
        if contraction := next((c for c in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d") if text.startswith(c)), ""):
            end = len(contraction)
        else:
            start = 1 if text[0] == " " and len(text) > 1 and kind(text[1]) != "space" else 0
            end = start + 1
            while end < len(text) and kind(text[end]) == kind(text[start]):
                end += 1
            if kind(text[start]) == "space" and 1 < end < len(text):
                end -= 1  # the last of several spaces belongs to the next piece
        pieces.append(text[:end])
        text = text[end:]
    return pieces


def merge_slowly(ranks: dict[bytes, int], piece: bytes) -> list[int]:
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        found = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not found:
            return [ranks[part] for part in parts]
        i = min(found)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@pytest.mark.parametrize("name", NAMES)
def test_known_tokens(name: str) -> None:
    encoding = get_encoding(name)
    assert len(KNOWN) > 300
    for row in KNOWN:
        assert encoding.encode(row["text"]) == row[name], ascii(row["text"])
        assert encoding.decode(row[name]) == well_formed(row["text"])


@pytest.mark.parametrize("name", NAMES)
@given(text=any_text)
def test_round_trip(name: str, text: str) -> None:
    encoding = get_encoding(name)
    tokens = encoding.encode(text)
    assert encoding.decode(tokens) == well_formed(text)
    assert encoding.decode_bytes(tokens) == well_formed(text).encode()


@given(any_text.map(well_formed))
def test_pieces_follow_the_pattern(text: str) -> None:
    # This Python's unicodedata may not know newer letters.
    text = "".join(char for char in text if unicodedata.category(char) != "Cn")
    assert bpe.split(text) == split_slowly(text)


def test_pieces_of_every_class() -> None:
    assert bpe.split("a b1 !\u00a0x\u200b'sound'S  \n y\u3000") == [
        *("a", " b", "1", " !", "\u00a0", "x", "\u200b'", "sound", "'", "S", "  \n", " y", "\u3000")
    ]
    assert bpe.split("\x1c\x1f") == ["\x1c\x1f"]  # white space in Python, but not in Unicode
    assert bpe.split("\U0010ffff\U0010fffe") == ["\U0010ffff\U0010fffe"]  # beyond the table's end


def test_character_classes_are_those_of_unicode_16() -> None:
    everything = "".join(chr(i) for i in range(0x110000))
    classes = everything.translate(bpe._unicode_classes())
    ours = ["L" if c.isascii() and c.isalpha() else "N" if c.isascii() and c.isdigit() else "" for c in classes]
    assert (ours.count("L"), ours.count("N")) == (141028, 1911)
    theirs = [unicodedata.category(char) for char in everything]
    version = tuple(map(int, unicodedata.unidata_version.split(".")))
    for i, (mine, category) in enumerate(zip(ours, theirs, strict=True)):
        if category == "Cn" or (version > (16, 0, 0) and not mine):
            continue  # one of the two does not know this character yet
        assert mine == (category[0] if category[0] in "LN" else ""), f"U+{i:04X} is {category}"
    white = {chr(i) for i, c in enumerate(classes) if c in " \t\n\v\f\r"}
    assert white == {char for char, c in zip(everything, theirs, strict=True) if c[0] == "Z"} | set("\t\n\v\f\r\x85")


@pytest.mark.parametrize("name", NAMES)
@given(
    text=st.text("aehinrst", min_size=1, max_size=60)
    | st.text("=-!", min_size=1)
    | st.text(st.characters(categories=["Lo"]), min_size=1)
)
def test_merging_follows_the_rule(name: str, text: str) -> None:
    encoding = get_encoding(name)
    assert encoding._merge(text.encode()) == merge_slowly(bpe.load_ranks(name), text.encode())


@pytest.mark.parametrize("name", NAMES)
def test_long_pieces_take_linear_time(name: str) -> None:
    """Every pair is looked up once, and the two about each union: a quadratic merge would look up millions."""

    class Counting(dict[bytes, int]):
        n = 0

        def get(self, *arguments: Any) -> Any:
            self.n += 1
            return super().get(*arguments)

    ranks = Counting(bpe.load_ranks(name))
    encoding = bpe.Encoding(list(ranks), [], ranks)
    letters = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=20_000))
    for text in (letters, "!" * 20_000, " " * 20_000, "\n" * 20_000 + "x"):
        ranks.n = 0
        assert encoding.decode(encoding.encode(text)) == text
        assert len(text) <= ranks.n <= 3 * len(text)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_special_tokens_are_ordinary_text(name: str) -> None:
    encoding = get_encoding(name)
    for special, token in encoding.special_tokens.items():
        assert token not in encoding.encode(f"a{special}b")
        assert encoding.decode([token]) == special


@pytest.mark.parametrize(
    ("name", "num_languages", "size"), [("gpt2", 99, 51864), ("multilingual", 99, 51865), ("multilingual", 100, 51866)]
)
def test_vocabulary_size(name: str, num_languages: int, size: int) -> None:
    encoding = get_encoding(name, num_languages)
    assert encoding.n_vocab == size
    assert sorted(encoding.special_tokens.values()) == list(range(len(bpe.load_ranks(name)), size))
    assert encoding.decode([size - 1]) == "<|30.00|>"


@pytest.mark.parametrize("token", [-1, 51865, 2**40])
def test_unknown_token(token: int) -> None:
    with pytest.raises(OptionError, match=f"^{token} is not a token"):
        get_encoding("multilingual").decode([1, token])


def test_half_a_character() -> None:
    encoding = get_encoding("gpt2")
    tokens = encoding.encode("☃")
    assert len(tokens) > 1
    assert encoding.decode(tokens[:1]) == "\N{REPLACEMENT CHARACTER}"
    assert encoding.decode(tokens) == "☃"
