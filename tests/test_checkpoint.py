"""Checkpoints: dimensions, the tensors that a model needs, and errors."""

from importlib.resources import as_file, files
from typing import Any

import numpy as np
import pytest

import models
from models import SMALLEST, random_tensors
from whisper_apr.checkpoint import expected_shapes, make_checkpoint, make_dimensions
from whisper_apr.errors import FormatError
from whisper_apr.formats import open_checkpoint


def test_parameter_counts() -> None:
    """In millions as in openai/whisper's README, and exactly for tiny."""
    counts = {}
    for name, (width, heads, layers) in {
        "tiny": (384, 6, 4),
        "base": (512, 8, 6),
        "small": (768, 12, 12),
        "medium": (1024, 16, 24),
        "large-v3": (1280, 20, 32),
    }.items():
        v3 = name == "large-v3"
        dims = models.dimensions(width, heads, layers, n_mels=128 if v3 else 80, n_vocab=51866 if v3 else 51865)
        shapes = {n: s for n, s in expected_shapes(dims).items() if n != "encoder.positional_embedding"}
        counts[name] = sum(int(np.prod(shape)) for shape in shapes.values())
    assert counts["tiny"] == 37_184_640
    for name, millions in (("base", 72), ("small", 241), ("medium", 762), ("large-v3", 1541)):
        assert counts[name] / 1e6 == pytest.approx(millions, abs=1.5)


def test_key_projections_have_no_bias() -> None:
    names = expected_shapes(models.BASE)
    assert not [name for name in names if name.endswith("key.bias")]
    assert len([name for name in names if name.endswith("key.weight")]) == 6 + 2 * 6
    assert not [name for name in names if "proj" in name]  # the output projection is the token embedding


def test_encoder_positions_are_sinusoids() -> None:
    """As in openai-whisper: sines, then cosines, and the last rate is 1/10000."""
    table = models.sinusoids(1500, 128)
    np.testing.assert_allclose(table[1, [0, 63, 64, 127]], np.r_[np.sin([1, 1e-4]), np.cos([1, 1e-4])], atol=1e-6)
    path = files("whisper_apr").joinpath("assets", "digits.pt")
    with as_file(path) as file:
        read = open_checkpoint(file).tensors["encoder.positional_embedding"]
    np.testing.assert_allclose(read, table, atol=2e-3)  # float16 of values up to 1, angles in float32


def test_extra_tensors_are_ignored() -> None:
    tensors = random_tensors(SMALLEST, 0)
    checkpoint = make_checkpoint(SMALLEST, tensors | {"more": np.zeros(3)}, "here", ((1, 1), (2, 0), (0, -1)))
    assert list(checkpoint.tensors) == list(expected_shapes(SMALLEST))
    assert checkpoint.alignment_heads == ((1, 1),)


@pytest.mark.parametrize("name", expected_shapes(SMALLEST))
def test_every_tensor_is_needed(name: str) -> None:
    tensors = random_tensors(SMALLEST, 0)
    value = tensors.pop(name)
    with pytest.raises(FormatError, match=f"^here: tensors are missing: {name};"):
        make_checkpoint(SMALLEST, tensors, "here")
    with pytest.raises(FormatError, match=f"^here: tensors have the wrong shape: {name} "):
        make_checkpoint(SMALLEST, tensors | {name: value[None]}, "here")
    with pytest.raises(FormatError, match=f"^here: .* {name} .int32."):
        make_checkpoint(SMALLEST, tensors | {name: value.astype(np.int32)}, "here")


@pytest.mark.parametrize("name", models.asdict(SMALLEST))
@pytest.mark.parametrize("value", [None, 0, -1, 10**9, 2**70, 1.5, "8", True, [8], float("nan")])
def test_every_dimension_is_checked(name: str, value: Any) -> None:
    with pytest.raises(FormatError, match=f"^here: {name} must be an integer from 1 to"):
        make_dimensions(models.asdict(SMALLEST) | {name: value}, "here")


def test_inconsistent_dimensions() -> None:
    values = models.asdict(SMALLEST)
    assert make_dimensions(values, "here") == SMALLEST
    with pytest.raises(FormatError, match=r"n_text_state 8 must be a multiple of n_text_head 3"):
        make_dimensions(values | {"n_text_head": 3}, "here")
    with pytest.raises(FormatError, match="n_audio_state 8 and n_text_state 16 must be equal"):
        make_dimensions(values | {"n_text_state": 16}, "here")


def test_enormous_dimensions_allocate_nothing() -> None:
    """With every dimension at its limit, missing tensors are found from names and shapes alone."""
    largest = models.dimensions(4096, 128, 128, n_mels=256, n_vocab=200_000, audio_ctx=6000, text_ctx=4096)
    assert make_dimensions(models.asdict(largest), "here") == largest
    with pytest.raises(FormatError, match="tensors are missing"):
        make_checkpoint(largest, {}, "here")
