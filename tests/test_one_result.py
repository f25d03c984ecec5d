"""Weights in float32 give the same result however the model is opened: by path, by name, as `.apr`, without a cache."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import models
from whisper_apr import Recognizer, load_model
from whisper_apr.formats import ModelDimensions, open_checkpoint
from whisper_apr.formats.apr import read_apr, write_apr

COMPUTE_TYPES = ("default", "float32", "float16", "int8", "int4")
DIMS = ModelDimensions(5, 12, 96, 3, 2, 77, 8, 96, 3, 2)
COMMIT = "0" * 40
ROOT = "whisper_apr.hub.converted"


@pytest.fixture(params=["float32", "float16 in float32"])
def folder(request, tmp_path) -> Path:
    """A model whose weights are in float32, as some repositories store OpenAI's, which are float16, too."""
    tensors = models.random_tensors(DIMS, 3)
    if request.param != "float32":
        tensors = {name: value.astype(np.float16).astype(np.float32) for name, value in tensors.items()}
    return models.write_huggingface(tmp_path / "hf", DIMS, tensors)


def by_name(folder: Path, cache: Path, compute_type: str, monkeypatch) -> Recognizer:
    monkeypatch.setattr(f"{ROOT}.fetch", lambda model, root: folder)
    return load_model(f"org/name@{COMMIT}", download_root=cache, compute_type=compute_type)


@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_one_result(tmp_path, folder, compute_type, monkeypatch):
    stored = compute_type if compute_type in ("float16", "int8", "int4") else None
    ways: dict[str, Callable[[], Recognizer]] = {}
    ways["path"] = lambda: load_model(folder, compute_type=compute_type)
    for dtype in {None, stored, "float32"}:
        path = tmp_path / f"{dtype}.apr"
        write_apr(open_checkpoint(folder), path, dtype)
        ways[f"{dtype}.apr"] = lambda path=path: load_model(path, compute_type=compute_type)
    ways["name"] = lambda: by_name(folder, tmp_path / "cache", compute_type, monkeypatch)
    ways["name, once converted"] = ways["name"]

    def without_cache() -> Recognizer:
        def fail(*_: object, **__: object) -> None:
            raise OSError(30, "Read-only file system")

        with monkeypatch.context() as patch:
            patch.setattr(f"{ROOT}.write_apr", fail)
            return by_name(folder, tmp_path / "other", compute_type, monkeypatch)

    ways["name, read-only cache"] = without_cache
    expected = models.logits(ways["path"]())
    for name, load in ways.items():
        found = load()
        assert np.array_equal(models.logits(found), expected), name
    assert len(list((tmp_path / "cache").rglob("*.apr"))) == 1
    assert not list((tmp_path / "other").rglob("*.apr"))


def test_positional_embeddings_are_float16_only_if_that_is_exact(tmp_path, folder):
    write_apr(open_checkpoint(folder), tmp_path / "model.apr", "int8")
    found = read_apr(tmp_path / "model.apr").tensors["decoder.positional_embedding"]
    is_exact = np.array_equal(found, found.astype(np.float16))
    assert found.dtype == (np.float16 if is_exact else np.float32)
    np.testing.assert_array_equal(found, open_checkpoint(folder).tensors["decoder.positional_embedding"])
