"""The page at `/` in Chromium; see `page.test.mjs`."""

import os
import shutil
import subprocess
from pathlib import Path

from running_server import running

HERE = Path(__file__).parent
EN = HERE.parent / "data" / "en.wav"


def test_the_page_in_chromium(model, tmp_path):
    chromium = shutil.which("chromium")
    assert chromium, "install the package chromium"
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", tmp_path, "playwright-core@1"]
    subprocess.run(install, check=True)
    screenshot = Path(os.environ.get("WHISPER_APR_SCREENSHOT", tmp_path / "page.png"))
    with running(api_keys=("secret",)) as server:
        environment = os.environ | {
            "NODE_MODULES": str(tmp_path / "node_modules"),
            "SERVER_URL": server.url,
            "SERVER_KEY": "secret",
            "RECORDING": str(EN),
            "TEXT": model.transcribe(EN).text.strip(),
            "SCREENSHOT": str(screenshot),
            "CHROMIUM": chromium,
        }
        command = ["node", "--test", "--test-reporter=spec", HERE / "page.test.mjs"]
        run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "pass 5" in run.stdout
    assert screenshot.read_bytes().startswith(b"\x89PNG")
