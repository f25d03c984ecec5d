"""The files of the page at `/`, and the subtitles that it writes."""

import json
import re
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from whisper_apr.server.page import PATHS
from whisper_apr.server.parameters import TranscriptionRequest
from whisper_apr.server.responses import _verbose_json

EN = Path(__file__).parents[1] / "data" / "en.wav"
STATIC = files("whisper_apr").joinpath("server", "static")


def test_the_page_refers_to_files_that_exist(server):
    page = server.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    names = re.findall(r'(?:href|src)="static/([^"]+)"', page.text)
    names += re.findall(r'from "\./([^"]+)"', server.get("/static/page.js").text)
    assert set(names) | {"index.html"} == set(PATHS)
    for name in names:
        response = server.get(f"/static/{name}")
        assert response.status_code == 200
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.content


@pytest.mark.parametrize("name", ["other.js", "..%2fpage.py", "%2e%2e"])
def test_other_files_are_not_served(server, name):
    assert server.get(f"/static/{name}").status_code == 404


def test_elements_that_the_script_names_exist(server):
    script, page = server.get("/static/page.js").text, server.get("/").text
    assert set(re.findall(r'\$\("(\w+)"\)', script)) <= set(re.findall(r'id="(\w+)"', page))


@pytest.mark.parametrize("format", ["txt", "srt", "vtt"])
def test_files_are_those_of_whisper_apr(model, format):
    result = model.transcribe(EN)
    body = json.dumps(_verbose_json(result, TranscriptionRequest("transcribe", {})))
    code = f"import {{ written }} from {json.dumps(str(STATIC / 'subtitles.js'))};"
    code += f"process.stdout.write(written({body}, {json.dumps(format)}));"
    run = subprocess.run(["node", "--input-type=module", "-e", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    expected = {"txt": "\n".join(s.text.strip() for s in result.segments) + "\n", "srt": result.to_srt()}
    # hours are optional in WebVTT
    expected["vtt"] = re.sub(r"(\d\d:\d\d\.\d{3})", r"00:\1", result.to_vtt())
    assert run.stdout == expected[format]
