"""Programs from PyPI with whisper_apr in place of openai-whisper or faster-whisper. Run `.ci/run programs`.

The programs are neither changed nor told: `python -m whisper_apr.compat` runs a script that uses one. Each script runs
twice, in an environment without the two engines, and with the original engine in the environment whose interpreter
WHISPER_APR_ORIGINALS names. Both get the same weights and the same recording.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import files, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from imported_names import uses
from whisper_apr import load_audio
from whisper_apr.audio import SAMPLE_RATE
from whisper_apr.formats import open_checkpoint

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "real"))
from fetch_models import model_folder  # noqa: E402
from word_errors import edits, units  # noqa: E402

PROGRAMS = dict(
    line.split("==")
    for line in (HERE / "programs.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)
SCRIPTS = sorted(path.stem for path in HERE.glob("use_*.py"))
OPENAI = ["use_auto_subs", "use_speech_recognition_whisper", "use_stable_ts_whisper"]
FASTER = [script for script in SCRIPTS if script not in OPENAI]
COMPAT = ["-m", "whisper_apr.compat"]

# Recordings, and those that make up another of more than one window, with pauses between them.
SHORT, LONG = "sense_0870.wav", ("jfk.flac", "sense_0870.wav", "sense_0880.wav", "sense_0920.wav")
PAUSE = 2.0  # seconds
MIN_WORDS = {"short": 20, "long": 60}  # of the result, so that nothing is compared with nothing
MAX_SHARE = 0.05  # of the words of the longer recording
MAX_SHIFT = 0.2  # limit in seconds for the median difference of times, which whisper_apr corrects by the sound
TIMEOUT = 1200  # seconds


@dataclass(frozen=True)
class Heard:
    """What a script printed: the text, and times in seconds if the program gives them."""

    text: str
    times: list[float]


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """WAV files of 16 bits, which every program reads: "short" of 7 s, and "long" of 33 s."""
    folder = os.environ.get("WHISPER_APR_REAL_AUDIO")
    if not folder:
        pytest.fail("WHISPER_APR_REAL_AUDIO is not set; let it name the folder of the recordings", pytrace=False)
    samples = {name: load_audio(Path(folder, name)) for name in {SHORT, *LONG}}
    pause = np.zeros(int(PAUSE * SAMPLE_RATE), np.float32)
    joined = np.concatenate([part for name in LONG for part in (samples[name], pause)])
    made = tmp_path_factory.mktemp("recordings")
    for name, content in (("short", samples[SHORT]), ("long", joined)):
        soundfile.write(made / f"{name}.wav", content, SAMPLE_RATE, subtype="PCM_16")
    return {name: made / f"{name}.wav" for name in MIN_WORDS}


@pytest.fixture(scope="session")
def originals() -> str:
    """The interpreter of the environment that has the original engines."""
    python = os.environ.get("WHISPER_APR_ORIGINALS")
    if not python:
        pytest.fail("WHISPER_APR_ORIGINALS is not set; let it name a Python that has the engines", pytrace=False)
    code = "import faster_whisper, whisper; print(faster_whisper.__version__, whisper.__version__, whisper.__file__)"
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True, cwd=HERE).stdout.split()
    assert found[:2] == ["1.2.1", "20250625"]
    assert "whisper_apr" not in found[2]
    return python


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """OpenAI's base for each engine: a CTranslate2 folder, and the same weights as openai-whisper saves them."""
    folder = model_folder("base")
    checkpoint = open_checkpoint(folder)
    state = {name: torch.from_numpy(np.array(tensor)) for name, tensor in checkpoint.tensors.items()}
    path = tmp_path_factory.mktemp("models") / "base.pt"
    torch.save({"dims": asdict(checkpoint.dims), "model_state_dict": state}, path)
    return {"whisper": path, "faster_whisper": folder.resolve()}


def run(command: list[str], script: str, model: Path, recording: Path) -> Heard:
    environment = {**os.environ, "PROGRAMS": str(Path(sys.executable).parent), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*command, f"{script}.py", str(model), str(recording)],
        cwd=HERE, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    print(done.stdout[-5000:], done.stderr[-5000:])  # shown if the test fails
    assert done.returncode == 0, f"{script} failed"
    return Heard(**json.loads(done.stdout.splitlines()[-1]))


def test_engines_are_absent() -> None:
    """Only whisper_apr can have transcribed in this environment."""
    assert [name for name in ("whisper", "faster_whisper", "ctranslate2") if find_spec(name)] == []


def test_every_program_has_a_script() -> None:
    assert {name: version(name) for name in PROGRAMS} == PROGRAMS
    assert len(PROGRAMS) >= 10
    used = " ".join(SCRIPTS).replace("_", "")
    assert [name for name in PROGRAMS if name.lower().replace("-", "") not in used] == []
    assert {*SCRIPTS} > {*OPENAI}


@pytest.mark.parametrize("program", sorted({*PROGRAMS} - {"RealtimeSTT"}))  # it builds its import statements
def test_every_name_exists(program: str) -> None:
    """Also names that the scripts here do not reach."""
    paths = [path for path in files(program) or () if path.suffix == ".py"]
    found = set().union(*(uses(Path(str(path.locate())).read_text(encoding="utf-8")) for path in paths))
    assert found
    missing = []
    for module, name in sorted(found):
        ours = import_module(f"whisper_apr.compat.{module}")
        missing += [f"{module}.{name}"] if not hasattr(ours, name) else []
    assert missing == []


@pytest.mark.parametrize("script", OPENAI)
def test_same_as_openai_whisper(
    script: str, models: dict[str, Path], originals: str, recordings: dict[str, Path]
) -> None:
    model, recording = models["whisper"], recordings["short"]
    ours = run([sys.executable, *COMPAT], script, model, recording)
    assert ours.text
    assert ours.times
    assert ours == run([originals], script, model, recording)


@pytest.mark.parametrize("recording", MIN_WORDS)
@pytest.mark.parametrize("script", FASTER)
def test_same_as_faster_whisper(
    script: str, recording: str, models: dict[str, Path], originals: str, recordings: dict[str, Path]
) -> None:
    """faster-whisper's beam search adds in another order, and its batches have other windows: some words may differ."""
    model, path = models["faster_whisper"], recordings[recording]
    ours = run([sys.executable, *COMPAT], script, model, path)
    theirs = run([originals], script, model, path)
    expected = units(theirs.text, "en")
    assert len(expected) > MIN_WORDS[recording]
    different = edits(expected, units(ours.text, "en"))
    print(f"{script}, {recording}: {different} of {len(expected)} words differ")
    assert different <= (0 if recording == "short" else MAX_SHARE * len(expected))
    assert bool(ours.times) == bool(theirs.times)
    if ours.times and len(ours.times) == len(theirs.times):
        assert np.median(np.abs(np.subtract(ours.times, theirs.times))) <= MAX_SHIFT
