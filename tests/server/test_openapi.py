"""The description of the API: complete, and true of what schemathesis sends."""

import json
import os
import subprocess
import sys
from pathlib import Path

from running_server import running
from whisper_apr import __version__
from whisper_apr.server.parameters import ALIAS, FORMATS, TRANSCRIPTION, TRANSLATION

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "src" / "whisper_apr" / "server" / "openapi.json"


def test_answers_are_as_described():
    """In a form, which has text only, types cannot be wrong; test_transcriptions.py sends values that are."""
    decoding = {"audio_context": "auto", "hallucination_filter": True}
    with running(decoding=decoding) as server:  # short recordings take a quarter of the time
        _run_schemathesis(f"{server.url}/openapi.json")


def _run_schemathesis(url):
    command = [Path(sys.executable).with_name("schemathesis"), "run", url]
    command += ["--max-examples", "5", "--seed", "1", "--workers", "4", "--exclude-checks", "negative_data_rejection"]
    paths = os.pathsep.join([str(HERE), *sys.path])
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": paths, "NO_COLOR": "1"}
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment)
    report = "\n".join(line[:200] for line in run.stdout.splitlines())  # without recordings
    assert run.returncode == 0, report
    assert "Tested: 6" in report


def test_every_route_and_parameter_is_described(server):
    document = json.loads(DOCUMENT.read_text("utf-8"))
    described = server.get("/openapi.json").json()
    assert described["info"] == document["info"] | {"version": __version__}
    assert described["components"]["schemas"]["ModelName"]["enum"] == ["digits", ALIAS]
    assert {"de", "german", "castilian"} <= set(described["components"]["schemas"]["Language"]["enum"])
    paths = {route.path.replace(":path", "") for route in server.server.app.routes if hasattr(route, "methods")}
    assert paths - {"/", "/static/{name}"} == set(described["paths"])
    for name, table in (("transcriptions", TRANSCRIPTION), ("translations", TRANSLATION)):
        body = described["paths"][f"/v1/audio/{name}"]["post"]["requestBody"]
        properties = body["content"]["multipart/form-data"]["schema"]["properties"]
        assert {key.removesuffix("[]") for key in properties} == table.keys()
        formats = FORMATS if name == "transcriptions" else FORMATS[:-1]
        assert properties["response_format"]["enum"] == list(formats)
