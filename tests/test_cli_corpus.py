"""The command `whisper-apr corpus`: its records and report, runs that are killed, and its errors."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corpus_work import records
from recordings import DATA
from whisper_apr import Recognizer
from whisper_apr.cli import main
from whisper_apr.corpus.shards import shard_paths

BASE = ["corpus", "--model", "digits", "--beam-size", "None"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with recordings, one of which is damaged."""
    made = tmp_path / "speech"
    made.mkdir()
    for name in ("en", "de", "es"):
        shutil.copy(DATA / f"{name}.wav", made)
    (made / "text.wav").write_text("no recording")
    return made


@pytest.mark.system
def test_records_report_and_going_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Recognizer
) -> None:
    out = tmp_path / "out"
    line = [*BASE, "--workers", "1", str(folder), "-o", str(out)]
    assert main(line) == 1
    printed, err = capsys.readouterr()
    assert printed.startswith("recordings: 4, 1 of them failed\naudio: ")
    assert printed.endswith(f"languages of the corpus: de 1, en 1, es 1\n{out / 'report.json'}\n")
    assert err.startswith(f"whisper-apr: {folder / 'text.wav'}: ")
    found = {Path(each["id"]).stem: each for each in records(out)}
    for name in ("en", "de", "es"):
        expected = model.transcribe(str(folder / f"{name}.wav"), batch_size=8)
        assert (found[name]["text"], found[name]["language"]) == (expected.text, name)
        assert 0.5 < found[name]["confidence"] <= 1
    report = json.loads((out / "report.json").read_text())
    assert (report["run"]["recordings"], report["run"]["failed"], report["run"]["workers"]) == (4, 1, 1)
    assert report["run"]["hours"] == pytest.approx(
        sum(each["duration"] or 0 for each in found.values()) / 3600, abs=1e-4
    )
    before = [path.read_bytes() for path in shard_paths(out)]

    assert main(line) == 0  # nothing is left to do
    assert capsys.readouterr().out.startswith("recordings: 0, 0 of them failed, 4 done before\n")
    assert [path.read_bytes() for path in shard_paths(out)] == before

    shutil.copy(DATA / "fr.wav", folder / "text.wav")  # mended
    assert main([*line, "--retry-failed"]) == 0
    assert capsys.readouterr().out.startswith("recordings: 1, 0 of them failed, 3 done before\n")
    assert len(records(out)) == 4
    assert not [each for each in records(out) if each["error"]]

    assert main([*line, "--beam-size", "2"]) == 2
    assert "has results with other settings: beam_size is None there, and now 2" in capsys.readouterr().err


@pytest.mark.system
def test_a_recording_that_takes_too_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    line = [*BASE, "--workers", "1", "--retries", "1", str(DATA / "en.wav"), "-o", str(out)]
    assert main([*line, "--time-limit", "0.0001"]) == 1
    (found,) = records(out)
    assert found["attempts"] == 2
    assert found["error"].endswith("en.wav: it took a worker more than 0.0001 s; see --time-limit")
    assert main([*line, "--time-limit", "600", "--retry-failed"]) == 0
    (found,) = records(out)
    assert found["error"] is None
    capsys.readouterr()


@pytest.mark.system
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    out, manifest = tmp_path / "out", tmp_path / "list.jsonl"
    rows = [{"path": str(DATA / f"{name}.wav"), "id": f"{name} {i}"} for i in range(8) for name in ("en", "de", "es")]
    manifest.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    line = [sys.executable, "-m", "whisper_apr", *BASE, "--workers", "2", str(manifest), "-o", str(out)]
    line += ["--shard-size", "2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)
    while not shard_paths(out):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    n = len(records(out))
    assert 2 <= n < len(rows)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert f"{n} of {len(rows)} recordings are done in {out}; run the same command to go on" in err
        assert "Traceback" not in err
    else:
        assert process.returncode == -signal.SIGKILL
    again = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"{n} done before" in again.stdout
    assert [each["id"] for each in records(out)] == sorted(row["id"] for row in rows)


def test_errors(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyarrow", "ray"):
        monkeypatch.setitem(sys.modules, name, None)

    def fails(*arguments: object) -> str:
        assert main([*BASE, *map(str, arguments)]) in (1, 2)
        out, err = capsys.readouterr()
        assert not out
        assert err.count("\n") == 1
        return err

    out = "-o", tmp_path / "out"
    assert "pip install 'whisper-apr[corpus]'" in fails(folder, *out, "--format", "parquet")
    (folder / "list.parquet").write_bytes(b"PAR1")
    assert "pip install 'whisper-apr[corpus]'" in fails(folder / "list.parquet", *out)
    assert "pip install 'whisper-apr[ray]'" in fails(folder, *out, "--engine", "ray")
    assert "--address needs --engine ray" in fails(folder, *out, "--address", "auto")
    assert "--output-dir" in fails(folder)
    assert "standard input" in fails("-", *out)
    assert "must be a number and a count such as 1/16" in fails(folder, *out, "--part", "3/2")
    assert "--speakers conflicts" in fails(folder, *out, "--speakers", "2", "--channel", "each")
    assert "no such file or folder" in fails(folder, *out, "--model", "./nothing.apr")
    (folder / "list.parquet").unlink()
    (folder / "notes.jsonl").write_text("hello")
    assert "notes.jsonl is not a shard of a corpus" in fails(folder, "-o", folder)


def test_other_commands_do_not_import_the_corpus() -> None:
    from test_import import run

    loaded = run("from whisper_apr.cli import make_parser; make_parser(); print(*sys.modules)").split()
    assert "whisper_apr.cli.corpus" in loaded
    assert not [name for name in loaded if name.startswith("whisper_apr.corpus")]
