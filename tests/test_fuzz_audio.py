"""A short run of tests/fuzz/run_audio.py: mutated recordings of each format, and checks that rules are enforced."""

import io
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fuzz import run_audio
from fuzz.audio_files import KINDS, Kind, changed
from fuzz.run_audio import Broken, fuzz, ruling
from whisper_apr.errors import AudioError, AudioWarning

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="memory and children are measured by what Linux tells"),
]

FILES, WITH_FFMPEG = 30, 6  # of each format
FFMPEG = shutil.which("ffmpeg")
MADE = [kind for kind in KINDS if not kind.needs_ffmpeg]


@pytest.fixture(scope="session", autouse=True)
def _watching() -> None:
    sys.addaudithook(run_audio.audit)


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return run_audio.good_files(tmp_path_factory.mktemp("good"))


def check_kind(kind: Kind, seeds: dict[str, list[Path]], folder: Path, n: int, program: str | None) -> None:
    outcomes, broken = fuzz(kind, range(n), seeds, folder, program)
    assert broken == []
    assert outcomes.total() == n
    assert outcomes["read"] > 0
    assert outcomes["refused"] > 0


@pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.name)
def test_mutated_recordings(kind: Kind, seeds: dict[str, list[Path]], tmp_path: Path) -> None:
    check_kind(kind, seeds, tmp_path, FILES, None)


@pytest.mark.skipif(FFMPEG is None, reason="needs the program ffmpeg")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_mutated_recordings_with_ffmpeg(kind: Kind, seeds: dict[str, list[Path]], tmp_path: Path) -> None:
    outcomes, broken = fuzz(kind, range(WITH_FFMPEG), seeds, tmp_path, FFMPEG)
    assert broken == []
    assert outcomes.total() == WITH_FFMPEG


def test_mutations_are_reproducible(seeds: dict[str, list[Path]]) -> None:
    for kind in MADE:
        good = [path.read_bytes() for path in seeds[kind.name]]
        made = [changed(kind, good, [b"other"], number) for number in range(20)]
        assert made == [changed(kind, good, [b"other"], number) for number in range(20)]
        assert len({*made, *good}) > 20  # they differ from each other and from the originals


@pytest.mark.parametrize("name", ["ogg", "flac"])
def test_checksums_are_corrected(seeds: dict[str, list[Path]], name: str) -> None:
    """Taking a file apart and reassembling it gives the same bytes."""
    kind = next(kind for kind in KINDS if kind.name == name)
    assert kind.parts is not None
    for path in seeds[name]:
        pieces = kind.parts.split(path.read_bytes())
        assert len(pieces) > 2
        assert kind.parts.join(pieces) == path.read_bytes()


# ---- the rules ------------------------------------------------------------------------------------------------------


def _write(folder: str | None = None) -> None:
    with tempfile.NamedTemporaryFile(delete=False, dir=folder) as file:
        file.write(b"left")


def _busy() -> None:
    end = time.process_time() + 0.4
    while time.process_time() < end:
        pass


def _twice() -> None:
    for text in ("cut", "damaged"):
        warnings.warn(text, AudioWarning, stacklevel=1)


def _two_lines() -> None:
    raise AudioError("two\nlines")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: {}["missing"], "KeyError"),
        (lambda: np.ones(10 << 20).sum(), "took [78]. MiB"),
        (lambda: os.system("true"), r"os\.system"),
        (lambda: subprocess.run([sys.executable, "-c", ""], check=True), "runs "),
        (lambda: warnings.warn("overflow", RuntimeWarning, stacklevel=1), "RuntimeWarning"),
        (_twice, "AudioWarning: cut; AudioWarning: damaged"),
        (_two_lines, "message is not one line"),
        (lambda: os.write(2, b"[libmpg123] error"), "wrote to stderr: .*libmpg123"),
        (_write, "leaves files behind: tmp"),
        (_busy, "took 0.. s"),
    ],
    ids=["exception", "memory", "system", "program", "warning", "warnings", "lines", "stderr", "file", "time"],
)
def test_violations_are_detected(bad: Callable[[], object], message: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run_audio, "SECONDS", 0.2 if bad is _busy else math.inf)
    with ruling(None, tmp_path) as rules, pytest.raises(Broken, match=message):
        rules.check(bad, 0)


@pytest.mark.parametrize(("seconds", "message"), [(0, "ffmpeg took"), (30, "leaves a process behind")])
def test_violations_of_ffmpeg_are_detected(seconds: int, message: str, tmp_path: Path, monkeypatch) -> None:
    """Python takes its place, with more memory than any child so far, and ends or continues."""
    monkeypatch.setattr(run_audio, "SECONDS", math.inf)  # so much memory takes time
    started = []
    code = f"import time; a = b'1' * {run_audio.children_peak() + (100 << 20)}; time.sleep({seconds})"

    def bad() -> None:
        command = [os.path.join(os.environ["PATH"], "ffmpeg"), "-c", code]
        started.append(subprocess.Popen(command, env=os.environ | {"PYTHONHOME": sys.base_prefix}))
        if not seconds:
            started[0].wait()

    try:
        with ruling(os.path.realpath(sys.executable), tmp_path) as rules:
            rules.children_peak = run_audio.children_peak()
            with pytest.raises(Broken, match=message):
                rules.check(bad, 0)
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_errors_and_single_warnings_are_allowed(tmp_path: Path) -> None:
    def refuse() -> None:
        raise AudioError("no recording")

    with ruling(None, tmp_path) as rules:
        assert rules.check(refuse, 0) == "refused"
        assert rules.check(lambda: warnings.warn("cut", AudioWarning, stacklevel=1), 0) == "warned"
        assert rules.check(lambda: None, 0) == "read"


def test_unseekable_recordings(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    pipe = run_audio.ENTRY_POINTS[-1](tmp_path / "file")
    assert not pipe.seekable()
    with pytest.raises(io.UnsupportedOperation):
        pipe.seek(0)
    assert pipe.read() == b"content"
