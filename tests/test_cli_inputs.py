"""The recordings that `whisper-apr transcribe` reads: folders, patterns, links, and inputs that cannot be read."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from cli_files import EN, posix, transcribe, tree
from privileges import without_privileges
from whisper_apr.cli import inputs, main
from whisper_apr.cli.inputs import find_inputs, reason_unreadable

pytestmark = pytest.mark.usefixtures("opened_once")


def paths(*arguments: object, recursive: bool = True, relative_to: Path) -> list[str]:
    found, problems = find_inputs([str(each) for each in arguments], recursive)
    assert problems == []
    return [Path(each.path).relative_to(relative_to).as_posix() for each in found]


def test_folders_are_searched_recursively(tmp_path: Path) -> None:
    names = ["a.wav", "B.MP3", "n.txt", "sub/c.flac", "sub/deep/d.m4a", "sub/deep/e.wav.txt"]
    hidden = [".h.wav", "._a.wav", ".cache/f.wav", "sub/.git/g.wav"]
    tree(tmp_path, *names, *hidden)
    assert paths(tmp_path, relative_to=tmp_path) == ["B.MP3", "a.wav", "sub/c.flac", "sub/deep/d.m4a"]
    assert paths(tmp_path, recursive=False, relative_to=tmp_path) == ["B.MP3", "a.wav"]
    # hidden files and folders that are named are read
    named = [tmp_path / ".cache", tmp_path / ".h.wav", tmp_path / "n.txt"]
    assert paths(*named, relative_to=tmp_path) == [".cache/f.wav", ".h.wav", "n.txt"]


def test_recordings_are_found_once(tmp_path: Path, monkeypatch) -> None:
    tree(tmp_path, "a.wav", "sub/b.wav")
    monkeypatch.chdir(tmp_path)
    found, _ = find_inputs(["a.wav", ".", "./a.wav", "sub/../a.wav", "*.wav", str(tmp_path / "a.wav"), "-", "sub", "-"])
    assert [each.path for each in found] == ["a.wav", os.path.join(".", "sub", "b.wav"), "-"]


@posix
def test_cycles_of_links(tmp_path: Path) -> None:
    tree(tmp_path, "in/z/a.wav", "other/b.wav")
    (tmp_path / "in" / "self").symlink_to(".")
    (tmp_path / "in" / "z" / "up").symlink_to("..")
    (tmp_path / "in" / "a").symlink_to("z")  # sorts before the folder itself
    (tmp_path / "in" / "far").symlink_to(tmp_path / "other")
    (tmp_path / "in" / "x.wav").symlink_to("y.wav")
    (tmp_path / "in" / "y.wav").symlink_to("x.wav")
    (tmp_path / "in" / "nowhere.wav").symlink_to("gone.wav")
    (tmp_path / "in" / "link.wav").symlink_to("z/a.wav")
    expected = ["in/link.wav", "in/z/a.wav", "in/far/b.wav"]
    assert paths(tmp_path / "in", relative_to=tmp_path) == expected
    assert set(paths(tmp_path / "in" / "**" / "*.wav", relative_to=tmp_path)) == set(expected)


@posix
def test_many_cycles_are_fast(tmp_path: Path) -> None:
    """glob.glob would follow each of them forty times, in every order."""
    tree(tmp_path, "a.wav")
    for i in range(20):
        (tmp_path / f"circle{i}").symlink_to(".")
    for argument in (tmp_path, tmp_path / "**", tmp_path / "**" / "*.wav", tmp_path / "**" / "**" / "a*"):
        assert paths(argument, relative_to=tmp_path) == ["a.wav"]


def test_a_deep_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    depth = 300  # of two characters each: allowed in a path, but too deep for a recursive search
    deepest = Path(*["d"] * depth)
    try:
        deepest.mkdir(parents=True)
    except OSError:
        pytest.skip("this system does not allow paths of 600 characters")
    (deepest / "a.wav").touch()
    assert [each.relative_path for each in find_inputs(["d"])[0]] == [str(Path(*["d"] * (depth - 1), "a.wav"))]


def test_patterns(tmp_path: Path) -> None:
    tree(tmp_path, "a.wav", "b[1].wav", "x/a.wav", "y/a.wav", "y/z/a.wav", ".h/a.wav", "y/a.ogg")
    assert paths(tmp_path / "*.wav", relative_to=tmp_path) == ["a.wav", "b[1].wav"]
    assert paths(tmp_path / "b[1].wav", relative_to=tmp_path) == ["b[1].wav"]  # the name of a file
    assert paths(tmp_path / "?" / "a.*", relative_to=tmp_path) == ["x/a.wav", "y/a.ogg", "y/a.wav"]
    everywhere = ["a.wav", "x/a.wav", "y/a.wav", "y/z/a.wav"]
    assert paths(tmp_path / "**" / "a.wav", relative_to=tmp_path) == everywhere
    assert paths(tmp_path / "y" / "**" / "a.wav", relative_to=tmp_path) == everywhere[2:]
    assert [each.relative_path for each in find_inputs([str(tmp_path / "?" / "a.wav")])[0]] == [
        os.path.join("x", "a.wav"),
        os.path.join("y", "a.wav"),
    ]


@pytest.mark.parametrize("argument", ["*.ogg", "sub/**/*.flac", "empty", "[x"])
def test_nothing_found(tmp_path: Path, monkeypatch, capsys, argument: str) -> None:
    tree(tmp_path, "a.wav", "sub/a.wav", "empty/.h.wav")
    monkeypatch.chdir(tmp_path)
    assert transcribe(argument) == 2
    assert argument in capsys.readouterr().err


def test_recordings_only_in_subfolders(tmp_path: Path, capsys) -> None:
    tree(tmp_path, "sub/a.wav")
    assert transcribe(tmp_path, "--no-recursive") == 2
    assert "no recordings in this folder itself; leave out --no-recursive" in capsys.readouterr().err


def test_inputs_are_checked_before_the_model_is_loaded(tmp_path, capsys, no_model) -> None:
    (tmp_path / "empty.wav").touch()
    assert transcribe(tmp_path / "gone.wav") == 1
    assert capsys.readouterr().err == f"whisper-apr: {tmp_path / 'gone.wav'}: No such file or directory\n"
    assert transcribe(tmp_path / "empty.wav", tmp_path / "gone.wav", tmp_path / "gone too.wav") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == (
        "whisper-apr: 0 done, 3 failed (2: No such file or directory; 1: the file is empty)"
    )
    assert err.count("\n") == 4


@pytest.mark.parametrize(
    "flags",
    [
        ["--temperature", "2"],
        ["--vad-threshold", "0.3"],
        ["--best-of", "0"],
        ["--hallucination-silence-threshold", "1"],
        ["--patience", "0.01"],
        ["--language-detection-segments", "0"],
        ["--max-line-width", "20"],
        ["--skip-existing"],
    ],
)
def test_options_are_checked_before_the_model_is_loaded(capsys, no_model, flags) -> None:
    assert main(["transcribe", str(EN), *flags]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@posix
def test_missing_permissions(tmp_path: Path) -> None:
    tree(tmp_path, "a.wav", "closed/b.wav")
    (tmp_path / "a.wav").chmod(0)
    (tmp_path / "closed").chmod(0)
    with without_privileges(tmp_path):
        found, problems = find_inputs([str(tmp_path)])
        assert [reason_unreadable(each) for each in found] == ["Permission denied"]
    assert problems == [(str(tmp_path / "closed"), "Permission denied")]
    (tmp_path / "closed").chmod(0o755)


def test_a_folder_that_cannot_be_read_is_a_failure(tmp_path, monkeypatch, capsys) -> None:
    """It is not skipped silently, because its recordings were asked for."""
    tree(tmp_path, "closed/b.wav")
    shutil.copy(EN, tmp_path / "a.wav")
    scan = os.scandir

    def scandir(path: str):
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(inputs.os, "scandir", scandir)
    assert transcribe(tmp_path) == 1
    out, err = capsys.readouterr()
    assert "three one four" in out
    assert f"{tmp_path / 'closed'}: Permission denied" in err
    assert "1 done, 1 failed (1: Permission denied)" in err
