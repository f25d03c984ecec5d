"""The results of `whisper-apr transcribe`: names, existing and unwritable files, and what is printed."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from cli_files import DE, EN, posix, transcribe, tree
from recordings import DATA, speech
from whisper_apr.cli.inputs import STDIN, Input
from whisper_apr.cli.outputs import output_names
from whisper_apr.errors import OptionError
from whisper_apr.output import writers

pytestmark = pytest.mark.usefixtures("opened_once")

ALL = {"txt", "vtt", "srt", "tsv", "json"}


def results(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# ---- names of results -----------------------------------------------------------------------------------------------


def names_of(*found: tuple[str, str]) -> list[str]:
    return [Path(name).as_posix() for name in output_names([Input(path, inside) for path, inside in found])]


def test_names() -> None:
    assert names_of(("in/a.wav", "a.wav"), ("in/s/a.wav", "s/a.wav"), ("-", "stdin")) == ["a", "s/a", "stdin"]
    # the same stem
    assert names_of(("a.wav", "a.wav"), ("a.MP3", "a.MP3"), ("b.c.wav", "b.c.wav")) == ["a.wav", "a.MP3", "b.c"]
    # the same stem in a file system that ignores case
    assert names_of(("i/A.wav", "A.wav"), ("i/a.mp3", "a.mp3")) == ["A.wav", "a.mp3"]
    # the same name in several folders
    assert names_of(("p/x/a.wav", "a.wav"), ("p/y/a.wav", "a.wav"), ("q/b.wav", "b.wav")) == ["x/a", "y/a", "b"]
    assert names_of(("x/a.wav", "a.wav"), ("x/y/a.wav", "a.wav")) == ["a", "y/a"]
    assert names_of(("x/a.wav", "a.wav"), ("x/a.mp3", "a.mp3"), ("y/a.wav", "a.wav")) == [
        "x/a.wav",
        "x/a.mp3",
        "y/a.wav",
    ]
    assert names_of(("stdin.wav", "stdin.wav"), (STDIN, "stdin")) == ["stdin.wav", "stdin"]


def test_names_that_cannot_differ() -> None:
    with pytest.raises(OptionError, match="written to the same file"):
        names_of(("f/x/a.wav", "x/a.wav"), ("p/x/a.wav", "a.wav"), ("p/y/a.wav", "a.wav"))


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "x", "y", "x/y", "X"]), st.sampled_from("aAb"), st.sampled_from(["wav", "mp3"])),
        unique=True,
        min_size=1,
    ),
    st.booleans(),
)
def test_any_names_differ_and_stay_within_the_folder(files: list[tuple[str, str, str]], as_folder: bool) -> None:
    """Either the names differ, also without case, or OptionError is raised."""
    places = [f"{folder}/{stem}.{kind}".lstrip("/") for folder, stem, kind in files]
    found = [Input(f"top/{place}", place if as_folder else os.path.basename(place)) for place in places]
    try:
        names = output_names(found)
    except OptionError:
        assert len({place.casefold() for place in places}) < len(places) or not as_folder
        return
    assert len({name.casefold() for name in names}) == len(names)
    assert not any(name.startswith(("/", "..")) or "/.." in name for name in names)


def test_subfolders_are_kept(tmp_path, capsys) -> None:
    """The paths of the files are printed, but not the text."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    shutil.copy(EN, tmp_path / "in" / "one.wav")
    shutil.copy(DE, tmp_path / "in" / "sub" / "one.wav")
    out = tmp_path / "out"
    assert transcribe(tmp_path / "in", "-o", out, "-f", "txt") == 0
    printed, err = capsys.readouterr()
    assert printed == f"{out / 'one.txt'}\n{out / 'sub' / 'one.txt'}\n"
    assert (out / "one.txt").read_text() == "three one four one five\n"
    assert (out / "sub" / "one.txt").read_text() == "null sieben drei null zwei\n"
    assert err.startswith("whisper-apr: 2 done; 0:00:0")
    assert err.endswith(" times real time\n")
    assert err.count("\n") == 1


def test_spelling_of_openai_whisper(tmp_path, monkeypatch, capsys) -> None:
    """Format "all" writes to the current folder by default; --verbose False prints nothing."""
    monkeypatch.chdir(tmp_path)
    assert transcribe(EN, "--output_format", "all", "--verbose", "False") == 0
    assert capsys.readouterr() == ("", "")
    assert results(tmp_path) == {f"en.{each}" for each in ALL}
    assert transcribe(EN, "--output_dir", "out", "--output_format", "txt", "--verbose", "True") == 0
    out = capsys.readouterr().out
    assert out.startswith("[00:00.000 --> ")
    assert out.endswith(f"{Path('out', 'en.txt')}\n")


@posix
def test_undecodable_names_are_printed_unchanged(tmp_path, capfdbinary) -> None:
    try:
        shutil.copy(EN, os.fsencode(tmp_path) + b"/\xff\xc3\xa9.wav")
    except OSError:
        pytest.skip("this file system allows only decodable names")
    assert transcribe(tmp_path, "-o", tmp_path / "out", "-f", "txt") == 0
    assert capfdbinary.readouterr().out == os.fsencode(tmp_path) + b"/out/\xff\xc3\xa9.txt\n"


# ---- existing files -------------------------------------------------------------------------------------------------


def test_existing_files_are_an_error(tmp_path, capsys, no_model) -> None:
    """The error names the files and both flags, and comes before a model is loaded."""
    (tmp_path / "en.srt").write_text("mine")
    assert transcribe(EN, DE, "-o", tmp_path) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    for part in (str(tmp_path / "en.srt"), "--skip-existing", "--overwrite"):
        assert part in err
    for name in ("en.txt", "en.vtt", "de.txt", "de.json"):
        (tmp_path / name).write_text("mine")
    assert transcribe(EN, DE, "-o", tmp_path) == 2
    assert " and 2 more already exist;" in capsys.readouterr().err
    assert all(path.read_text() == "mine" for path in tmp_path.iterdir())


def test_overwrite(tmp_path, capsys) -> None:
    (tmp_path / "en.txt").write_text("mine")
    assert transcribe(EN, "-o", tmp_path, "--overwrite", "-f", "txt") == 0
    assert (tmp_path / "en.txt").read_text() == "three one four one five\n"


def test_skip_existing(tmp_path, capsys, request) -> None:
    """Existing files are kept, also if only some formats of a recording exist."""
    for each in ALL:
        (tmp_path / f"en.{each}").write_text("mine")
    (tmp_path / "de.txt").write_text("mine")
    assert transcribe(EN, DE, "-o", tmp_path, "--skip-existing") == 0
    out, err = capsys.readouterr()
    assert {Path(line).name for line in out.split()} == {f"de.{each}" for each in ALL - {"txt"}}
    assert "1 done, 1 skipped;" in err
    assert (tmp_path / "de.txt").read_text() == "mine"
    assert json.loads((tmp_path / "de.json").read_text())["language"] == "de"
    assert {(tmp_path / f"en.{each}").read_text() for each in ALL} == {"mine"}
    request.getfixturevalue("no_model")
    assert transcribe(EN, DE, "-o", tmp_path, "--skip-existing") == 0
    assert capsys.readouterr() == ("", "whisper-apr: 0 done, 2 skipped\n")


@pytest.mark.parametrize("flag", [[], ["--overwrite"], ["--skip-existing"]])
def test_a_folder_in_the_place_of_a_result(tmp_path, capsys, no_model, flag) -> None:
    (tmp_path / "en.txt").mkdir()
    assert transcribe(EN, "-o", tmp_path, "-f", "txt", *flag) == 1
    assert capsys.readouterr().err == f"whisper-apr: {tmp_path / 'en.txt'} cannot be written: it is a folder\n"


@pytest.mark.parametrize("flag", [[], ["--overwrite"], ["--skip-existing"]])
def test_a_recording_is_never_overwritten(tmp_path, capsys, no_model, flag) -> None:
    recording = tmp_path / "talk.txt"
    shutil.copy(EN, recording)
    assert transcribe(recording, "-o", tmp_path, "-f", "txt", *flag) == 2
    assert "one of the recordings" in capsys.readouterr().err
    assert recording.read_bytes() == EN.read_bytes()


@posix
def test_a_link_to_a_recording_is_never_overwritten(tmp_path, capsys, no_model) -> None:
    shutil.copy(EN, tmp_path / "a.wav")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").symlink_to(tmp_path / "a.wav")
    assert transcribe(tmp_path / "a.wav", "-o", tmp_path / "out", "-f", "txt", "--overwrite") == 2
    assert (tmp_path / "a.wav").read_bytes() == EN.read_bytes()


# ---- unwritable files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["file", "file/sub", "out", "nowhere/sub", "blocked"])
def test_paths_that_cannot_be_folders(tmp_path, capsys, no_model, place: str) -> None:
    """A file in the place of the folder, its parent or its subfolder; a folder in a result's place; a broken link."""
    tree(tmp_path, "file", "in/sub/en.wav", "blocked/sub")
    (tmp_path / "out" / "sub" / "en.txt").mkdir(parents=True)
    if os.name == "posix":
        (tmp_path / "nowhere").symlink_to("gone")
    before = results(tmp_path)
    assert transcribe(tmp_path / "in", "-o", tmp_path / place, "-f", "txt", "--overwrite") in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert place.partition("/")[0] in err
    assert results(tmp_path) == before


def test_a_read_only_file_system(tmp_path, monkeypatch, capsys, no_model) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "/somewhere/tmp1234")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    assert transcribe(EN, "-o", tmp_path / "new" / "deep") == 1
    assert capsys.readouterr().err == (
        f"whisper-apr: the folder {str(tmp_path)!r} cannot be written to (Read-only file system)\n"
    )
    assert not (tmp_path / "new").exists()


def test_a_name_that_is_too_long(tmp_path, capsys, no_model) -> None:
    """The suffix .json makes the name longer than the recording's; the error comes before a model is loaded."""
    name = "a" * 252 + ".au"
    try:
        shutil.copy(EN, tmp_path / name)
    except OSError:
        pytest.skip("this file system does not allow names of 255 characters")
    assert transcribe(tmp_path / name, "-o", tmp_path / "out") == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_stops_the_run(tmp_path, monkeypatch, capsys, code: int) -> None:
    """One error is printed, not one per recording; only the files before it exist."""
    for name in ("a.wav", "b.wav", "c.wav"):
        shutil.copy(EN, tmp_path / name)
    fsync, n = os.fsync, []

    def full(descriptor: int) -> None:
        n.append(descriptor)
        if len(n) > 1:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert transcribe(tmp_path, "-o", tmp_path / "out", "-f", "txt") == 1
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out' / 'a.txt'}\n"
    assert err == f"whisper-apr: {tmp_path / 'out' / 'b.txt'} cannot be written: {os.strerror(code)}\n"
    assert results(tmp_path / "out") == {"a.txt"}


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_every_format_on_a_full_disk(tmp_path, capsys) -> None:
    for each in writers.FORMATS:
        (tmp_path / f"en.{each}").symlink_to("/dev/full")
        assert transcribe(EN, "-o", tmp_path, "-f", each, "--overwrite") == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err == f"whisper-apr: {tmp_path / f'en.{each}'} cannot be written: No space left on device\n"
    assert all(path.is_symlink() for path in tmp_path.iterdir())


# ---- printed results ------------------------------------------------------------------------------------------------


def test_names_are_printed_between_recordings(tmp_path, capsys) -> None:
    silence = DATA / "silence.flac"
    assert transcribe(EN, silence, DE) == 0
    out, err = capsys.readouterr()
    assert out == (
        f"==> {EN} <==\nthree one four one five\n\n==> {silence} <==\n\n==> {DE} <==\nnull sieben drei null zwei\n"
    )
    assert err.startswith("whisper-apr: 3 done; ")
    assert transcribe(EN, DE, "-f", "srt") == 0
    parts = capsys.readouterr().out.split("==> ")
    assert [part.splitlines()[0] for part in parts[1:]] == [f"{EN} <==", f"{DE} <=="]
    assert all(part.splitlines()[1] == "1" for part in parts[1:])


def test_json_of_several_recordings_is_one_object_per_line(tmp_path, capsys) -> None:
    assert transcribe(EN, DE, "-f", "json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["file"], row["language"]) for row in rows] == [(str(EN), "en"), (str(DE), "de")]
    assert transcribe(EN, "-f", "json") == 0
    assert "file" not in json.loads(capsys.readouterr().out)


def test_a_warning_about_a_recording_is_shown_once(tmp_path, monkeypatch, capsys) -> None:
    """Also if the recording is so long that it is read twice. With --strict it is a failure."""
    samples = np.tile(speech("en"), 36)[: 16000 * 125]
    names = ("a.wav", "b.wav")
    for name, n in zip(names, (len(samples), 16000), strict=True):
        soundfile.write(tmp_path / name, np.stack([samples[:n], -samples[:n]], axis=1), 16000)
    monkeypatch.chdir(tmp_path)
    assert transcribe(*names, "--temperature-increment-on-fallback", "None") == 0
    *warned, last = capsys.readouterr().err.splitlines()
    assert [line.partition(".wav: ")[0] for line in warned] == ["whisper-apr: warning: a", "whisper-apr: warning: b"]
    assert "2 done" in last
    assert transcribe(*names, "--strict") == 1
    *failed, last = capsys.readouterr().err.splitlines()
    assert [line.partition(".wav: ")[0] for line in failed] == ["whisper-apr: a", "whisper-apr: b"]
    assert "0 done, 2 failed (2: its channels cancel each other out" in last


def test_the_last_line_counts_reasons_of_failures(tmp_path, capsys) -> None:
    for i in range(3):
        (tmp_path / f"text{i}.wav").write_text("no sound")
    (tmp_path / "empty.wav").touch()
    assert transcribe(tmp_path, EN, "--verbose", "False") == 1
    out, err = capsys.readouterr()
    assert out == f"==> {EN} <==\nthree one four one five\n"
    assert err.count("\n") == 5
    last = err.splitlines()[-1]
    assert last.startswith("whisper-apr: 1 done, 4 failed (3: ")
    assert "; 1: the file is empty)" in last
