"""Shards of records: written whole, read again, and damaged ones."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from whisper_apr.corpus import shards
from whisper_apr.corpus.folder import SETTINGS, opened_folder
from whisper_apr.corpus.items import digest
from whisper_apr.corpus.parquet import RECORD
from whisper_apr.corpus.shards import Record, ShardWriter, committed, read_shard, shard_paths
from whisper_apr.errors import OptionError, OutputError


def record(name: str, error: str | None = None) -> Record:
    known = {} if error else {"duration": 3600.0, "language": "en", "text": " hello"}
    return dict.fromkeys(RECORD) | {"id": name, "error": error, "seconds": 60.0} | known


def ids(folder: Path) -> list[list[str]]:
    return [[each["id"] for each in read_shard(path)] for path in shard_paths(folder)]


def test_a_shard_is_written_when_it_is_full(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "jsonl", 2, 600)
    for name in "abc":
        writer.add(record(name))
    assert ids(tmp_path) == [["a", "b"]]
    writer.tick()  # the third has not waited long
    assert ids(tmp_path) == [["a", "b"]]
    writer.commit()
    writer.commit()  # nothing is left
    assert ids(tmp_path) == [["a", "b"], ["c"]]
    assert writer.n_committed == 3
    assert [path.name[:12] for path in shard_paths(tmp_path)] == ["part-000000-", "part-000001-"]
    ShardWriter(tmp_path, "jsonl", 1, 600).add(record("d"))
    assert [path.name[:12] for path in shard_paths(tmp_path)][-1] == "part-000002-"


def test_a_shard_is_written_when_its_first_record_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times: Iterator[float] = iter([100.0, 109.0, 110.0])
    monkeypatch.setattr(shards, "monotonic", lambda: next(times))
    writer = ShardWriter(tmp_path, "jsonl", 1000, 10)
    writer.add(record("a"))
    writer.add(record("b"))
    writer.tick()
    assert ids(tmp_path) == []
    writer.tick()
    assert ids(tmp_path) == [["a", "b"]]


@pytest.mark.parametrize("interrupted", ["write_shard", "os.replace"])
def test_an_interrupted_commit_is_repeated_under_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    """Ctrl-C before or after the file has its name: the records are written once."""
    write = shards.write_shard

    def interrupt(path: Path, records: list[Record]) -> None:
        if interrupted == "os.replace":
            write(path, records)
        raise KeyboardInterrupt

    writer = ShardWriter(tmp_path, "jsonl", 1, 600)
    with monkeypatch.context() as patched:
        patched.setattr(shards, "write_shard", interrupt)
        with pytest.raises(KeyboardInterrupt):
            writer.add(record("a"))
    writer.commit()
    assert ids(tmp_path) == [["a"]]


def test_what_is_committed(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "jsonl", 2, 600)
    for each in (record("a"), record("b", "damaged"), record("c", "gone"), record("d", "gone")):
        writer.add(each)
    done, totals = committed(tmp_path)
    assert done == {digest(name) for name in "abcd"}
    assert (totals.n_record, totals.n_failed, totals.audio_seconds, totals.worker_seconds) == (4, 3, 3600.0, 240.0)
    assert totals.languages == {"en": 1}
    done, totals = committed(tmp_path, without_failed=True)
    assert (done, totals.n_record, totals.n_failed) == ({digest("a")}, 1, 0)
    assert ids(tmp_path) == [["a"]]  # the shard that had failures only is gone


def test_other_parts_are_left_alone(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "jsonl", 100, 600)
    for i in range(50):
        writer.add(record(str(i), "damaged"))
    writer.commit()
    first, _ = committed(tmp_path, (0, 2))
    second, _ = committed(tmp_path, (1, 2))
    assert first | second == {digest(str(i)) for i in range(50)}
    assert first
    assert second
    assert not first & second
    committed(tmp_path, (0, 2), without_failed=True)
    assert committed(tmp_path)[0] == second


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b"[1]\n",
        b"{}\n",
        b'{"id": 5, "duration": 1, "language": null, "error": null, "seconds": 1}\n',
        b'{"id": "a", "duration": 1',
        b"\xff\n",
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_file_that_is_no_shard_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notes.jsonl").write_bytes(content)
    with pytest.raises(OutputError) as caught:
        committed(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'notes.jsonl'} is not a shard of a corpus (")


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".part-000000-ab.jsonl.0123456789ab.part").write_text("he")  # of a killed run
    assert committed(tmp_path)[0] == set()


def test_a_folder_has_results_of_the_same_settings(tmp_path: Path) -> None:
    top = tmp_path / "new" / "folder"
    with opened_folder(str(top), {"model": "bsae", "temperature": (0.0, 0.2)}, (0, 1)):
        pass
    with opened_folder(str(top), {"model": "base", "temperature": (0.0, 0.2)}, (0, 1)):  # there are no results yet
        assert json.loads((top / SETTINGS).read_text())["model"] == "base"
        ShardWriter(top, "jsonl", 1, 600).add(record("a"))
    with opened_folder(str(top), {"model": "base", "temperature": (0.0, 0.2)}, (0, 1)):
        pass
    with (
        pytest.raises(OptionError, match="model is 'base' there, and now 'tiny'"),
        opened_folder(str(top), {"model": "tiny", "temperature": (0.0, 0.2)}, (0, 1)),
    ):
        pass
    (top / SETTINGS).write_text("{")
    with pytest.raises(OutputError, match="is damaged"), opened_folder(str(top), {}, (0, 1)):
        pass


def test_two_runs_do_not_write_the_same_part(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with opened_folder(str(tmp_path), {}, (0, 2)):
        with (
            pytest.raises(OptionError, match="another run writes to this folder"),
            opened_folder(str(tmp_path), {}, (0, 2)),
        ):
            pass
        with opened_folder(str(tmp_path), {}, (1, 2)):
            pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written to"), opened_folder(str(tmp_path / "file"), {}, (0, 1)):
        pass
