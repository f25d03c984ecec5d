"""`whisper-apr align`: formats, files, messages and errors."""

import json
from pathlib import Path

import pytest

from recordings import DATA
from whisper_apr.cli import main

EN = str(DATA / "en.wav")


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_text("\ufeffthree one\nfour one five\n", encoding="utf-8")
    return str(path)


def run(*arguments: str) -> int:
    return main(["align", "--model", "digits", "--language", "en", *arguments])


def test_prints_subtitles(text, capsys):
    assert run(EN, text) == 0
    out, err = capsys.readouterr()
    assert out.split("\n\n")[0].startswith("1\n00:00:00,4")
    assert [cue.split("\n")[2] for cue in out.strip().split("\n\n")] == ["three one", "four one five"]
    assert err == ""


def test_json_has_the_words(text, capsys):
    assert run(EN, text, "-f", "json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["segments"][0]["words"][0]["word"] == " three"
    assert result["skipped"] == result["added"] == []


@pytest.mark.parametrize("suffix", ["srt", "vtt", "ass", "lrc", "json", "txt", "tsv", "csv", "md"])
def test_writes_the_format_of_the_suffix(text, suffix, tmp_path, capsys):
    path = tmp_path / f"out.{suffix}"
    assert run(EN, text, "-o", str(path)) == 0
    assert run(EN, text, "-f", suffix) == 0
    assert path.read_text().strip() == capsys.readouterr().out.strip() != ""


def test_messages_about_differences(tmp_path, capsys):
    path = tmp_path / "other.txt"
    path.write_text("three one nine nine\nfour five")
    assert run(EN, str(path)) == 0
    err = capsys.readouterr().err
    assert "whisper-apr: not spoken: nine, nine\n" in err
    assert "whisper-apr: not in the text: 00:02.0" in err
    assert err.rstrip().endswith(": one")


def test_existing_file_is_kept(text, tmp_path, capsys):
    path = tmp_path / "out.srt"
    path.write_text("mine")
    assert run(EN, text, "-o", str(path)) == 2
    assert path.read_text() == "mine"
    assert run(EN, text, "-o", str(path), "--overwrite") == 0
    assert "three one" in path.read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe\x00", "not a text in UTF-8"), (b" \n", "no words"), (None, "No such file")],
)
def test_texts_that_cannot_be_used(content, message, tmp_path, capsys):
    path = tmp_path / "bad.txt"
    if content is not None:
        path.write_bytes(content)
    assert run(EN, str(path)) in (1, 2)
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_recording_that_does_not_exist(text, capsys):
    assert run("no.wav", text) == 2
    assert "no.wav: No such file" in capsys.readouterr().err
