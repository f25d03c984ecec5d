"""A pytest plugin that runs openai-whisper's tests with whisper_apr: `pytest -p plugin`."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whisper_apr.compat

whisper_apr.compat.install()

import whisper  # noqa: E402
from fetch_models import MODELS, model_folder  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires_cuda: needs a GPU")


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Leave out what needs a GPU, and models that are not among those of fetch_models.py."""
    kept, left_out = [], []
    for item in items:
        name = item.callspec.params.get("model_name") if hasattr(item, "callspec") else None
        is_possible = name in (None, *MODELS) and item.get_closest_marker("requires_cuda") is None
        (kept if is_possible else left_out).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def published_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load a model's weights from the folder that fetch_models.py has downloaded."""
    load = whisper.load_model

    def load_model(name: str, *arguments: Any) -> Any:
        return load(model_folder(name) if name in MODELS else Path(name), *arguments)

    monkeypatch.setattr(whisper, "load_model", load_model)


@pytest.fixture(autouse=True)
def seeds() -> None:
    random.seed(42)
    np.random.seed(42)  # noqa: NPY002 - the tests use NumPy's global state
