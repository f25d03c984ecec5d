"""Recordings with texts are found beside each other and in lists; what is wrong with a list is said."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.errors import OptionError
from whisper_apr.evaluation import Recording, find_recordings, recordings

DATA = Path(__file__).parent / "data"


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def found(source: Path) -> list[tuple[str, str, str | None]]:
    return [(each.name.replace(os.sep, "/"), each.text, each.language) for each in find_recordings(source)]


def test_texts_beside_recordings(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "b.wav": "",
            "b.txt": "\ufefftwo\n",
            "a/a.FLAC": "",
            "a/a.txt": "one",
            "a/untold.wav": "",
            "notes.txt": "not of a recording",
            ".hidden/c.wav": "",
            ".hidden/c.txt": "three",
        },
    )
    assert found(tmp_path) == [("b.wav", "two\n", None), ("a/a.FLAC", "one", None)]
    assert find_recordings(str(tmp_path))[1].path == str(tmp_path / "a" / "a.FLAC")


def test_librispeech(tmp_path: Path) -> None:
    lines = "84-1-0000 GO ON\n84-1-0001 NO\n\n84-1-0002 IS MISSING\n"
    write(tmp_path, {"84/1/84-1.trans.txt": lines, "84/1/84-1-0000.flac": "", "84/1/84-1-0001.flac": ""})
    assert found(tmp_path) == [("84/1/84-1-0000.flac", "GO ON", None), ("84/1/84-1-0001.flac", "NO", None)]


def test_common_voice(tmp_path: Path) -> None:
    table = 'client_id\tpath\tsentence\tlocale\nx\tone.mp3\t"Eins" und "zwei"\tde\nx\ttwo.mp3\t"Zwo\tsv-SE\n'
    write(tmp_path, {"test.tsv": table, "clips/one.mp3": "", "clips/two.mp3": ""})
    assert found(tmp_path / "test.tsv") == [("one.mp3", '"Eins" und "zwei"', "de"), ("two.mp3", '"Zwo', "sv")]
    assert find_recordings(tmp_path / "test.tsv")[0].path == str(tmp_path / "clips" / "one.mp3")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("texts.json", '[{"file": "a.wav", "text": "one", "language": "German", "words": []}]'),
        ("texts.json", '{"a.wav": {"text": "one", "language": "de"}}'),
        ("words.json", '\ufeff[{"audio_filepath": "a.wav", "text": "one", "language": "de"}]'),
        ("texts.tsv", "language\tfile\ttext\nde\ta.wav\tone\n"),
        ("texts.csv", '\ufefffile,text,language\r\na.wav,"one",de\r\n'),
        ("metadata.csv", "file_name,transcription,language\na.wav,one,de\n"),
    ],
)
def test_lists(name: str, content: str, tmp_path: Path) -> None:
    write(tmp_path, {"a.wav": "", "a.txt": "another", name: content})
    assert found(tmp_path) == found(tmp_path / name) == [("a.wav", "one", "de")]


def test_texts_alone(tmp_path: Path) -> None:
    write(tmp_path, {"texts.json": '{"a.wav": "one"}', "words.json": "an older list"})
    assert found(tmp_path) == [("a.wav", "one", None)]


def test_the_data_of_these_tests() -> None:
    assert ("de.wav", "null sieben drei null zwei", "de") in found(DATA)


@pytest.mark.parametrize(
    "file", ["../a.wav", "/etc/passwd", "b/../../a.wav", "..\\a.wav", "C:\\a.wav", "\\\\host\\a.wav", "", "a\0.wav"]
)
def test_paths_out_of_the_folder_are_refused(file: str, tmp_path: Path) -> None:
    write(tmp_path, {"texts.json": json.dumps([{"file": "ok.wav", "text": ""}, {"file": file, "text": ""}])})
    with pytest.raises(OptionError, match=r"texts\.json: entry 2: .* must be a path within the list's folder"):
        find_recordings(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("texts.json", "[", "is not a list of recordings and texts"),
        ("texts.json", "[" * 100_000, "is not a list of recordings and texts"),
        ("texts.json", '["a.wav"]', "must be a list of objects"),
        ("texts.json", "3", "must be a list of objects"),
        ("texts.json", '[{"text": "one"}]', "entry 1: it must have a string 'file'"),
        ("texts.json", '[{"file": "a.wav", "text": null}]', "entry 1: it must have a string 'text'"),
        ("texts.json", '[{"file": "a.wav", "text": "", "language": 3}]', "entry 1: the language must be a string"),
        ("texts.json", '[{"file": "a.wav", "text": "", "language": "xx-de"}]', "entry 1: .*xx"),
        ("texts.json", "[]", "no recording has a text here"),
        ("texts.json", b"\xff\xfe", "is not in UTF-8 .*byte 0"),
        ("texts.csv", "name,text\na.wav,one\n", "entry 1: it must have a string 'file'"),
        ("texts.csv", "file,text\na.wav\n", "entry 1: it must have a string 'text'"),
        ("texts.csv", f"file,text\na.wav,{'x' * 200_000}\n", "is not a list of recordings and texts"),
        ("a.txt", "a text without a recording", "no recording has a text here"),
    ],
)
def test_what_is_wrong(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    write(tmp_path, {name: content})
    with pytest.raises(OptionError, match=message):
        find_recordings(tmp_path)


KEYS = st.sampled_from(["file", "path", "text", "language"]) | st.text(max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
CELLS = st.sampled_from(["file", "text", "language", "a.wav", "..", "/", "de", '"', "\t", ",", "\r", "\n", "\n", "\0"])


@given(
    st.sampled_from(["texts.json", "texts.tsv", "texts.csv"]),
    st.binary(max_size=60) | JSON.map(json.dumps) | st.lists(CELLS, max_size=30).map("".join),
)
def test_any_content_is_a_list_or_an_option_error(name: str, content: str | bytes) -> None:
    with TemporaryDirectory() as folder:
        write(Path(folder), {name: content})
        with suppress(OptionError):
            assert all(os.path.abspath(each.path).startswith(folder) for each in find_recordings(folder))


def test_sizes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"texts.json": '{"a.wav": "one"}'})
    monkeypatch.setattr(recordings, "MAX_TEXT", 2)
    with pytest.raises(OptionError, match="the text has 3 characters, and at most 2 are allowed"):
        find_recordings(tmp_path)
    monkeypatch.setattr(recordings, "MAX_LIST", 10)
    with pytest.raises(OptionError, match=r"texts\.json has 16 bytes, and at most 10 are read"):
        find_recordings(tmp_path)


def test_folders_and_missing_lists(tmp_path: Path) -> None:
    write(tmp_path, {"texts.json": '{"inner": "one"}', "inner/a.wav": ""})
    with pytest.raises(OptionError, match="inner is not a file"):
        find_recordings(tmp_path)
    with pytest.raises(OptionError, match=r"no\.json: No such file"):
        find_recordings(tmp_path / "no.json")


@pytest.mark.skipif(sys.platform in ("win32", "emscripten"), reason="needs FIFOs")
def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "texts.tsv")
    with pytest.raises(OptionError, match="is not a file"):
        find_recordings(tmp_path / "texts.tsv")
    write(tmp_path, {"words.json": '{"texts.tsv": "one"}'})
    with pytest.raises(OptionError, match="is not a file"):
        find_recordings(tmp_path)


def test_label() -> None:
    assert Recording("folder/a.wav", "").label == "folder/a.wav"
    assert Recording("folder/a.wav", "", name="a.wav").label == "a.wav"
