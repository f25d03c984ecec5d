"""The tokenizer compared with openai-whisper's, which uses tiktoken."""

import json
import random
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_apr.tokenizer import LANGUAGES, TO_LANGUAGE_CODE, bpe, get_encoding, get_tokenizer

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),  # openai-whisper leaves its vocabulary open
]

DATA = Path(__file__).parent.parent / "data"
KINDS = [(False, 99), (True, 99), (True, 100)]
ANY_TOKEN = st.integers(0, 300) | st.integers(0, 51863)  # the first few hundred are bytes and short runs of bytes

any_text = st.text(st.characters()) | st.text(" \n\t\u00a0\u3000'slrevtmdaA1\u0660\u00b2!\u0301漢😀\ud83d\ude00")


@pytest.fixture(scope="module")
def theirs() -> Any:
    from whisper import tokenizer

    return tokenizer


def every_code_point() -> list[str]:
    return [chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000]


def chunks(text: str, size: int = 5000) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


@pytest.mark.parametrize("name", ["gpt2", "multilingual"])
def test_ranks(theirs: Any, name: str) -> None:
    assert bpe.load_ranks(name) == theirs.get_encoding(name)._mergeable_ranks
    assert list(bpe.load_ranks(name).values()) == list(range(len(bpe.load_ranks(name))))


@pytest.mark.parametrize("name", ["gpt2", "multilingual"])
def test_the_committed_tokens_are_tiktokens(theirs: Any, name: str) -> None:
    encoding = theirs.get_encoding(name)
    for row in json.loads((DATA / "tokens.json").read_text()):
        assert encoding.encode_ordinary(row["text"]) == row[name]
    non_speech = json.loads((DATA / "non_speech_tokens.json").read_text())
    assert theirs.get_tokenizer(name == "multilingual").non_speech_tokens == tuple(non_speech[name])


@pytest.mark.parametrize("name", ["gpt2", "multilingual"])
@pytest.mark.parametrize("before", ["", " ", "a", "1", "!", "\n"])
def test_every_code_point(theirs: Any, name: str, before: str) -> None:
    ours, encoding = get_encoding(name), theirs.get_encoding(name)
    # Without a character before it, every code point; after each of the six characters, another seventh of them.
    points = every_code_point() if not before else every_code_point()["  a1!\n".index(before) :: 7]
    for text in chunks("".join(before + point for point in points)):
        assert ours.encode(text) == encoding.encode_ordinary(text)


def test_pieces_of_every_code_point() -> None:
    import tiktoken

    # tiktoken drops characters that the pattern does not match, so the result shows which characters a class contains
    for pattern, sign in ((r"\p{L}", "A"), (r"\p{N}", "0"), (r"\s", "\t")):
        encoding = tiktoken.Encoding(
            "probe", pat_str=pattern, mergeable_ranks={bytes([i]): i for i in range(256)}, special_tokens={}
        )
        for text in chunks("".join(every_code_point()[128:])):
            classes = text.translate(bpe._unicode_classes())
            ours = "".join(char for char, c in zip(text, classes, strict=True) if c == sign)
            assert bytes(encoding.encode_ordinary(text)).decode() == ours


@pytest.mark.parametrize("name", ["gpt2", "multilingual"])
@settings(max_examples=2000)
@given(text=any_text)
def test_any_text(theirs: Any, name: str, text: str) -> None:
    ours, encoding = get_encoding(name), theirs.get_encoding(name)
    tokens = encoding.encode_ordinary(text)
    assert ours.encode(text) == tokens
    assert ours.decode(tokens) == encoding.decode(tokens)


@pytest.mark.parametrize("name", ["gpt2", "multilingual"])
def test_long_words(theirs: Any, name: str) -> None:
    ours, encoding = get_encoding(name), theirs.get_encoding(name)
    r = random.Random(3)
    for size in (99, 100, 101, 1000, 20_000):  # tiktoken merges pieces from 100 bytes on by another algorithm
        for alphabet in ("abcdefghijklmnopqrstuvwxyz", "ab", "the", "=-", "漢字仮名", "0123456789", "äöü"):
            text = "".join(r.choices(alphabet, k=size))
            assert ours.encode(text) == encoding.encode_ordinary(text)


@pytest.mark.parametrize("name", ["gpt2", "multilingual"])
@settings(max_examples=2000)
@given(tokens=st.lists(ANY_TOKEN))
def test_any_tokens_decode_alike(theirs: Any, name: str, tokens: list[int]) -> None:
    assert get_encoding(name).decode(tokens) == theirs.get_encoding(name).decode(tokens)


def test_languages(theirs: Any) -> None:
    assert list(LANGUAGES.items()) == list(theirs.LANGUAGES.items())
    assert TO_LANGUAGE_CODE == theirs.TO_LANGUAGE_CODE


@pytest.mark.parametrize(("multilingual", "num_languages"), KINDS)
@pytest.mark.parametrize("language", [None, "en", "German", "castilian", "ja", "su"])
@pytest.mark.parametrize("task", [None, "transcribe", "translate"])
def test_special_tokens(theirs: Any, multilingual: bool, num_languages: int, language: str, task: Any) -> None:
    options = {"num_languages": num_languages, "language": language, "task": task}
    ours, other = get_tokenizer(multilingual, **options), theirs.get_tokenizer(multilingual, **options)
    for name in (
        *("language", "task", "num_languages", "special_tokens", "eot", "sot", "transcribe", "translate", "sot_lm"),
        *("sot_prev", "no_speech", "no_timestamps", "timestamp_begin", "sot_sequence", "non_speech_tokens"),
        "sot_sequence_including_notimestamps",
    ):
        assert getattr(ours, name) == getattr(other, name), name
    assert ours.encoding.n_vocab == other.encoding.n_vocab
    assert sorted(ours.encoding.special_tokens.values()) == list(range(ours.eot, ours.encoding.n_vocab))
    # openai-whisper's are in the order of a set, which changes from run to run; ours are in the order of the tokens
    assert dict(zip(ours.all_language_codes, ours.all_language_tokens, strict=True)) == dict(
        zip(other.all_language_codes, other.all_language_tokens, strict=True)
    )
    if ours.language:
        assert ours.language_token == other.language_token


@pytest.mark.parametrize(("multilingual", "language"), [(False, None), (True, "en"), (True, "ja"), (True, "th")])
@settings(max_examples=1500)
@given(text=any_text, noise=st.just([]) | st.lists(ANY_TOKEN, max_size=12), times=st.booleans())
def test_words(theirs: Any, multilingual: bool, language: str, text: str, noise: list[int], times: bool) -> None:
    ours = get_tokenizer(multilingual, language=language)
    other = theirs.get_tokenizer(multilingual, language=language)
    stamps = [ours.timestamp_begin + 7] if times else []
    tokens = [*stamps, *ours.encode(text), *noise, *stamps, ours.eot]
    assert ours.decode(tokens) == other.decode(tokens)
    assert ours.decode_with_timestamps(tokens) == other.decode_with_timestamps(tokens)
    for split in ("split_to_word_tokens", "split_tokens_on_unicode", "split_tokens_on_spaces"):
        words, word_tokens = getattr(ours, split)(tokens)
        expected = getattr(other, split)(tokens)
        if list(chain.from_iterable(expected[1])) == tokens:
            assert (words, word_tokens) == expected
        else:  # if the bytes are not UTF-8, openai-whisper may lose the last tokens; we keep them in the last word
            assert noise
            assert "".join(words).startswith("".join(expected[0]))
            assert words[: len(expected[0]) - 1] == expected[0][:-1]
