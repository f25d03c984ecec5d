"""Quantized models: the error of the logits, and the size of the files."""

import numpy as np
import pytest

import models
from whisper_apr import load_model
from whisper_apr.bench.models import DIMENSIONS, random_checkpoint
from whisper_apr.formats.apr import write_apr
from whisper_apr.recognizer import Recognizer

TINY = models.random_checkpoint(models.TINY)


@pytest.mark.parametrize(("dtype", "megabytes"), [("int8", 41), ("int4", 27)])
def test_size_of_tiny(tmp_path, dtype, megabytes):
    published = random_checkpoint(DIMENSIONS["tiny"])  # in float16, as OpenAI's
    write_apr(published, tmp_path / "tiny.apr", dtype)
    assert (tmp_path / "tiny.apr").stat().st_size <= megabytes * 1_000_000


def test_int8_logits_are_within_two_percent(tmp_path):
    """Root mean square of the difference, relative to the logits' standard deviation."""
    write_apr(TINY, tmp_path / "tiny.apr", "int8")
    mel = np.random.default_rng(1).standard_normal((1, 80, 3000)).astype(np.float32)
    tokens = np.random.default_rng(2).integers(0, 50000, (1, 8))
    found = {}
    for kind, model in (("float32", Recognizer(TINY)), ("int8", load_model(tmp_path / "tiny.apr"))):
        found[kind] = model.logits(tokens, model.embed_audio(mel))
    error = np.sqrt(np.mean((found["int8"] - found["float32"]) ** 2)) / found["float32"].std()
    assert 0 < error <= 0.02
