"""Parquet files of records, by the package pyarrow."""

from functools import cache
from importlib import import_module
from typing import Any

from ..errors import WhisperAprError

# types of the columns, by pyarrow's names; those of segments, words and dropped text are the items of
# `Segment`, `Word` and `DroppedText`
_TIMES = {"start": "float64", "end": "float64"}
WORD = {"word": "string", **_TIMES, "probability": "float32", "speaker": "string"}
SEGMENT = {
    "id": "int32",
    "seek": "int32",
    **_TIMES,
    "text": "string",
    "tokens": ["int32"],
    "temperature": "float32",
    "avg_logprob": "float32",
    "compression_ratio": "float32",
    "no_speech_prob": "float32",
    "language": "string",
    "speaker": "string",
}
DROPPED = {**_TIMES, "text": "string", "reason": "string", "speech_prob": "float32", "avg_logprob": "float32"}
RECORD = {
    "id": "string",
    "source": "string",
    "duration": "float64",
    "language": "string",
    "language_probability": "float32",
    "text": "string",
    "segments": [SEGMENT],
    "words": [WORD],
    "dropped": [DROPPED],
    "confidence": "float32",
    "error": "string",
    "warnings": ["string"],
    "attempts": "int32",
    "seconds": "float64",
}


def arrow(what: str) -> Any:
    """Return the package pyarrow.

    Args:
        what: Begins the message.

    Raises:
        WhisperAprError: It is not installed.
    """
    try:
        import_module("pyarrow.parquet")
        return import_module("pyarrow")
    except ImportError as error:
        raise WhisperAprError(f"{what}, which needs the extra corpus: pip install 'whisper-apr[corpus]'") from error


@cache
def schema() -> Any:
    """Return the schema of records."""
    pyarrow = arrow("records are to be written as Parquet")

    def kind(described: Any) -> Any:
        if isinstance(described, list):
            return pyarrow.list_(kind(described[0]))
        if isinstance(described, dict):
            return pyarrow.struct([(name, kind(each)) for name, each in described.items()])
        return getattr(pyarrow, described)()

    return pyarrow.schema([(name, kind(described)) for name, described in RECORD.items()])
