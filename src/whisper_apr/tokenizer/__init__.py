"""Convert text to tokens and back, with the names of openai-whisper's `whisper.tokenizer`."""

from .languages import LANGUAGES, TO_LANGUAGE_CODE, to_language_code
from .tokenizer import TASKS, Task, Tokenizer, get_encoding, get_tokenizer

__all__ = [
    "LANGUAGES",
    "TASKS",
    "TO_LANGUAGE_CODE",
    "Task",
    "Tokenizer",
    "get_encoding",
    "get_tokenizer",
    "to_language_code",
]
