"""The page at `/` in Chromium; see `page.test.mjs`."""

import os
import shutil
from pathlib import Path

from node_tests import run_node_tests

from running_server import running

HERE = Path(__file__).parent
EN = HERE.parent / "data" / "en.wav"


def test_the_page_in_chromium(model, tmp_path):
    chromium = shutil.which("chromium")
    assert chromium, "install the package chromium"
    screenshot = Path(os.environ.get("WHISPER_APR_SCREENSHOT", tmp_path / "page.png"))
    with running(api_keys=("secret",)) as server:
        environment = {
            "SERVER_URL": server.url,
            "SERVER_KEY": "secret",
            "RECORDING": str(EN),
            "TEXT": model.transcribe(EN).text.strip(),
            "SCREENSHOT": str(screenshot),
            "CHROMIUM": chromium,
        }
        report = run_node_tests("page.test.mjs", ["playwright-core@1"], tmp_path, environment)
    assert "pass 5" in report
    assert screenshot.read_bytes().startswith(b"\x89PNG")
