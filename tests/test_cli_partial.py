"""Partial results: an interrupted run saves them, and the next run resumes from them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from recordings import speech
from whisper_apr import simd
from whisper_apr.cli import main
from whisper_apr.cli.inputs import Input
from whisper_apr.cli.outputs import Outputs
from whisper_apr.cli.partial import Partials, fingerprint
from whisper_apr.cli.progress import Status
from whisper_apr.inference.generation import Generation
from whisper_apr.output import LineOptions
from whisper_apr.output.writers import OPENAI_FORMATS

pytestmark = pytest.mark.usefixtures("opened_once")

DATA = Path(__file__).parent / "data"
EN = DATA / "en.wav"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with two recordings, of one window and of two."""
    import soundfile

    place = tmp_path_factory.mktemp("recordings")
    soundfile.write(place / "a.wav", speech("en"), 16000)
    soundfile.write(place / "b.wav", np.tile(speech("en_three"), 5), 16000)
    return place


def transcribe(*arguments: object) -> int:
    fixed = ["--model", "digits", "--beam-size", "None", "--temperature-increment-on-fallback", "None"]
    return main(["transcribe", *fixed, *map(str, arguments)])


def interrupted_after(monkeypatch, n_window: int) -> None:
    """Raise KeyboardInterrupt when more than `n_window` windows are decoded."""
    finish, left = Generation.finish, [n_window]

    def counted(self):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return finish(self)

    monkeypatch.setattr(Generation, "finish", counted)


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("flags", [[], ["--word-timestamps", "True", "--vad-filter", "True"], ["--batch-size", "2"]])
def test_the_next_run_resumes(tmp_path, folder, capsys, prompts, flags) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert transcribe(folder, "-o", whole, *flags) == 0
    n_window = len(prompts)
    capsys.readouterr()
    prompts.clear()
    with pytest.MonkeyPatch.context() as patch:
        interrupted_after(patch, n_window - 1)
        assert transcribe(folder, "-o", out, *flags) == 130
    err = capsys.readouterr().err
    left = results(out)
    assert {name for name in left if name.startswith("a.")} == {f"a.{each}" for each in OPENAI_FORMATS}
    partial = {name for name in left if name.endswith(".partial")}
    assert {"b.txt.partial", "b.srt.partial", "b.json.partial", "b.resume.partial"} <= partial
    assert not any(name.startswith("b.") for name in left.keys() - partial)
    assert str(out / "b.resume.partial") in err
    assert "run the same command with --skip-existing to continue" in err
    assert err.splitlines()[-2].startswith("whisper-apr: 1 done")
    assert err.splitlines()[-1] == "whisper-apr: interrupted"

    prompts.clear()
    assert transcribe(folder, "-o", out, "--skip-existing", *flags) == 0
    assert 1 <= len(prompts) < n_window
    assert results(out) == results(whole)
    assert {Path(line).name for line in capsys.readouterr().out.split()} == {
        name for name in results(whole) if name.startswith("b.")
    }


def test_finished_segments_are_saved(tmp_path, folder, capsys, monkeypatch) -> None:
    """They are saved in the requested format only."""
    assert transcribe(folder / "b.wav", "-o", tmp_path / "whole", "-f", "txt") == 0
    interrupted_after(monkeypatch, 1)
    assert transcribe(folder / "b.wav", "-o", tmp_path / "out", "-f", "txt") == 130
    assert results(tmp_path / "out").keys() == {"b.txt.partial", "b.resume.partial"}
    part = (tmp_path / "out" / "b.txt.partial").read_text()
    assert part
    assert (tmp_path / "whole" / "b.txt").read_text().startswith(part)
    err = capsys.readouterr().err
    assert "run the same command to continue" in err
    assert "0 done" in err


def test_repeated_interruptions(tmp_path, folder, monkeypatch) -> None:
    """Every run gets further than the one before. No flag is needed as long as no recording is finished."""
    assert transcribe(folder / "b.wav", "-o", tmp_path / "whole") == 0
    n_run = 0
    while True:
        n_run += 1
        with pytest.MonkeyPatch.context() as patch:
            interrupted_after(patch, 1)
            status = transcribe(folder / "b.wav", "-o", tmp_path / "out")
        if status == 0:
            break
        assert status == 130
        assert n_run < 10
    assert n_run > 1
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_nothing_is_saved_before_the_first_window(tmp_path, folder, monkeypatch) -> None:
    interrupted_after(monkeypatch, 0)
    assert transcribe(folder, "-o", tmp_path / "out") == 130
    assert not (tmp_path / "out").exists()


def test_nothing_is_saved_without_output_dir(tmp_path, folder, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    interrupted_after(monkeypatch, 1)
    assert transcribe(folder / "b.wav") == 130
    out, err = capsys.readouterr()
    assert out
    assert err.splitlines()[-1] == "whisper-apr: interrupted"
    assert list(tmp_path.iterdir()) == []
    assert transcribe(folder / "b.wav", "-f", "srt") == 130
    assert capsys.readouterr().out == ""  # an incomplete file is not printed


@pytest.fixture(scope="module")
def interrupted_run(folder, tmp_path_factory) -> Path:
    """The files of an interrupted run."""
    out = tmp_path_factory.mktemp("left")
    with pytest.MonkeyPatch.context() as patch:
        interrupted_after(patch, 1)
        assert transcribe(folder / "b.wav", "-o", out, "-f", "txt") == 130
    return out


@pytest.fixture
def out(interrupted_run, tmp_path) -> Path:
    """A copy of `interrupted_run`."""
    return shutil.copytree(interrupted_run, tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[1]",
        b"null",
        b'{"run": 1}',
        b"[" * 100_000,
        b'{"run": "mark"}',
        b'{"run": "mark", "windows": [1]}',
        b'{"run": "mark", "windows": {"key": {"decoded": {}}}}',
        b'{"run": "other", "windows": {}}',
        None,
    ],
    ids=lambda content: str(content)[:12],
)
def test_unusable_files_cause_a_warning(tmp_path, capsys, content) -> None:
    """The warning is shown once, and the file is ignored."""
    state = tmp_path / "en.resume.partial"
    if content is None:
        state.mkdir()
    else:
        state.write_bytes(content)
    item = Input(str(EN), "en.wav")
    partials = Partials(Outputs(str(tmp_path), "txt", [item], LineOptions()), [item], "mark", 100)
    err = capsys.readouterr().err
    assert err.startswith(
        f"whisper-apr: warning: {state} is not used, and the recording is transcribed from the beginning: "
    )
    assert err.count("\n") == 1
    assert partials.journal.dump(0) == {}


def test_a_damaged_file_is_removed_after_success(tmp_path, capsys) -> None:
    (tmp_path / "en.resume.partial").write_text("{")
    (tmp_path / "en.srt.partial").write_text("half")
    assert transcribe(EN, "-o", tmp_path, "-f", "txt") == 0
    assert "it is damaged" in capsys.readouterr().err
    assert results(tmp_path) == {"en.txt": b"three one four one five\n"}


def test_other_options_start_from_the_beginning(tmp_path, folder, capsys, out) -> None:
    flags = ["-f", "txt", "--condition-on-previous-text", "False"]
    assert transcribe(folder / "b.wav", "-o", out, *flags) == 0
    assert f"warning: {out / 'b.resume.partial'} is not used" in capsys.readouterr().err
    assert transcribe(folder / "b.wav", "-o", tmp_path / "whole", *flags) == 0
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_fingerprints(tmp_path) -> None:
    """They depend on the model's files, the options and the backend, but not on how the path is written."""
    models = [tmp_path / name for name in ("a.apr", "b.apr", "folder")]
    for model in models[:2]:
        model.write_bytes(b"model")
    models[2].mkdir()
    (models[2] / "model.bin").write_bytes(b"model")

    def mark(model: object, compute_type: str = "default", **options: object) -> str:
        return fingerprint(Namespace(model=str(model), compute_type=compute_type), options)

    marks = [mark(model) for model in (*models, "digits", "base")]
    marks += [mark("base", "int8"), mark("base", language="en"), mark("base", language="de"), mark("base", seed=0)]
    (models[2] / "model.bin").write_bytes(b"another")
    models[0].write_bytes(b"another")
    marks += [mark(models[0]), mark(models[2])]
    with simd.use_backend("scalar"):
        marks.append(mark("base"))
    assert len(set(marks)) == len(marks)
    assert mark("base", a=1, b=2) == mark("base", b=2, a=1)
    assert mark(tmp_path / "folder" / ".." / "b.apr") == mark(models[1])


def test_another_recording_of_the_same_name(tmp_path, out, prompts) -> None:
    """Its audio differs, so its windows are decoded."""
    import soundfile

    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "b.wav", speech("fr"), 16000)
    prompts.clear()
    for place in (out, tmp_path / "whole"):
        assert transcribe(tmp_path / "in" / "b.wav", "-o", place, "-f", "txt") == 0
    assert len(prompts) == 2
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_other_files_with_the_suffix_are_kept(tmp_path) -> None:
    (tmp_path / "en.txt.partial").write_text("mine")
    assert transcribe(EN, "-o", tmp_path, "-f", "txt") == 0
    assert (tmp_path / "en.txt.partial").read_text() == "mine"


def test_a_full_disk_after_an_interruption(tmp_path, folder, monkeypatch, capsys) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    interrupted_after(monkeypatch, 1)
    monkeypatch.setattr(os, "fsync", full)
    assert transcribe(folder / "b.wav", "-o", tmp_path / "out", "-f", "txt") == 130
    lines = capsys.readouterr().err.splitlines()
    assert "No space left on device" in lines[0]
    assert lines[-1] == "whisper-apr: interrupted"
    assert results(tmp_path / "out") == {}


def test_a_closed_pipe_saves_partial_results(tmp_path, folder, monkeypatch, capsys) -> None:
    """As in `whisper-apr transcribe folder -o out | head -n 1`."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        assert transcribe(folder / "b.wav", "-o", tmp_path / "out", "-f", "txt", "--verbose", "True") == 141
    assert results(tmp_path / "out").keys() == {"b.txt.partial", "b.resume.partial"}


def test_only_the_audio_of_this_run_is_counted(folder, out, capsys) -> None:
    assert transcribe(folder / "b.wav", "-o", out, "-f", "txt") == 0
    err = capsys.readouterr().err
    hours, minutes, seconds = err.partition("; ")[2].partition(" of audio")[0].split(":")
    import soundfile

    whole = soundfile.info(folder / "b.wav").duration
    assert 0 < int(minutes) * 60 + int(seconds) < whole - 15
    assert hours == "0"


@pytest.mark.system
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_interrupting_a_process(tmp_path) -> None:
    """The signal arrives after the first window of a long recording."""
    import soundfile

    soundfile.write(tmp_path / "long.wav", np.tile(speech("en_three"), 20), 16000)
    command = [sys.executable, "-m", "whisper_apr", "transcribe", "--model", "digits", "-o", str(tmp_path / "out")]
    command += ["-f", "srt", "--verbose", "True", str(tmp_path / "long.wav")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("[00:00.")
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err.splitlines()[0].startswith("whisper-apr: the text so far is saved in ")
    assert (tmp_path / "out" / "long.srt.partial").read_text().startswith("1\n00:00:0")
    assert len(json.loads((tmp_path / "out" / "long.resume.partial").read_bytes())["windows"]) >= 1
    assert results(tmp_path / "out").keys() == {"long.srt.partial", "long.resume.partial"}


def test_the_clock_is_updated(monkeypatch) -> None:
    """Status.tick is called before each token."""
    calls: list[None] = []
    monkeypatch.setattr(Status, "tick", lambda self: calls.append(None))
    assert transcribe(EN) == 0
    assert len(calls) > 5
