"""The command `whisper-apr web`: the files that it serves, and its errors."""

import io
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import pytest

from whisper_apr import __version__, load_model
from whisper_apr.cli import main
from whisper_apr.formats.apr import write_apr
from whisper_apr.hub import find_checkpoint
from whisper_apr.web.session import PIECE, Session

pytestmark = pytest.mark.system

NAME = f"whisper_apr-{__version__}-cp311-abi3-pyemscripten_2026_0_wasm32.whl"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # modules in the current folder are found first: the weights for speakers seem not to be installed
    (tmp_path / "whisper_apr_speakers.py").write_text("raise ModuleNotFoundError")
    return tmp_path


@contextmanager
def served(folder: Path, *arguments: object) -> Iterator[str]:
    """Run the command in another process, yield its URL, and end it with Ctrl-C."""
    command = [sys.executable, "-m", "whisper_apr", "web", "--port", "0", *map(str, arguments)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("http://127.0.0.1:"), process.stderr.read()
            yield line.split()[0]
        finally:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "whisper-apr: interrupted\n"


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def test_defaults_serve_the_wheel_in_dist_and_the_digits_model(folder):
    (folder / "dist").mkdir()
    (folder / "dist" / NAME).write_bytes(b"wheel")
    with served(folder) as url:
        assert json.loads(get(f"{url}settings.json")) == {"model": "model.apr", "wheel": NAME}
        assert get(url + NAME) == b"wheel"
        session = Session("model.apr")
        with urllib.request.urlopen(f"{url}model.apr", timeout=30) as answer:
            assert answer.headers["Content-Type"] == "application/octet-stream"
            model = answer.read()
    for begin in range(0, len(model), PIECE):
        piece = model[begin : begin + PIECE]
        session.buffer[: len(piece)] = piece
        session.feed(len(piece))
    assert session.open()["multilingual"] == load_model("digits").is_multilingual


def test_the_weights_for_speakers_are_served_if_they_are_installed(folder):
    (folder / NAME).write_bytes(b"wheel")
    (folder / "whisper_apr_speakers.py").unlink()
    package = folder / "whisper_apr_speakers"
    package.mkdir()
    (package / "__init__.py").touch()
    contents = {"segmentation.npz": b"first", "embedding.npz": b"second"}
    for name, content in contents.items():
        (package / name).write_bytes(content)
    served_bytes = []
    for _ in range(2):  # equal bytes: a browser's copy stays valid
        with served(folder) as url:
            assert json.loads(get(f"{url}settings.json"))["speakers"] == "speakers.zip"
            served_bytes.append(get(f"{url}speakers.zip"))
    assert served_bytes[0] == served_bytes[1]
    with ZipFile(io.BytesIO(served_bytes[0])) as archive:
        assert {name: archive.read(f"whisper_apr_speakers/{name}") for name in contents} == contents


def test_all_options_and_an_apr_file_served_unchanged(folder):
    (folder / NAME).write_bytes(b"wheel")
    (folder / "numpy-2.whl").write_bytes(b"numpy")
    engine = folder / "engine"
    engine.mkdir()
    (engine / "pyodide.mjs").write_text("export {}")
    model = folder / "small.apr"
    write_apr(find_checkpoint("digits"), model)
    before = model.read_bytes()
    places = ["--wheel", NAME, "--numpy", "numpy-2.whl", "--pyodide", "engine", "--model", "small.apr"]
    with served(folder, *places) as url:
        settings = json.loads(get(f"{url}settings.json"))
        assert settings == {"model": "model.apr", "wheel": NAME, "numpy": "numpy-2.whl", "pyodide": "pyodide/"}
        assert get(f"{url}pyodide/pyodide.mjs") == b"export {}"
        assert get(f"{url}model.apr") == before


def test_several_models_are_offered_with_names_and_sizes(folder):
    (folder / NAME).write_bytes(b"wheel")
    (folder / "other").mkdir()
    write_apr(find_checkpoint("digits"), folder / "my model.apr")
    write_apr(find_checkpoint("digits"), folder / "other" / "my model.apr")
    chosen = ["--model", "my model.apr", "--model", "other/my model.apr", "--model", "digits"]
    with served(folder, *chosen) as url:
        settings = json.loads(get(f"{url}settings.json"))
        assert [model["name"] for model in settings["models"]] == ["my model", "my model (2)", "digits"]
        assert settings["model"] == settings["models"][0]["url"]
        for model in settings["models"]:
            data = get(url + model["url"])
            assert len(data) == model["size"]
            assert data == (folder / "my model.apr").read_bytes()


def run_failing(capsys, *arguments: object) -> tuple[int, str]:
    status = main(["web", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return status, err


def test_no_wheel(folder, capsys):
    (folder / "whisper_apr-0.0.0-cp311-abi3-pyemscripten_2026_0_wasm32.whl").touch()  # of another version
    assert run_failing(capsys) == (
        2,
        f"whisper-apr: there is no wheel of whisper_apr {__version__} for Pyodide in the current folder or in dist; "
        "build one with wheels/wasm.sh, or name one with --wheel\n",
    )


def test_missing_files(folder, capsys):
    (folder / NAME).touch()
    assert run_failing(capsys, "--wheel", "none.whl") == (2, "whisper-apr: --wheel none.whl: there is no such file\n")
    assert run_failing(capsys, "--pyodide", NAME) == (2, f"whisper-apr: --pyodide {NAME}: there is no such folder\n")
    status, message = run_failing(capsys, "--model", "nonsense")
    assert status == 1
    assert "no model named 'nonsense'" in message


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_an_invalid_port(folder, capsys, port):
    (folder / NAME).touch()
    status, message = run_failing(capsys, f"--port={port}")
    assert status in (1, 2)
    assert port in message


def test_a_port_in_use(folder, capsys):
    (folder / NAME).touch()
    with served(folder) as url:
        port = url.rstrip("/").rpartition(":")[2]
        status, message = run_failing(capsys, "--port", port)
    assert status == 1
    assert message.startswith(f"whisper-apr: port {port}: ")
    assert message.endswith("; choose another one with --port\n")
