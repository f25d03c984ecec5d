"""Fixtures: published models and recordings of people. Run `pytest tests/real`.

The models are downloaded once into a cache (see fetch_models.py). WHISPER_APR_REAL_AUDIO names the folder of the
recordings, which contains `words.json`. If either is missing the tests fail instead of being skipped, because `pytest`
without arguments does not run them.
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
        pytest.fail(f"the published models are missing: {error}", pytrace=False)


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
    """OpenAI's base with faster-whisper's interface."""
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
        pytest.fail("WHISPER_APR_REAL_AUDIO is not set; let it name the folder of the recordings", pytrace=False)
    if not Path(folder, "words.json").is_file():
        pytest.fail(
            f"WHISPER_APR_REAL_AUDIO: {folder} has no words.json; let it name the folder of the recordings",
            pytrace=False,
        )
    return Path(folder)


@pytest.fixture(scope="session")
def texts(recordings: Path) -> dict[str, dict[str, Any]]:
    """Transcripts by file name: `language`, `text` and, for some, `words` with `start` and `end`."""
    entries = json.loads((recordings / "words.json").read_text(encoding="utf-8"))
    return {entry["file"]: entry for entry in entries}
