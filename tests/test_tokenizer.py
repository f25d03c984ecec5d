"""Whisper's tokenizer: special tokens, suppressed tokens, and splitting into words."""

import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.errors import OptionError
from whisper_apr.tokenizer import LANGUAGES, Tokenizer, get_tokenizer

NON_SPEECH = json.loads((Path(__file__).parent / "data" / "non_speech_tokens.json").read_text())

tokenizers = st.sampled_from(
    [get_tokenizer(False), get_tokenizer(True), get_tokenizer(True, language="ja"), get_tokenizer(True, language="fr")]
)


def test_special_tokens_of_a_multilingual_model() -> None:
    t = get_tokenizer(True, language="German", task="translate")
    assert (t.eot, t.sot, t.language_token, t.translate, t.transcribe) == (50257, 50258, 50261, 50358, 50359)
    assert (t.sot_lm, t.sot_prev, t.no_speech, t.no_timestamps, t.timestamp_begin) == (
        50360,
        50361,
        50362,
        50363,
        50364,
    )
    assert t.sot_sequence == (50258, 50261, 50358)
    assert t.sot_sequence_including_notimestamps == (50258, 50261, 50358, 50363)


def test_special_tokens_of_an_english_only_model() -> None:
    t = get_tokenizer(False, language="de", task="translate")
    assert (t.eot, t.sot, t.timestamp_begin) == (50256, 50257, 50363)
    assert t.language is t.task is None
    assert t.sot_sequence == (50257,)
    assert t.sot_sequence_including_notimestamps == (50257, 50362)
    with pytest.raises(OptionError, match="English-only"):
        _ = t.language_token


def test_hundredth_language_shifts_the_following_tokens() -> None:
    t = get_tokenizer(True, num_languages=100, language="yue")
    assert t.sot_sequence == (50258, 50358, 50360)
    assert t.timestamp_begin == 50365
    assert t.encoding.n_vocab == 51866


@pytest.mark.parametrize("num_languages", [99, 100])
def test_languages(num_languages: int) -> None:
    t = get_tokenizer(True, num_languages=num_languages)
    assert t.all_language_codes == tuple(LANGUAGES)[:num_languages]
    assert t.all_language_tokens == tuple(range(50259, 50259 + num_languages))
    for code, token in zip(t.all_language_codes, t.all_language_tokens, strict=True):
        assert t.to_language_token(code) == t.to_language_token(LANGUAGES[code]) == token
        assert t.decode([token]) == f"<|{code}|>"
        assert get_tokenizer(True, num_languages=num_languages, language=code).sot_sequence == (
            50258,
            token,
            t.transcribe,
        )


def test_defaults() -> None:
    assert get_tokenizer(True) is get_tokenizer(True, num_languages=99, language="english", task="transcribe")
    assert get_tokenizer(True).sot_sequence == (50258, 50259, 50359)
    assert get_tokenizer(False) is get_tokenizer(False, language="fr", task="transcribe")


@pytest.mark.parametrize("multilingual", [True, False])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"language": "klingon"}, "'klingon'"),
        ({"language": ""}, "''"),
        ({"task": "summarize"}, "'summarize'"),
        ({"task": ""}, "''"),
        ({"num_languages": 0}, "num_languages is 0"),
        ({"num_languages": 101}, "num_languages is 101"),
    ],
)
def test_bad_options(multilingual: bool, options: dict, named: str) -> None:
    with pytest.raises(OptionError, match=named):
        get_tokenizer(multilingual, **options)


def test_language_missing_from_the_model() -> None:
    with pytest.raises(OptionError, match="'yue' is not among the 99"):
        get_tokenizer(True, language="cantonese")
    with pytest.raises(OptionError, match="'yue' is not among the 99"):
        get_tokenizer(True).to_language_token("yue")
    with pytest.raises(OptionError, match="'nospeech'"):
        get_tokenizer(True).to_language_token("nospeech")


def test_timestamps_in_text() -> None:
    t = get_tokenizer(True)
    tokens = [t.timestamp_begin, *t.encode(" Hi"), t.timestamp_begin + 54, t.timestamp_begin + 1500]
    assert t.decode(tokens) == " Hi"
    assert t.decode_with_timestamps(tokens) == "<|0.00|> Hi<|1.08|><|30.00|>"
    assert t.decode([*t.sot_sequence, t.eot]) == "<|startoftranscript|><|en|><|transcribe|><|endoftext|>"
    with pytest.raises(OptionError, match="51865"):
        t.decode_with_timestamps([51865])


@pytest.mark.parametrize(("multilingual", "name"), [(True, "multilingual"), (False, "gpt2")])
def test_non_speech_tokens(multilingual: bool, name: str) -> None:
    t = get_tokenizer(multilingual)
    assert t.non_speech_tokens == tuple(NON_SPEECH[name])
    for sign in (" -", " '", "♪♪♪", " [", "(", " ♯"):
        assert t.encode(sign)[0] in t.non_speech_tokens
    for sign in ("-", "'", ",", ".", "?", "!", "%", "&", "a"):
        assert t.encode(sign)[0] not in t.non_speech_tokens


def test_words_are_split_at_spaces_and_punctuation() -> None:
    t = get_tokenizer(True, language="en")
    text = " Hello, über-naïve world! It's 3.5 €"
    tokens = [*t.encode(text), t.eot]
    words, word_tokens = t.split_to_word_tokens(tokens)
    assert words == [" Hello", ",", " über", "-naïve", " world", "!", " It's", " 3", ".5", " €", "<|endoftext|>"]
    assert [t.decode(run) for run in word_tokens] == words
    assert list(chain.from_iterable(word_tokens)) == tokens


def test_words_without_spaces_are_characters() -> None:
    for language in ("zh", "ja", "th", "lo", "my", "yue"):
        t = get_tokenizer(True, num_languages=100, language=language)
        tokens = t.encode("龘 ສະບາຍ")
        words, word_tokens = t.split_to_word_tokens(tokens)
        assert len(words) > 5
        assert "".join(words) == "龘 ສະບາຍ"
        assert (words, word_tokens) == t.split_tokens_on_unicode(tokens)


@given(tokenizers, st.text())
def test_words_concatenate_to_the_text(t: Tokenizer, text: str) -> None:
    tokens = t.encode(text)
    words, word_tokens = t.split_to_word_tokens(tokens)
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert "".join(words) == text
    assert list(chain.from_iterable(word_tokens)) == tokens


@given(tokenizers, st.lists(st.integers(0, 300) | st.integers(0, 51863)))
def test_words_contain_every_token(t: Tokenizer, tokens: list[int]) -> None:
    for split in (t.split_tokens_on_unicode, t.split_tokens_on_spaces):
        words, word_tokens = split(tokens)
        assert len(words) == len(word_tokens)
        assert all(word_tokens)
        assert list(chain.from_iterable(word_tokens)) == tokens


def test_importing_reads_no_vocabulary() -> None:
    code = (
        "import whisper_apr.tokenizer.bpe as b; import whisper_apr.tokenizer; print(b.load_ranks.cache_info().misses)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"
