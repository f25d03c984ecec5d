"""The names of openai-whisper's `whisper.normalizers.english`."""

from ....normalizers.basic import remove_symbols_and_diacritics
from ....normalizers.english import EnglishNumberNormalizer, EnglishSpellingNormalizer, EnglishTextNormalizer

__all__ = [
    "EnglishNumberNormalizer",
    "EnglishSpellingNormalizer",
    "EnglishTextNormalizer",
    "remove_symbols_and_diacritics",
]
