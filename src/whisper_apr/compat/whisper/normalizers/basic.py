"""The names of openai-whisper's `whisper.normalizers.basic`."""

from ....normalizers.basic import (
    ADDITIONAL_DIACRITICS,
    BasicTextNormalizer,
    remove_symbols,
    remove_symbols_and_diacritics,
)

__all__ = ["ADDITIONAL_DIACRITICS", "BasicTextNormalizer", "remove_symbols", "remove_symbols_and_diacritics"]
