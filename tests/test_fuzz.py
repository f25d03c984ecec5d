"""A short run of tests/fuzz/run.py: mutated files for each reader, and tests that it detects broken rules."""

import os
import time
import warnings
from pathlib import Path

import pytest

from fuzz import run
from fuzz.readers import READERS, Reader
from fuzz.run import Broken, check, fuzz, measuring, watch
from whisper_apr.errors import FormatError

FILES = 60  # for each reader


@pytest.fixture(scope="session", autouse=True)
def _watching() -> None:
    watch()


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_mutated_files_open_or_are_refused(reader: Reader, tmp_path: Path) -> None:
    outcomes, broken = fuzz(reader, range(FILES), tmp_path)
    assert broken == []
    assert outcomes.total() == FILES
    assert outcomes["opened"] > 0  # at least the unchanged seeds must open
    assert outcomes["refused"] > 0 or reader.name == "lz4"  # lz4 returns False instead of raising


def _hang(_: Path) -> None:
    end = time.process_time() + 10
    while time.process_time() < end:
        pass


def _wrap(_: Path) -> None:
    try:
        raise FormatError("model: damaged")
    except FormatError as error:
        raise FormatError(f"model: {error}") from error


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda path: {}["missing"], "KeyError"),
        (lambda path: bytes(65 << 20), "took 65 MiB"),
        (lambda path: os.system("true"), r"os\.system"),
        (lambda path: path.with_suffix(".new").write_text(""), "open"),
        (lambda path: warnings.warn("overflow", RuntimeWarning, stacklevel=1), "RuntimeWarning"),
        (_wrap, "one FormatError wraps another"),
        (_hang, "took more than 0.2 s"),
    ],
    ids=["exception", "memory", "program", "writing", "warning", "wrapped", "hang"],
)
def test_broken_rule_is_detected(bad, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SECONDS", 0.2 if bad is _hang else 30)
    reader = Reader("bad", lambda folder: [], bad)
    with pytest.raises(Broken, match=message):
        traced(reader, tmp_path / "file")


def test_refusing_is_allowed(tmp_path: Path) -> None:
    def refuse(_: Path) -> None:
        raise FormatError("no model")

    assert traced(Reader("good", lambda folder: [], refuse), tmp_path) == "refused"


def traced(reader: Reader, path: Path) -> str:
    with measuring():
        return check(reader.open, path, 0)
