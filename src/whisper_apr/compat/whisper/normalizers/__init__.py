"""The names of openai-whisper's `whisper.normalizers`, from `whisper_apr.normalizers`."""

from .basic import BasicTextNormalizer
from .english import EnglishTextNormalizer

__all__ = ["BasicTextNormalizer", "EnglishTextNormalizer"]
