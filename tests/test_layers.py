"""Conversion of checkpoint tensors: compute types, stacked projections, quantized matrices; accuracy of each."""

from pathlib import Path

import numpy as np
import pytest

from models import SMALLEST, TINY, random_tensors
from whisper_apr import load_model, simd
from whisper_apr.errors import FormatError, OptionError
from whisper_apr.formats import Checkpoint
from whisper_apr.model import Whisper
from whisper_apr.model.layers import Tensors, stacked

DATA = Path(__file__).parent / "data"
PARTS = ("query", "key", "value")


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_stacking_equals_the_stored_stack():
    by_name = random_tensors(SMALLEST, 0)
    name = "decoder.blocks.0.attn"
    for compute_type in simd.COMPUTE_TYPES:
        made = stacked(Tensors(by_name, compute_type), name, PARTS)
        stored = {f"{name}.query_key_value.weight": made.weight, f"{name}.query_key_value.bias": made.bias}
        again = stacked(Tensors(stored), name, PARTS)
        assert again.weight is made.weight
        np.testing.assert_array_equal(again.bias, made.bias)
        assert made.weight.dtype == compute_type
        np.testing.assert_array_equal(made.bias[8:16], 0)  # the key's


def test_quantized_and_packed_matrices_are_used_unchanged():
    by_name: dict[str, simd.Weight] = dict(random_tensors(SMALLEST, 0))
    mel = np.random.default_rng(0).standard_normal((1, 4, 12)).astype(np.float32)
    tokens = np.array([[1, 5, 3]])
    expected = Whisper(Checkpoint(SMALLEST, by_name), "int8")
    quantized = {
        name: simd.quantize_int8(tensor) if name.endswith("weight") and tensor.ndim == 2 else tensor
        for name, tensor in by_name.items()
    }
    packed = {
        name: simd.pack(tensor) if isinstance(tensor, simd.QuantizedWeight) else tensor
        for name, tensor in quantized.items()
    }
    for tensors in (quantized, packed):
        model = Whisper(Checkpoint(SMALLEST, tensors), "int8")
        np.testing.assert_array_equal(model.embed_audio(mel), expected.embed_audio(mel))
        features = expected.embed_audio(mel)
        np.testing.assert_array_equal(model.logits(tokens, features), expected.logits(tokens, features))


def test_float16_converts_only_matrices():
    by_name: dict[str, simd.Weight] = dict(random_tensors(SMALLEST, 0))
    table, packed = "decoder.token_embedding.weight", "encoder.blocks.0.mlp.0.weight"
    plain = by_name[packed]
    by_name |= {table: simd.quantize_int8(by_name[table]), packed: simd.pack(plain)}
    tensors = Tensors(by_name, "float16")
    assert tensors.matrix(table.removesuffix(".weight")).dtype == "int8"
    narrowed = tensors.matrix(packed.removesuffix(".weight"))
    assert narrowed.dtype == "float16"
    np.testing.assert_array_equal(narrowed.unpack(), plain.astype(np.float16))
    for name, value in by_name.items():
        if isinstance(value, np.ndarray) and (value.ndim == 1 or name.endswith("positional_embedding")):
            array = tensors.array(name)
            assert array.dtype == np.float32, name
            np.testing.assert_array_equal(array, value)


def test_invalid_tensors():
    checkpoint = Checkpoint(SMALLEST, random_tensors(SMALLEST, 0))
    with pytest.raises(OptionError, match="int16"):
        Whisper(checkpoint, "int16")
    for name, tensor in (
        ("encoder.blocks.0.mlp.0.weight", np.full((32, 8), np.nan, np.float32)),
        ("encoder.blocks.0.mlp.0.bias", simd.quantize_int8(np.ones((32, 1), np.float32))),
    ):
        with pytest.raises(FormatError, match=name.rsplit(".", 1)[0]):
            Whisper(Checkpoint(SMALLEST, {**checkpoint.tensors, name: tensor}), "int8")


def test_int8_logits_of_a_tiny_model():
    checkpoint = Checkpoint(TINY, random_tensors(TINY, 0))
    mel = np.random.default_rng(1).standard_normal((80, 3000)).astype(np.float32)
    tokens = np.random.default_rng(2).integers(0, TINY.n_vocab, (1, 8))
    logits = {}
    for compute_type in ("float32", "int8"):
        model = Whisper(checkpoint, compute_type)
        logits[compute_type] = model.logits(tokens, model.embed_audio(mel)[None])
    assert relative(logits["int8"], logits["float32"]) < 0.02


@pytest.mark.parametrize("compute_type", ["int8", "int4"])
def test_compute_types_give_the_same_text(compute_type):
    quantized = load_model("digits", compute_type=compute_type)
    whole = load_model("digits")
    for recording in ("en", "de", "es"):
        path = DATA / f"{recording}.wav"
        assert quantized.transcribe(path).text == whole.transcribe(path).text
