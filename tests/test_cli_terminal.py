"""The command on a pseudo-terminal: progress, messages and colors."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import IO
from unittest import mock

import pytest

from whisper_apr.cli import main, progress
from whisper_apr.cli.inputs import Input
from whisper_apr.cli.progress import Status, clock
from whisper_apr.inference.results import Progress

pytestmark = [
    pytest.mark.usefixtures("opened_once"),
    pytest.mark.system,
    pytest.mark.skipif(os.name == "nt", reason="needs POSIX pseudo-terminals"),
]

DATA = Path(__file__).parent / "data"
EN, DE = DATA / "en.wav", DATA / "de.wav"
TEXT = "three one four one five"

Stream = IO[bytes] | int  # a file or its descriptor


def on_terminal(
    *arguments: object,
    stdout: Stream | None = None,
    stdin: Stream | None = None,
    as_process: bool = False,
) -> tuple[int, str]:
    """Run the command with stderr, and stdout unless it is given, on a terminal of 100 columns.

    Returns the exit status, and all that was written to the terminal. The command runs in this process, with other
    standard streams, or with as_process=True in another one.
    """
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    written = bytearray()

    def read() -> None:
        with suppress(OSError):  # on Linux, the error for a closed terminal
            while data := os.read(ours, 1 << 16):
                written.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    words = list(map(str, arguments))
    with ExitStack() as stack:
        stack.callback(os.close, ours)
        stack.callback(reader.join)
        null = stack.enter_context(open(os.devnull, "rb"))
        stdin, stdout = null if stdin is None else stdin, theirs if stdout is None else stdout
        stack.enter_context(mock.patch.dict(os.environ, TERM="xterm"))
        run = run_as_process if as_process else run_here
        try:
            status = run(words, stdin, stdout, theirs)
        finally:
            os.close(theirs)
    return status, written.decode()


def run_as_process(arguments: list[str], stdin: Stream, stdout: Stream, stderr: Stream) -> int:
    command = [sys.executable, "-m", "whisper_apr", *arguments]
    return subprocess.run(command, stdin=stdin, stdout=stdout, stderr=stderr, check=False).returncode


def run_here(arguments: list[str], stdin: Stream, stdout: Stream, stderr: Stream) -> int:
    def opened(stream: Stream, mode: str) -> IO[str]:
        descriptor = os.dup(stream if isinstance(stream, int) else stream.fileno())
        return open(descriptor, mode, buffering=1 if os.isatty(descriptor) else -1)

    with (
        opened(stdin, "r") as given,
        opened(stdout, "w") as out,
        opened(stderr, "w") as err,
        mock.patch.multiple(sys, stdin=given, stdout=out, stderr=err),
    ):
        return main(arguments)


def screen(written: str) -> list[str]:
    """Return the lines that remain on the terminal, where text after a carriage return overwrites the line."""
    lines = []
    for row in written.replace("\r\n", "\n").split("\n"):
        cells: list[str] = []
        for part in row.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


def states(written: str) -> list[str]:
    """Return the successive contents of the last line."""
    return [state for part in written.replace("\n", "\r").split("\r") if (state := part.strip())]


def transcribe(*arguments: object, **settings: object) -> tuple[int, str]:
    command = ("transcribe", "--model", "digits", "--beam-size", "None")
    return on_terminal(*command, *arguments, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("as_process", [False, True])
def test_one_recording(as_process: bool) -> None:
    status, written = transcribe(EN, as_process=as_process)
    assert status == 0
    seen = states(written)
    assert seen[0] == "loading digits"
    assert seen[1].startswith("opening en.wav 0:00:00/0:00:04   0%|")
    assert any(state.startswith("en.wav 0:00:04/0:00:04 100%|") for state in seen)
    left = [line for line in screen(written) if line]
    assert left[0] == TEXT
    assert left[1].startswith("whisper-apr: 1 done; 0:00:04 of audio in ")
    assert len(left) == 2


def test_several_recordings(tmp_path: Path) -> None:
    """The bar covers all of them; one that fails counts as 0 s; lines and bar do not mix."""
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound" * 1000)
    status, written = transcribe(EN, broken, DE, "--word-timestamps", "True")
    assert status == 1
    seen = states(written)
    bars = [state for state in seen if "%|" in state]
    assert list(dict.fromkeys(bar.partition(" 0:")[0] for bar in bars if bar.startswith("opening"))) == [
        "opening 1/3 en.wav",
        "opening 2/3 broken.wav",
        "opening 3/3 de.wav",
    ]
    shares = [int(bar.rpartition("%|")[0].split()[-1]) for bar in bars]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert any(bar.startswith("3/3 de.wav 0:00:08/0:00:08 100%|") for bar in bars)
    left = [line for line in screen(written) if line]
    assert left[0] == f"==> {EN} <=="
    assert left[1] == TEXT
    assert left[2].startswith(f"whisper-apr: {broken}: ")
    assert f"==> {DE} <==" in left
    assert left[-1].startswith("whisper-apr: 2 done, 1 failed (1: ")
    assert not any("%|" in line or "opening" in line for line in left)


def test_stdout_is_a_file(tmp_path: Path) -> None:
    with (tmp_path / "text").open("wb") as file:
        status, written = transcribe(EN, stdout=file)
    assert status == 0
    assert (tmp_path / "text").read_text() == f"{TEXT}\n"
    assert "loading digits" in written
    assert "100%|" in written


def test_no_bar_if_stdout_is_a_pipe() -> None:
    """The reader of the pipe may write to the same terminal."""
    reading, writing = os.pipe()
    status, written = transcribe(EN, stdout=writing)
    os.close(writing)
    with open(reading) as pipe:
        assert pipe.read() == f"{TEXT}\n"
    assert status == 0
    assert states(written) == [line for line in screen(written) if line]
    assert written.startswith("whisper-apr: 1 done;")


def test_no_bar_if_stderr_is_no_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["transcribe", "--model", "digits", str(EN)]
    assert main(command) == 0
    assert capfd.readouterr() == (f"{TEXT}\n", "")
    assert main([*command, str(DE)]) == 0
    err = capfd.readouterr().err
    assert err.startswith("whisper-apr: 2 done; ")
    assert err.count("\n") == 1
    assert "\r" not in err
    for flags, says in ((["--verbose", "False"], ""), (["-o", str(tmp_path), "-f", "txt"], "whisper-apr: 1 done; ")):
        assert main([*command, *flags]) == 0
        assert capfd.readouterr().err[: len(says) or None] == says


def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    """The state is removed, and the error is a separate line."""
    status, written = transcribe(EN, "--model", "nonsense")
    assert status == 1
    assert "loading nonsense" in written
    assert [line[:37] for line in screen(written) if line] == ["whisper-apr: no model named 'nonsense"]


@pytest.mark.parametrize("arguments", [["transcribe", "-"], ["live", "--input", "-"]])
def test_stdin_must_not_be_a_terminal(arguments) -> None:
    """Otherwise the command would wait forever for a recording."""
    import pty

    ours, theirs = pty.openpty()
    status, written = on_terminal(*arguments, "--model", "digits", stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert status == 2
    assert "the standard input is a terminal" in written


def test_live() -> None:
    with EN.open("rb") as sound:
        sound.seek(44)
        status, written = on_terminal("live", "--model", "digits", "--rate", 16000, "--input", "-", stdin=sound)
    assert status == 0
    assert states(written)[:2] == ["loading digits", "listening to the standard input"]
    assert not any("listening" in line for line in screen(written))


def test_convert(tmp_path: Path) -> None:
    status, written = on_terminal("convert", "digits", tmp_path / "digits.apr")
    assert status == 0
    assert states(written)[:2] == ["loading digits", f"writing {tmp_path / 'digits.apr'}"]
    assert len([line for line in screen(written) if line]) == 1


def test_a_dumb_terminal(monkeypatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for term, shown in (("dumb", False), ("xterm", True)):
        monkeypatch.setenv("TERM", term)
        assert Status()._is_shown is shown


# ---- numbers of the bar ---------------------------------------------------------------------------------------------


class Bar:
    """A fake of tqdm's bar."""

    total = n = 0.0
    text = ""

    def set_description_str(self, text: str, refresh: bool) -> None:
        self.text = text

    def refresh(self) -> None: ...
    def clear(self) -> None: ...
    def close(self) -> None: ...


def shown(monkeypatch, inputs: Sequence[Input], guesses: Sequence[float]) -> tuple[Status, Bar]:
    bar, status = Bar(), Status()
    status._is_shown = True
    guess = dict(zip(inputs, guesses, strict=True))
    monkeypatch.setattr(progress, "_guess_duration", guess.__getitem__)

    def begin(*, total: float, desc: str, bar_format: str) -> None:
        bar.total, bar.text = total, desc
        monkeypatch.setattr(progress.SCREEN, "bar", bar)

    monkeypatch.setattr(status, "_open", begin)
    status.begin(inputs)
    return status, bar


def test_guessed_durations_are_corrected(monkeypatch) -> None:
    inputs = [Input(name, name) for name in ("a.mp3", "b.mp3", "c.mp3")]
    status, bar = shown(monkeypatch, inputs, [100.0, 100.0, 100.0])
    places = [(bar.n, bar.total)]
    for index, done, total in ((0, 5.0, 10.0), (0, 10.0, 10.0), (1, 150.0, 300.0), (1, 300.0, 300.0)):
        status.update(index, Progress(done, total))
        places.append((bar.n, bar.total))
    status.end(1)
    status.end(2, failed=True)
    places.append((bar.n, bar.total))
    assert places == [(0, 300), (5, 210), (10, 210), (160, 410), (310, 410), (310, 410)]
    assert all(n <= total for n, total in places)
    assert all(a[0] <= b[0] for a, b in pairwise(places))
    status.close()
    status.update(2, Progress(1.0, 1.0))  # has no effect after closing


def test_a_long_name_leaves_room_for_the_bar(monkeypatch) -> None:
    name = "a" * 100 + "é\x1b[2J.wav"
    _, bar = shown(monkeypatch, [Input(f"folder/{name}", name)], [3661.0])
    assert bar.text == "opening aaaaaaaaaaaaaaaa...aé\\x1b[2J.wav 0:00:00/1:01:01"


def test_durations_are_guessed() -> None:
    for name in ("en.wav", "en_three.flac"):
        path = DATA / name
        import soundfile

        assert progress._guess_duration(Input(str(path), name)) == soundfile.info(path).duration
    for path in ("-", "gone.wav", str(DATA)):
        assert progress._guess_duration(Input(path, path)) == 0
    assert progress._guess_duration(Input(__file__, "a.mp3")) == os.path.getsize(__file__) / 16000


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0, 59.99, 60, 3599, 360_000)] == [
        "0:00:00",
        "0:00:59",
        "0:01:00",
        "0:59:59",
        "100:00:00",
    ]


SEQUENCE = re.compile("\x1b" + r"\[(?:38;5;\d+|39)m")


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize("flag", ["--colors", "--colours"])
def test_colors(flag: str) -> None:
    status, written = transcribe(EN, flag, "--verbose", "True")
    assert status == 0
    (line,) = [line for line in screen(written) if "] " in line]
    assert len(SEQUENCE.findall(line)) == 2 * len(TEXT.split())
    assert SEQUENCE.sub("", line).endswith(f"] {TEXT}")
    assert not SEQUENCE.search(line.partition("] ")[0])


@pytest.mark.usefixtures("no_variables")
def test_no_color_and_force_color(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as file:
        assert transcribe(EN, "--colors", stdout=file)[0] == 0
    assert (tmp_path / "out").read_text() == TEXT + "\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert not SEQUENCE.search(transcribe(EN, "--colors")[1])
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with open(tmp_path / "out", "wb") as file:
        assert transcribe(EN, "--colors", stdout=file)[0] == 0
    assert SEQUENCE.search((tmp_path / "out").read_text())
    assert SEQUENCE.sub("", (tmp_path / "out").read_text()) == TEXT + "\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output-format", "srt"], "--colors needs plain text"),
        (["--output-dir", "out"], "--colors needs plain text"),
        (["--word-timestamps", "False"], "--colors needs the words' probabilities"),
    ],
)
def test_colors_with_conflicting_options(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["transcribe", str(EN), "--colors", *arguments]) == 2
    assert message in capsys.readouterr().err
