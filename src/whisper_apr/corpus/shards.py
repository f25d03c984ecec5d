"""Shards: files of records in a folder, each of which appears when it is complete."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Any

from ..atomic import write_atomically
from ..errors import OutputError
from .items import digest, in_part
from .parquet import RECORD, arrow, schema

Record = dict[str, Any]  # with the keys of `parquet.RECORD`

FORMATS = ("jsonl", "parquet")
PREFIX = "part-"
MAX_LINE = 1 << 30  # bytes of a record: weeks of speech


@dataclass
class Totals:
    """Sums over records.

    Attributes:
        n_record: Records, with those that failed.
        n_failed: Records of recordings that failed.
        audio_seconds: Seconds of the recordings that did not fail.
        worker_seconds: Time that they took the workers.
        languages: Recordings that did not fail, by the code of their language.
    """

    n_record: int = 0
    n_failed: int = 0
    audio_seconds: float = 0.0
    worker_seconds: float = 0.0
    languages: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record) -> None:
        """Count a record."""
        self.n_record += 1
        self.worker_seconds += record["seconds"] or 0.0
        if record["error"] is not None:
            self.n_failed += 1
            return
        self.audio_seconds += record["duration"] or 0.0
        self.languages[record["language"]] += 1


# ---- reading --------------------------------------------------------------------------------------------------------


def shard_paths(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the shards of a folder, which does not have to exist."""
    top = Path(folder)
    return sorted(path for each in FORMATS for path in top.glob(f"*.{each}") if not path.name.startswith("."))


def read_shard(path: Path, columns: tuple[str, ...] = tuple(RECORD)) -> Iterator[Record]:
    """Yield the records of a shard.

    Args:
        path: The file.
        columns: Keys that are needed; the others may be missing.

    Raises:
        OutputError: The file cannot be read, or is not a shard.
    """
    try:
        records = _parquet_records(path, columns) if path.suffix == ".parquet" else _json_records(path)
        for record in records:
            missing = [each for each in columns if each not in record]
            if missing or not isinstance(record["id"], str):
                raise ValueError(f"a record lacks {', '.join(missing) or 'an id'}")
            yield record
    except (ValueError, RecursionError) as error:  # pyarrow's errors are ValueErrors
        raise OutputError(
            f"{path} is not a shard of a corpus ({error}); move it out of the folder, or remove it"
        ) from (error)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: {error.strerror or error}") from error


def _json_records(path: Path) -> Iterator[Record]:
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            if not line.endswith(b"\n"):
                raise ValueError(f"line {number} is not complete")
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"line {number} is not an object")
            yield record


def _parquet_records(path: Path, columns: tuple[str, ...]) -> Iterator[Record]:
    pyarrow = arrow(f"{path} is a Parquet file")
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(1024, columns=list(columns)):
            yield from batch.to_pylist()


# ---- writing --------------------------------------------------------------------------------------------------------


class ShardWriter:
    """Collects records, and writes a shard when there are enough of them, or when the first has waited long enough."""

    def __init__(self, folder: str | os.PathLike[str], kind: str, n_record: int, seconds: float) -> None:
        """Make a writer.

        Args:
            folder: The folder of the shards, which exists.
            kind: One of FORMATS.
            n_record: Records of a full shard.
            seconds: Time after which a shard is written that is not full; what a killed run loses is no older.

        Raises:
            WhisperAprError: The package pyarrow is missing, which Parquet needs.
        """
        if kind == "parquet":
            schema()
        self._folder, self._kind = Path(folder), kind
        self._n_record, self._seconds = n_record, seconds
        self._records: list[Record] = []
        self._since = 0.0
        self._number = 1 + max((_number(path) for path in shard_paths(folder)), default=-1)
        self._path = self._next_path()
        self.n_committed = 0

    def add(self, record: Record) -> None:
        """Take a record, and write a shard if it is full."""
        if not self._records:
            self._since = monotonic()
        self._records.append(record)
        if len(self._records) >= self._n_record:
            self.commit()

    def tick(self) -> None:
        """Write a shard if its first record has waited long enough."""
        if self._records and monotonic() - self._since >= self._seconds:
            self.commit()

    def commit(self) -> None:
        """Write the records that are waiting. If that is interrupted, calling it again is safe: the name is the same.

        Raises:
            OutputError: The shard cannot be written.
        """
        if not self._records:
            return
        with _writing(self._path):
            write_shard(self._path, self._records)
        n, self._records = len(self._records), []
        self._number += 1
        self._path = self._next_path()
        self.n_committed += n

    def _next_path(self) -> Path:
        # the random part lets several runs write to one folder
        return self._folder / f"{PREFIX}{self._number:06d}-{token_hex(4)}.{self._kind}"


def write_shard(path: Path, records: list[Record]) -> None:
    """Write records to a file, which appears when it is complete, in the format of its suffix. Raises OSError."""
    with write_atomically(path) as file:
        if path.suffix == ".parquet":
            pyarrow = arrow("records are to be written as Parquet")
            table = pyarrow.Table.from_pylist(records, schema=schema())
            pyarrow.parquet.write_table(table, file, compression="zstd")
            return
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def _number(path: Path) -> int:
    number = path.name.removeprefix(PREFIX).partition("-")[0]
    return int(number) if number.isdecimal() and len(number) < 12 else -1


# ---- resuming -------------------------------------------------------------------------------------------------------


def committed(
    folder: str | os.PathLike[str], part: tuple[int, int] = (0, 1), *, without_failed: bool = False
) -> tuple[set[bytes], Totals]:
    """Return the digests of the ids that a folder has records of, and the totals of these records.

    Args:
        folder: The folder of the shards.
        part: The ids to look for, see `items.in_part`.
        without_failed: Whether to remove the records of recordings that failed from the shards, to try them again.

    Raises:
        OutputError: A file is not a shard, or cannot be replaced.
    """
    done, totals = set[bytes](), Totals()
    for path in shard_paths(folder):
        n_failed = 0
        for record in read_shard(path, ("id", "duration", "language", "error", "seconds")):
            if not in_part(record["id"], part):
                continue
            if record["error"] is not None and without_failed:
                n_failed += 1
                continue
            done.add(digest(record["id"]))
            totals.add(record)
        if n_failed:
            kept = [each for each in read_shard(path) if each["error"] is None or not in_part(each["id"], part)]
            with _writing(path):
                write_shard(path, kept) if kept else path.unlink()
    return done, totals
