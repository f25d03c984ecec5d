"""Manifests and shards in Parquet."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from corpus_work import records
from recordings import DATA
from test_corpus_shards import record
from whisper_apr.cli import main
from whisper_apr.corpus.items import Items
from whisper_apr.corpus.parquet import RECORD, schema
from whisper_apr.corpus.shards import ShardWriter, committed, shard_paths
from whisper_apr.errors import OptionError, OutputError


def corpus(*arguments: object) -> int:
    return main(["corpus", "--model", "digits", "--beam-size", "None", "--workers", "1", *map(str, arguments)])


def test_records_are_the_same_in_both_formats(tmp_path: Path) -> None:
    manifest = tmp_path / "list.parquet"
    paths = [str(DATA / "en.wav"), str(DATA / "de.wav"), "gone.wav"]
    table = {"path": paths, "id": [1, 2, 3], "locale": ["en", "de_DE", None], "text": ["", "", ""]}
    pyarrow.parquet.write_table(pyarrow.table(table), manifest)
    for kind in ("jsonl", "parquet"):
        # the third does not exist
        assert corpus(manifest, "-o", tmp_path / kind, "--format", kind, "--word-timestamps", "True") == 1
    lines, columns = records(tmp_path / "jsonl"), records(tmp_path / "parquet")
    assert [each["id"] for each in columns] == ["1", "2", "3"]
    for line, column in zip(lines, columns, strict=True):
        assert list(column) == list(line) == list(RECORD)
        for key in ("id", "source", "duration", "language", "text", "error", "warnings", "attempts"):
            assert column[key] == line[key]
        assert column["confidence"] == pytest.approx(line["confidence"])
        assert len(column["segments"] or ()) == len(line["segments"] or ())
        for one, other in zip(column["words"] or (), line["words"] or (), strict=True):
            assert one == {"speaker": None} | other | {"probability": pytest.approx(other["probability"])}
    (path,) = shard_paths(tmp_path / "parquet")
    assert pyarrow.parquet.read_schema(path).equals(schema())


def test_a_run_goes_on_from_both_formats(tmp_path: Path) -> None:
    for kind, names in (("jsonl", "ab"), ("parquet", "cd")):
        writer = ShardWriter(tmp_path, kind, 2, 600)
        for name in names:
            writer.add(record(name, "damaged" if name in "bd" else None))
    assert committed(tmp_path)[1].n_failed == 2
    assert len(committed(tmp_path, without_failed=True)[0]) == 2
    assert [each["id"] for each in records(tmp_path)] == ["a", "c"]
    assert committed(tmp_path)[1].languages == {"en": 2}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more PAR1")
    with pytest.raises(OutputError, match=r"a.parquet is not a shard of a corpus \("):
        committed(tmp_path)
    with pytest.raises(OptionError, match=r"a.parquet is not a Parquet file that can be read"):
        Items([str(tmp_path / "a.parquet")]).check()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(OptionError, match=r"a.parquet: row 1: it must have a path or URL"):
        Items([str(tmp_path / "a.parquet")]).check()
    with pytest.raises(OutputError, match="is not a shard of a corpus"):
        committed(tmp_path)
