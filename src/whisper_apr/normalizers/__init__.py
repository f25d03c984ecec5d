"""Normalize texts before they are compared, by the rules of openai-whisper's `whisper.normalizers`."""

from .basic import BasicTextNormalizer
from .english import EnglishTextNormalizer

__all__ = ["BasicTextNormalizer", "EnglishTextNormalizer"]
