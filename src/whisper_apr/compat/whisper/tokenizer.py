"""openai-whisper's `whisper.tokenizer`."""

from ...tokenizer import LANGUAGES, TO_LANGUAGE_CODE, Tokenizer, get_encoding, get_tokenizer

__all__ = ["LANGUAGES", "TO_LANGUAGE_CODE", "Tokenizer", "get_encoding", "get_tokenizer"]
