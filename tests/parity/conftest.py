"""Fixtures: openai-whisper, torch, and the same weights in both engines. Run `pytest tests/parity`."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
import whisper_apr
from openai_engine import Pair, openai_whisper, torch_with
from whisper_apr.formats import ModelDimensions

THREADS = 1  # of torch, whose threads busy-wait: on small tensors, more of them are slower


@pytest.fixture(scope="session")
def torch() -> Iterator[Any]:
    with torch_with(THREADS) as module:
        yield module


@pytest.fixture(scope="session")
def openai(torch: Any) -> Any:
    return openai_whisper()


@pytest.fixture(scope="session")
def digits(openai: Any) -> Pair:
    path = files("whisper_apr").joinpath("assets", "digits.pt")
    return Pair(whisper_apr.load_model("digits"), openai.load_model(str(path), device="cpu"))


@pytest.fixture
def random_pair(openai: Any, torch: Any, tmp_path: Path) -> Callable[..., Pair]:
    """Return a function that writes random weights with torch.save and loads them in both engines."""

    def make(dims: ModelDimensions, seed: int = 0, dtype: type = np.float32) -> Pair:
        path = tmp_path / "random.pt"
        state = {
            name: torch.from_numpy(value.astype(dtype)) for name, value in models.random_tensors(dims, seed).items()
        }
        torch.save({"dims": asdict(dims), "model_state_dict": state}, path)
        return Pair(whisper_apr.load_model(path), openai.load_model(str(path), device="cpu"))

    return make
