"""The recordings of a corpus: files, manifests and tars, and hostile ones."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from whisper_apr.corpus import manifests
from whisper_apr.corpus.items import Item, Items
from whisper_apr.errors import OptionError


def found(*paths: Path, part: tuple[int, int] = (0, 1)) -> list[Item]:
    items = Items(map(str, paths), part)
    assert items.check() == len(list(items))  # the recordings can be found repeatedly
    return list(items)


def manifest(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            file.addfile(about, io.BytesIO(content))
    return path


def test_a_file_is_its_own_id() -> None:
    assert found(Path("a/talk.wav")) == [Item("a/talk.wav", "a/talk.wav")]
    assert found(Path("a/\udcff.wav")) == [Item("a/\\udcff.wav", "a/\udcff.wav")]


ROWS = [
    {"audio_filepath": "a.wav", "id": "first", "language": "German"},
    {"audio_filepath": "/b.wav", "id": 7, "language": "en_US"},
    {"audio_filepath": "https://example.org/c.mp3"},
]
ITEMS = [
    ("first", "{}/a.wav", "de"),
    ("7", "/b.wav", "en"),
    ("https://example.org/c.mp3", "https://example.org/c.mp3", None),
]
TABLE = "audio_filepath,id,language\na.wav,first,German\n/b.wav,7,en_US\nhttps://example.org/c.mp3,,\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.jsonl", "".join(f"{json.dumps(row)}\n\n" for row in ROWS)),
        ("list.ndjson", "\ufeff" + "\n".join(map(json.dumps, ROWS))),
        ("list.csv", TABLE),
        ("list.tsv", TABLE.replace(",", "\t")),
    ],
)
def test_manifests(tmp_path: Path, name: str, text: str) -> None:
    items = found(manifest(tmp_path, name, text))
    assert [(each.id, each.source, each.language) for each in items] == [
        (name, source.format(tmp_path), language) for name, source, language in ITEMS
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"path": "a.wav"}\n{"path"', "a.jsonl: line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl: line 1 must be an object"),
        ("a.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", '{"text": "hello"}\n', "line 1: it must have a path or URL"),
        ("a.jsonl", '{"path": ["a.wav"]}\n', "line 1: it must have a path or URL"),
        ("a.jsonl", '{"path": "a\\u0000.wav"}\n', "line 1: it must have a path or URL"),
        ("a.jsonl", '{"path": "a.wav", "id": {}}\n', "line 1: the id must be a string"),
        ("a.jsonl", '{"path": "a.wav", "language": "Klingon"}\n', "line 1: "),
        ("a.jsonl", '{"path": "' + "a" * manifests.MAX_LINE + '"}\n', "line 1 has more than"),
        ("a.csv", "a.wav,b.wav\n", "a.csv: its first line must name the columns"),
        ("a.csv", "path\n" + "a" * 200_000, "the line after 1 is not a table's"),
        ("a.csv", 'path\n"' + "a\n" * 200_000, "is not a table's"),
        ("a.jsonl", '{"path": "a.wav"}\n{"path": "b.wav", "id": "a.wav"}\n', "b.wav: the id 'a.wav' has been used"),
    ],
)
def test_a_manifest_that_is_wrong_names_the_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = manifest(tmp_path, name, text)
    with pytest.raises(OptionError) as caught:
        Items([str(path)]).check()
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_manifest_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="No such file"):
        Items([str(tmp_path / "gone.jsonl")]).check()
    (tmp_path / "latin.jsonl").write_bytes(b'{"path": "\xe9.wav"}\n')
    with pytest.raises(OptionError, match="not in UTF-8"):
        Items([str(tmp_path / "latin.jsonl")]).check()


def test_rows_are_read_one_after_the_other(tmp_path: Path) -> None:
    """The first row is there before the second, which is wrong, is read."""
    items = iter(Items([str(manifest(tmp_path, "a.jsonl", '{"path": "a.wav"}\n{"path"'))]))
    assert next(items).id == "a.wav"
    with pytest.raises(OptionError):
        next(items)


def test_members_of_a_tar(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "shard.tar",
        {
            "x/a.json": b'{"language": "de"}',
            "x/a.seg.flac": b"first",
            "x/b.txt": b"no recording",
            "x/b.wav": b"second",
            "c.mp3": b"",
        },
    )
    items = found(path)
    assert [(each.id, each.language, each.member) for each in items] == [
        ("x/a", "de", "x/a.seg.flac"),
        ("x/b", None, "x/b.wav"),
        ("c", None, "c.mp3"),
    ]
    content = path.read_bytes()
    contents = [content[each.offset : (each.offset or 0) + each.size] for each in items]
    assert contents == [b"first", b"second", b""]


def test_a_tar_that_is_wrong(tmp_path: Path) -> None:
    packed = tar(tmp_path / "a.tar", {"a.wav": b"x"}, "w:gz")
    with pytest.raises(OptionError, match="decompress it"):
        Items([str(packed)]).check()
    whole = tar(tmp_path / "b.tar", {"a.wav": b"x" * 5000})
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(OptionError, match=r"b.tar:a.wav: the tar ends before this member does|cannot|unexpected"):
        Items([str(whole)]).check()
    text = tar(tmp_path / "c.tar", {"a.json": b"{", "a.wav": b"x"})
    with pytest.raises(OptionError, match=r"c.tar:a.json is not JSON"):
        Items([str(text)]).check()
    with pytest.raises(OptionError, match="No such file"):
        Items([str(tmp_path / "gone.tar")]).check()
    twice = tar(tmp_path / "d.tar", {"a.wav": b"x", "a.mp3": b"x"})
    with pytest.raises(OptionError, match=r"d.tar:a.mp3: the id 'a' has been used before"):
        Items([str(twice)]).check()


def test_parts_divide_the_corpus(tmp_path: Path) -> None:
    lines = "".join(f'{{"path": "{i}.wav"}}\n' for i in range(300))
    path = manifest(tmp_path, "a.jsonl", lines)
    parts = [[each.id for each in found(path, part=(i, 3))] for i in range(3)]
    assert sorted(each for part in parts for each in part) == sorted(f"{i}.wav" for i in range(300))
    assert all(70 < len(part) < 130 for part in parts)
