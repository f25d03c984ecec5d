"""OpenAI's client from npm; see `openai.test.mjs`."""

import os
import subprocess
from pathlib import Path

from recordings import speech, stretched
from running_server import pcm, running

HERE = Path(__file__).parent
EN = HERE.parent / "data" / "en.wav"
PACKAGES = ("openai@6", "ws@8")


def test_the_client_from_npm(model, tmp_path):
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", tmp_path, *PACKAGES]
    subprocess.run(install, check=True)
    samples = tmp_path / "samples"
    samples.write_bytes(pcm(stretched(speech("en"), 16 / 24)))
    with running(api_keys=("secret",)) as server:
        environment = os.environ | {
            "NODE_MODULES": str(tmp_path / "node_modules"),
            "SERVER_URL": server.url,
            "SERVER_KEY": "secret",
            "RECORDING": str(EN),
            "SAMPLES": str(samples),
            "CERTIFICATE": str(HERE.parent / "data" / "localhost.pem"),
            "NODE_EXTRA_CA_CERTS": str(HERE.parent / "data" / "localhost.pem"),
            "TEXT": model.transcribe(EN).text.strip(),
        }
        command = ["node", "--test", "--test-reporter=spec", HERE / "openai.test.mjs"]
        run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "pass 6" in run.stdout
