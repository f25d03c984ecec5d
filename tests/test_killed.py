"""A process that is killed while it downloads or converts a model leaves no partial file that a later run would use."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import models
from hub_server import NAME, expected, get_only
from models import logits
from whisper_apr import load_model
from whisper_apr.cli import main
from whisper_apr.formats.apr import verify_apr
from whisper_apr.hub import HubModel, fetch

pytestmark = pytest.mark.system

# Stops at the point that the parent chose, reports it on stdout, and waits to be killed.
_CHILD = """
import sys
from huggingface_hub import constants
from whisper_apr.cli import main
from whisper_apr.formats.apr import writer

constants.DOWNLOAD_CHUNK_SIZE = 1000  # instead of 10 MB, more than the test's model

def stop(*_):
    print("inside", flush=True)
    sys.stdin.read()

make_matrix = writer.make_matrix
def make(tensors, part, *rest):
    if part.name.startswith(sys.argv[1]):
        stop()
    return make_matrix(tensors, part, *rest)

writer.make_matrix = make
if sys.argv[1] == "the end":
    import os
    os.fsync = stop
if sys.argv[3:]:
    sys.exit(main(["convert", *sys.argv[2:]]))
import whisper_apr
whisper_apr.load_model(sys.argv[2])
"""


def child(hub, *arguments: object) -> subprocess.Popen[str]:
    environment = os.environ | {"HF_ENDPOINT": hub.url, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, *map(str, arguments)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    """Kill the process without running any `finally` or `except`."""
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == (-9 if os.name == "posix" else 1)


def wait_for(is_there, seconds: float = 60):
    end = time.monotonic() + seconds
    while not (found := is_there()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


@pytest.mark.parametrize("moment", ["decoder.blocks.1.mlp.0", "the end"])
def test_killed_conversion(hub, tmp_path, moment):
    """Killed while tensors are written, and before the temporary file is renamed."""
    folder = tmp_path / "home" / "whisper-apr"
    fetch(HubModel(NAME))
    process = child(hub, moment, NAME)
    assert process.stdout.readline() == "inside\n"
    kill(process)
    (half,) = folder.iterdir()
    assert half.name.endswith(".part")
    assert half.stat().st_size > 0
    assert np.array_equal(logits(load_model(NAME)), expected(tmp_path))
    (whole,) = folder.glob("*.apr")
    assert verify_apr(whole).dims == models.SMALLEST


@pytest.mark.parametrize("moment", ["decoder.blocks.1.mlp.0", "the end"])
def test_killed_conversion_keeps_the_existing_file(hub, tmp_path, moment):
    target = tmp_path / "model.apr"
    assert main(["convert", str(tmp_path / "served"), str(target), "--dtype", "int8"]) == 0
    before = target.read_bytes()
    process = child(hub, moment, tmp_path / "served", target, "--dtype", "float32")
    assert process.stdout.readline() == "inside\n"
    kill(process)
    assert target.read_bytes() == before
    assert main(["convert", str(tmp_path / "served"), str(target), "--dtype", "float32"]) == 0
    assert np.array_equal(logits(load_model(target)), expected(tmp_path))


def test_killed_download(hub, tmp_path):
    """Killed when half of the weights have arrived."""
    inside = threading.Event()

    def half(handler, content):
        handler.serve(content, cut=len(content) // 2)
        handler.wfile.flush()
        inside.set()
        handler.server.over.wait(60)

    hub.fault = get_only(half)
    process = child(hub, "", NAME)
    assert inside.wait(60)
    assert wait_for(lambda: [path for path in tmp_path.glob("home/hub/**/*.incomplete") if path.stat().st_size])
    kill(process)
    assert not list(tmp_path.glob("home/hub/**/*.safetensors"))
    assert not list(tmp_path.glob("home/**/*.apr"))
    hub.fault = lambda *_: False
    assert np.array_equal(logits(load_model(NAME)), expected(tmp_path))
