"""Languages by code and by name; an unknown language is an error, not English."""

import pytest

from whisper_apr.errors import OptionError
from whisper_apr.tokenizer import LANGUAGES, TO_LANGUAGE_CODE, to_language_code


def test_hundred_languages_in_token_order() -> None:
    codes = list(LANGUAGES)
    assert len(codes) == len(set(LANGUAGES.values())) == 100
    assert codes[:4] == ["en", "zh", "de", "es"]
    assert codes[98:] == ["su", "yue"]  # Cantonese was added with large-v3


def test_codes_and_names() -> None:
    for code, name in LANGUAGES.items():
        assert to_language_code(code) == to_language_code(name) == to_language_code(name.upper()) == code
    assert set(TO_LANGUAGE_CODE.values()) == set(LANGUAGES)
    assert not set(TO_LANGUAGE_CODE) & set(LANGUAGES)


@pytest.mark.parametrize(
    ("name", "code"),
    [("Castilian", "es"), ("mandarin", "zh"), ("Flemish", "nl"), ("burmese", "my"), ("moldovan", "ro"), ("DE", "de")],
)
def test_alternative_names(name: str, code: str) -> None:
    assert to_language_code(name) == code


@pytest.mark.parametrize("name", ["", "xx", "klingon", "en ", "<|en|>", "nospeech", b"en", 7, ["en"], None])
def test_unknown_language_is_named(name: object) -> None:
    with pytest.raises(OptionError) as caught:
        to_language_code(name)  # type: ignore[arg-type]
    assert repr(name) in str(caught.value)
