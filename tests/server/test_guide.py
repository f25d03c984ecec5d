"""The guide's examples in Python and for curl, run with the server of the tests."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "server.md").read_text("utf-8")
ADDRESS = "127.0.0.1:8000"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copy(ROOT / "tests" / "data" / "en.wav", tmp_path / "interview.mp3")  # recognized by its content
    monkeypatch.chdir(tmp_path)


def test_python(server, model, folder, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    names = {}
    exec("".join(blocks).replace(ADDRESS, server.address), names)
    names["client"].close()
    text = model.transcribe("interview.mp3").text.strip()
    assert capsys.readouterr().out == f"{text}\n{text}"


@pytest.mark.parametrize("line", re.findall(r"^curl .*$", GUIDE, re.MULTILINE))
def test_curl(server, folder, line):
    words = shlex.split(line.replace(ADDRESS, server.address))
    run = subprocess.run([*words, "--fail", "--silent", "--show-error"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout
