"""OpenAI's client from npm; see `openai.test.mjs`."""

from pathlib import Path

from node_tests import run_node_tests

from recordings import speech, stretched
from running_server import pcm, running

HERE = Path(__file__).parent
EN = HERE.parent / "data" / "en.wav"
PACKAGES = ("openai@6", "ws@8")


def test_the_client_from_npm(model, tmp_path):
    samples = tmp_path / "samples"
    samples.write_bytes(pcm(stretched(speech("en"), 16 / 24)))
    with running(api_keys=("secret",)) as server:
        environment = {
            "SERVER_URL": server.url,
            "SERVER_KEY": "secret",
            "RECORDING": str(EN),
            "SAMPLES": str(samples),
            "CERTIFICATE": str(HERE.parent / "data" / "localhost.pem"),
            "NODE_EXTRA_CA_CERTS": str(HERE.parent / "data" / "localhost.pem"),
            "TEXT": model.transcribe(EN).text.strip(),
        }
        report = run_node_tests("openai.test.mjs", PACKAGES, tmp_path, environment)
    assert "pass 6" in report
