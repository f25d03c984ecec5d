"""Standard streams, signals and messages: full disks, closed pipes and streams, warnings, suggestions."""

import difflib
import os
import shlex
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from whisper_apr import AudioWarning, __version__, hub
from whisper_apr.cli import COMMANDS, main
from whisper_apr.cli import info as info_command
from whisper_apr.spelling import MAX_LENGTH, did_you_mean

pytestmark = pytest.mark.usefixtures("opened_once")

EN = Path(__file__).parent / "data" / "en.wav"

needs_dev_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes, signals and /bin/sh")

# a call of each subcommand that writes to stdout
WRITING = {
    "transcribe": f"transcribe --model digits '{EN}'",
    "align": f"align --model digits '{EN}' text.txt",
    "live": "live --model digits",
    "corpus": f"corpus --model digits --workers 1 -o corpus '{EN}'",
    "convert": "convert digits model.apr",
    "inspect": "inspect digits --tensors",
    "models": "models",
    "download": "download no/body",
    "info": "info",
    "bench": "bench",
    "eval": f"eval --model digits --no-agreement '{EN.parent}'",
    "web": "web --port 0 --wheel wheel",
    "serve": "serve --help",
    "help": "--help",
    "help of transcribe": "transcribe --help",
    "version": "--version",
}


def shell(command: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command line with /bin/sh, in which `$W` is `whisper-apr`."""
    environment = os.environ | {"W": f"{sys.executable} -m whisper_apr", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, env=environment, timeout=120, **settings
    )  # type: ignore[call-overload, no-any-return]


def is_one_line(error: str) -> bool:
    return error.startswith("whisper-apr: ") and error.count("\n") == 1 and error.endswith("\n")


def test_every_subcommand_is_in_the_table() -> None:
    assert set(COMMANDS) <= set(WRITING)


@pytest.fixture
def prepared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to a folder with the files that WRITING needs, and disable downloads."""
    monkeypatch.chdir(tmp_path)
    Path("wheel").touch()
    Path("text.txt").write_text("three one four one five")
    monkeypatch.setattr(hub, "fetch", lambda *_: "a folder")


@needs_dev_full
@pytest.mark.parametrize("name", WRITING)
def test_stdout_on_a_full_disk(prepared_folder: None, monkeypatch, capsys, name: str) -> None:
    with open("/dev/full", "w") as full, EN.open("rb") as sound:
        monkeypatch.setattr(sys, "stdout", full)
        monkeypatch.setattr(sys, "stdin", sound)
        assert main(shlex.split(WRITING[name])) == 1
    err = capsys.readouterr().err
    assert is_one_line(err), err
    assert "standard output" in err
    assert "No space left" in err


@posix
@pytest.mark.parametrize("name", WRITING)
def test_stdout_is_a_closed_pipe(prepared_folder: None, monkeypatch, capsys, name: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe, EN.open("rb") as sound:
        monkeypatch.setattr(sys, "stdout", pipe)
        monkeypatch.setattr(sys, "stdin", sound)
        assert main(shlex.split(WRITING[name])) == 141
    assert capsys.readouterr().err == ""


@posix
@pytest.mark.system
@pytest.mark.parametrize("name", ["transcribe", "version"])
def test_python_prints_nothing_at_exit(name: str) -> None:
    """Python flushes its streams at exit, and would print errors itself."""
    done = shell(f"($W {WRITING[name]}; echo $? >&2) | sleep 0")
    assert done.stderr == "141\n"
    if os.path.exists("/dev/full"):
        done = shell(f"$W {WRITING[name]} > /dev/full")
        assert done.returncode == 1
        assert is_one_line(done.stderr), done.stderr


@posix
@pytest.mark.system
@pytest.mark.parametrize("name", ["info", "transcribe", "version"])
def test_closed_stdout(name: str) -> None:
    done = shell(f"$W {WRITING[name]} >&-")
    assert done.returncode == 1
    assert is_one_line(done.stderr), done.stderr


@posix
@pytest.mark.system
@pytest.mark.parametrize("where", ["2>&-", pytest.param("2>/dev/full", marks=needs_dev_full)])
def test_unusable_stderr(where: str) -> None:
    """Exit status and results are the same, and no error is written to stdout."""
    done = shell(f"$W sing {where}")
    assert (done.returncode, done.stdout) == (2, "")
    done = shell(f"$W transcribe --model digits gone.wav '{EN}' {where}")
    assert (done.returncode, "gone" in done.stdout, "three" in done.stdout) == (1, False, True)


@posix
@pytest.mark.system
@pytest.mark.parametrize("command", ["live", "transcribe -"])
def test_closed_stdin(command: str) -> None:
    done = shell(f"$W {command} --model digits <&-")
    assert done.returncode in (1, 2)
    assert is_one_line(done.stderr), done.stderr
    assert "standard input is closed" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["convert", "digits", "FILE/model.apr"],
        ["convert", "digits", "."],
        ["convert", "digits", "none/model.apr"],
        ["transcribe", "--model", "digits", EN, "-o", "FILE"],
        ["transcribe", "--model", "digits", EN, "-o", "FILE/out"],
        ["transcribe", "--model", "no/model", EN, "--model-dir", "FILE"],
        ["download", "no/model", "--model-dir", "FILE"],
        ["inspect", "no/model", "--model-dir", "FILE"],
        ["bench", "--json", "FILE/figures.json"],
        ["bench", "--json", "none/figures.json"],
        ["web", "--pyodide", "FILE", "--wheel", "FILE"],
        ["live", "--model", "no/model", "--model-dir", "FILE", "--input", "-"],
    ],
)
def test_a_file_in_the_place_of_a_folder(tmp_path, monkeypatch, capsys, command) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    Path("FILE").write_text("a file")
    assert main([str(each) for each in command]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert is_one_line(err), err
    assert [each.name for each in tmp_path.iterdir()] == ["FILE"]
    assert Path("FILE").read_text() == "a file"


@needs_dev_full
def test_converting_to_a_full_disk(tmp_path, capsys) -> None:
    (tmp_path / "model.apr").symlink_to("/dev/full")
    assert main(["convert", "digits", str(tmp_path / "model.apr")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert is_one_line(err)
    assert "No space left" in err
    assert [each.is_symlink() for each in tmp_path.iterdir()] == [True]


# ---- signals --------------------------------------------------------------------------------------------------------


def waiting(tmp_path: Path) -> subprocess.Popen[str]:
    """Start the command, which waits for a recording that never arrives."""
    fifo = tmp_path / "never.wav"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "whisper_apr", "transcribe", "--model", "digits", str(EN), str(fifo)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline()
    time.sleep(0.2)
    return child


@posix
@pytest.mark.system
@pytest.mark.parametrize(
    ("number", "says"), [("SIGINT", "interrupted"), ("SIGTERM", "ended by SIGTERM"), ("SIGHUP", "ended by SIGHUP")]
)
def test_signals(tmp_path: Path, number: str, says: str) -> None:
    with waiting(tmp_path) as child:
        child.send_signal(getattr(signal, number))
        _, err = child.communicate(timeout=60)
    assert child.returncode == 128 + getattr(signal, number)
    assert err.endswith(f"whisper-apr: {says}\n")


@posix
@pytest.mark.system
def test_a_second_signal_ends_the_process_at_once() -> None:
    """It arrives while the cleanup after the first one takes long."""
    code = """
import sys, time
from whisper_apr import cli
def run(args):
    try:
        print("inside", flush=True)
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        time.sleep(60)
cli.import_module("whisper_apr.cli.info").run = run
sys.exit(cli.main(["info"]))
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for expected in ("inside\n", "cleaning\n"):
            assert child.stdout.readline() == expected
            child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=10)
    assert child.returncode == -signal.SIGINT
    assert err == ""


@posix
@pytest.mark.system
def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """As after nohup."""
    code = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    code += "from whisper_apr import cli\n"
    code += "cli.import_module('whisper_apr.cli.info').run = lambda args: signal.raise_signal(signal.SIGHUP) or 0\n"
    code += "sys.exit(cli.main(['info']))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_signal_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["--version"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


# ---- messages -------------------------------------------------------------------------------------------------------


def test_version(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"whisper-apr {__version__}\n", "")


def test_help_documents_the_statuses(capsys) -> None:
    for arguments in (["--help"], ["transcribe", "--help"]):
        assert main(arguments) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert "exit status: 0" in text
        assert all(f" {status}, " in text for status in (1, 2, 130, 141))


def test_warnings_are_one_line_and_shown_once(monkeypatch, capsys) -> None:
    def run(_: object) -> int:
        for text in ("a.wav: cut\nshort", "a.wav: cut\nshort", "b.wav: cut\nshort"):
            warnings.warn(text, AudioWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(info_command, "run", run)
    before = warnings.showwarning
    for _ in range(2):  # a second run shows them again
        assert main(["info"]) == 0
        expected = "whisper-apr: warning: a.wav: cut short\nwhisper-apr: warning: b.wav: cut short\n"
        assert capsys.readouterr() == ("", expected)
    assert warnings.showwarning is before


@pytest.mark.system
def test_python_warnings_are_one_line() -> None:
    code = "import sys, warnings\nfrom whisper_apr import cli\n"
    code += "cli.import_module('whisper_apr.cli.info').run = lambda args: warnings.warn('odd', RuntimeWarning) or 0\n"
    code += "sys.exit(cli.main(['info']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "whisper-apr: warning: odd\n")


def test_control_characters_are_escaped(capsys) -> None:
    assert main(["transcribe", "--model", "digits", "a\x1b]2J\r\nb.wav"]) == 1
    err = capsys.readouterr().err
    assert is_one_line(err)
    assert "a\\x1b]2J b.wav" in err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["transcrib", "a.wav"], "'transcribe'"),
        (["Models"], "'models'"),
        (["transcribe", "a.wav", "--langauge", "en"], "'--language'"),
        (["transcribe", "a.wav", "--output_fromat=srt"], "'--output_format'"),
        (["live", "--chanels", "2"], "'--channels'"),
        (["--verison"], "'--version'"),
        (["transcribe", "a.wav", "-f", "str"], "'srt'"),
        (["transcribe", "a.wav", "--task", "translation"], "'translate'"),
        (["convert", "digits", "a.apr", "--dtype", "flaot16"], "'float16'"),
        (["transcribe", "a.wav", "--language", "germn"], "'german'"),
        (["transcribe", "a.wav", "--languages", "de,Frensh"], "'french'"),
        (["live", "--language", "Spanisch"], "'spanish'"),
        (["transcribe", str(EN), "--model", "digits", "--compute-type", "itn8"], "'int8'"),
    ],
)
def test_did_you_mean(capsys, arguments: list[str], meant: str) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert is_one_line(err)
    assert err.endswith(f"; did you mean {meant}?\n")


def test_did_you_mean_a_model(capsys) -> None:
    assert main(["transcribe", str(EN), "--model", "lagre-v3"]) == 1
    assert capsys.readouterr().err == (
        "whisper-apr: no model named 'lagre-v3', and no such file; did you mean 'large-v3'?\n"
    )


@pytest.mark.parametrize("arguments", [["qqq"], ["transcribe", "a.wav", "--qqq"], ["transcribe", "a.wav", "-f", "qqq"]])
def test_no_suggestion(capsys, arguments: list[str]) -> None:
    assert main(arguments) == 2
    assert "did you mean" not in capsys.readouterr().err


def test_suggestions_ignore_case_and_limit_the_length(monkeypatch) -> None:
    assert did_you_mean("BSAE", ["base", "tiny"]) == "; did you mean 'base'?"
    assert did_you_mean("", ["base"]) == did_you_mean("base", []) == ""
    compared: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(difflib, "get_close_matches", lambda word, known, n: compared.append((word, list(known))) or [])
    did_you_mean("a" * 10**6, ["a" * 50] * 100)
    assert compared == [("a" * MAX_LENGTH, ["a" * 50])]
