"""Each file of `examples/` does what its description says, with the bundled model."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DATA = ROOT / "tests" / "data"


def run(name: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-W", "error", EXAMPLES / name, *map(str, arguments)]
    settings: Any = {"capture_output": True, "check": True, **options}
    return subprocess.run(command, **settings)


def test_all_examples_are_tested() -> None:
    source = Path(__file__).read_text("utf-8")
    names = [path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")]
    assert names
    assert all(f'"{name}"' in source and name in (EXAMPLES / "README.md").read_text("utf-8") for name in names)


def test_subtitle_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    shutil.copy(DATA / "en.wav", tmp_path)
    shutil.copy(DATA / "de.wav", tmp_path / "deep")
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    output = run("subtitle_folder.py", tmp_path).stdout.decode()
    assert "three one four" in (tmp_path / "en.srt").read_text("utf-8")
    assert (tmp_path / "deep" / "de.srt").exists()
    assert "broken.wav" in output
    assert not (tmp_path / "broken.srt").exists()


def test_live_captions() -> None:
    samples, rate = soundfile.read(DATA / "en.wav", dtype="int16")
    output = run("live_captions.py", "--rate", rate, input=samples.tobytes()).stdout.decode()
    assert "three one four" in output


def test_upload_server(monkeypatch: pytest.MonkeyPatch) -> None:
    app = runpy.run_path(str(EXAMPLES / "upload_server.py"))["app"]
    client = TestClient(app)
    with open(DATA / "en.wav", "rb") as file:
        answer = client.post("/transcribe", files={"file": file})
    assert answer.status_code == 200
    assert "three one four" in answer.json()["text"]
    assert client.post("/transcribe", files={"file": b"no sound"}).status_code == 422


GRADIO = """
import runpy, sys
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
demo = runpy.run_path(sys.argv[1])["demo"]
demo.launch(prevent_thread_lock=True, quiet=True)
client = Client(demo.local_url, verbose=False)
text, subtitles = client.predict(handle_file(sys.argv[2]), api_name="/transcribe")
print(text, open(subtitles).read())
try:
    client.predict(handle_file(sys.argv[1]), api_name="/transcribe")
except AppError as error:
    print("refused:", error)
demo.close()
"""


def test_gradio_demo() -> None:
    """In a process of its own, since gradio and its client leave threads and sockets behind."""
    command = [sys.executable, "-c", GRADIO, EXAMPLES / "gradio_demo.py", DATA / "en.wav"]
    environment = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"}
    output = subprocess.run(command, capture_output=True, check=True, env=environment).stdout.decode()
    assert "three one four" in output
    assert "00:00:00" in output
    assert "refused: " in output
    assert "gradio_demo.py" in output


def test_langchain_loader() -> None:
    output = run("langchain_loader.py", DATA / "en.wav", DATA / "de.wav").stdout.decode()
    assert "three one four" in output
    assert len(output.splitlines()) >= 2


def test_words_table(tmp_path: Path) -> None:
    output = run("words_table.py", DATA / "en.wav", DATA / "de.wav", "--csv", tmp_path / "words.csv").stdout.decode()
    assert "words per minute" in output
    assert output.count("en.wav") >= 1
    assert " three," in (tmp_path / "words.csv").read_text("utf-8")


def test_noise_gate(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 1e-3, 32_000)
    speech, rate = soundfile.read(DATA / "en.wav")
    soundfile.write(tmp_path / "in.wav", np.concatenate([noise, speech]), rate)
    output = run("noise_gate.py", tmp_path / "in.wav", tmp_path / "out.wav").stdout.decode()
    gated, rate = soundfile.read(tmp_path / "out.wav")
    assert "is speech" in output
    assert not np.any(gated[:rate]), "the first second is noise"
    assert np.abs(gated[2 * rate :]).max() > 0.1


def test_notebook() -> None:
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    NotebookClient(notebook, resources={"metadata": {"path": str(EXAMPLES)}}).execute(env=os.environ | environment)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("<table" in output.get("data", {}).get("text/html", "") for output in outputs)
    assert any("-->" in output.get("text", "") for output in outputs)
