"""The rows of manifests: JSONL, CSV, TSV and Parquet, read in bounded pieces."""

import csv
import json
from collections.abc import Iterator
from typing import IO, Any

from ..errors import OptionError
from ..evaluation.recordings import LANGUAGE_KEYS
from .items import ID_KEYS, SOURCE_KEYS

MAX_LINE = 1 << 20  # bytes of a line
BATCH_ROWS = 1024  # rows of a Parquet file that are read at a time

Rows = Iterator[tuple[str, dict[str, Any]]]  # where a row is, for messages, and its values by column


def manifest_rows(path: str, suffix: str) -> Rows:
    """Yield the rows of a manifest, each with its place for error messages.

    Args:
        path: The file.
        suffix: Its suffix in lower case, one of `items.MANIFESTS`.

    Raises:
        OptionError: The file cannot be read, or is not what its suffix says.
    """
    try:
        if suffix == ".parquet":
            yield from _parquet_rows(path)
            return
        with open(path, "rb") as file:
            yield from _json_rows(file, path) if suffix in (".jsonl", ".ndjson") else _table_rows(file, path, suffix)
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is not in UTF-8 ({error.reason}); convert it") from error
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror or error}") from error


def _lines(file: IO[bytes], path: str) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers. Raises OptionError for one that is too long."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise OptionError(f"{path}: line {number} has more than {MAX_LINE} bytes; a line describes one recording")
        yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")


def _json_rows(file: IO[bytes], path: str) -> Rows:
    for number, line in _lines(file, path):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise OptionError(f"{where} is not JSON ({error}); each line must be an object") from error
        if not isinstance(row, dict):
            raise OptionError(f"{where} must be an object such as {{'path': 'talk.wav'}}")
        yield where, row


def _table_rows(file: IO[bytes], path: str, suffix: str) -> Rows:
    # Common Voice's tables have quotation marks that are part of the text
    style: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if suffix == ".tsv" else {}
    reader = csv.DictReader((line for _, line in _lines(file, path)), **style)
    try:
        if not any(key in (reader.fieldnames or ()) for key in SOURCE_KEYS):
            raise OptionError(f"{path}: its first line must name the columns, one of them {', '.join(SOURCE_KEYS)}")
        for row in reader:
            yield f"{path}: line {reader.line_num}", row
    except csv.Error as error:
        raise OptionError(f"{path}: the line after {reader.line_num} is not a table's ({error})") from error


def _parquet_rows(path: str) -> Rows:
    from .parquet import arrow

    pyarrow = arrow(f"{path} is a Parquet file")
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = [each for each in file.schema_arrow.names if each in {*SOURCE_KEYS, *ID_KEYS, *LANGUAGE_KEYS}]
            number = 0
            for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
    except pyarrow.ArrowException as error:
        raise OptionError(f"{path} is not a Parquet file that can be read: {error}") from error
