"""Real models and recordings of people, for the tests in this folder: `pytest tests/real`.

The models are fetched once (see fetch_models.py) and kept in a cache. WHISPER_APR_REAL_AUDIO names the folder of the recordings, with
`words.json` beside them. Without either the tests fail: they are run on purpose, never along with the others.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from whisper_apr import Recognizer, WhisperModel, load_model

sys.path.insert(0, str(Path(__file__).parent))
from fetch_models import FetchError, model_folder


def _folder(name: str) -> Path:
    try:
        return model_folder(name)
    except FetchError as error:
        pytest.fail(f"the real models are not there: {error}", pytrace=False)


@pytest.fixture(scope="session")
def base_folder() -> Path:
    """OpenAI's base, multilingual: a CTranslate2 folder in float16."""
    return _folder("base")


@pytest.fixture(scope="session")
def tiny_en_folder() -> Path:
    """OpenAI's tiny.en, English only: a CTranslate2 folder in float16."""
    return _folder("tiny.en")


@pytest.fixture(scope="session")
def base(base_folder: Path) -> Recognizer:
    """OpenAI's base, computing in float32 with its own weights."""
    return load_model(base_folder)


@pytest.fixture(scope="session")
def faster(base_folder: Path) -> WhisperModel:
    """OpenAI's base under faster-whisper's names."""
    return WhisperModel(base_folder)


@pytest.fixture(scope="session")
def tiny_en(tiny_en_folder: Path) -> Recognizer:
    """OpenAI's tiny.en, computing in float32 with its own weights."""
    return load_model(tiny_en_folder)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of the recordings."""
    folder = os.environ.get("WHISPER_APR_REAL_AUDIO")
    if not folder:
        pytest.fail("WHISPER_APR_REAL_AUDIO is not set: it must name the folder of the recordings", pytrace=False)
    if not Path(folder, "words.json").is_file():
        pytest.fail(f"WHISPER_APR_REAL_AUDIO: there are no recordings with a words.json in {folder}", pytrace=False)
    return Path(folder)


@pytest.fixture(scope="session")
def texts(recordings: Path) -> dict[str, dict[str, Any]]:
    """What is said: a recording's file name -> its `language`, `text` and, where they are known, `words` with `start` and `end`."""
    entries = json.loads((recordings / "words.json").read_text(encoding="utf-8"))
    return {entry["file"]: entry for entry in entries}
