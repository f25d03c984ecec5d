"""CTranslate2 folders: every type, fused matrices, aliases, and damage."""

import struct

import numpy as np
import pytest

import ct2_files
import models
from whisper_apr import load_model
from whisper_apr.errors import FormatError
from whisper_apr.formats import open_checkpoint
from whisper_apr.formats.apr.schema import plain_tensor
from whisper_apr.formats.ctranslate2 import read_ctranslate2
from whisper_apr.simd import QuantizedWeight

DIMS = models.ODD  # different numbers of layers
TENSORS = models.random_tensors(DIMS, 5)
MEL = np.linspace(-1, 1, DIMS.n_mels * 2 * DIMS.n_audio_ctx, dtype=np.float32).reshape(1, DIMS.n_mels, -1)


def logits(model) -> np.ndarray:
    return model.logits(np.array([[1, 2, 3]]), model.embed_audio(MEL))


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "int16", "int8"])
def test_every_type(tmp_path, kind):
    floats = ct2_files.write_ct2(tmp_path / "model", DIMS, TENSORS, kind, alignment_heads=[[0, 1], [9, 9], "x"])
    found = open_checkpoint(tmp_path / "model")
    assert found.dims == DIMS
    assert found.alignment_heads == ((0, 1),)
    tolerance = {"float32": 0, "float16": 1e-3, "bfloat16": 8e-3, "int16": 1e-3, "int8": 5e-3}[kind]
    for name, value in TENSORS.items():
        error = np.abs(plain_tensor(DIMS, found.tensors, name).astype(np.float32) - value).max()
        assert error <= tolerance * np.abs(value).max(), name
    joined = floats["decoder/layer_1/attention/linear_1/weight"]
    parts = [found.tensors[f"decoder.blocks.1.cross_attn.{part}.weight"] for part in ("key", "value")]
    for part, expected in zip(parts, np.split(joined, 2), strict=True):
        if kind == "int8":
            assert isinstance(part, QuantizedWeight)
            np.testing.assert_allclose(part.dequantize(), expected, rtol=3e-7)
        else:
            assert np.array_equal(part, expected)
    model = load_model(tmp_path / "model" / "model.bin")
    assert (
        np.abs(logits(model) - logits(load_model(models.write_pt(tmp_path / "m.pt", DIMS, TENSORS)))).max()
        < 40 * tolerance + 1e-9
    )


def test_float32_logits_are_identical(tmp_path):
    ct2_files.write_ct2(tmp_path / "model", DIMS, TENSORS)
    plain = load_model(models.write_pt(tmp_path / "m.pt", DIMS, TENSORS))
    assert np.array_equal(logits(load_model(tmp_path / "model")), logits(plain))


@pytest.fixture
def whole(tmp_path):
    ct2_files.write_ct2(tmp_path / "model", DIMS, TENSORS, "int8")
    return (tmp_path / "model" / "model.bin").read_bytes()


def put(raw: bytes, name: str, form: str, at: int, value: float) -> bytes:
    """Return the file with a number changed, at an offset from the end of a variable's name."""
    changed = bytearray(raw)
    struct.pack_into(form, changed, raw.index(ct2_files.word(name)) + len(ct2_files.word(name)) + at, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:10], "cut off"),
        (lambda raw: raw[:-1], "cut off"),
        (lambda raw: raw[:5000], "cut off"),
        (lambda raw: raw + b"\0", "follow its end"),
        (lambda raw: b"\5" + raw[1:], "version 6"),
        (lambda raw: raw[:22] + b"\xff" * 4 + raw[26:], "4294967295 variables"),
        (lambda raw: put(raw, "encoder/num_heads", "<h", 6, -2), "n_audio_head"),
        (lambda raw: put(raw, "encoder/num_heads", "<B", 0, 99), "99 dimensions"),
        (lambda raw: put(raw, "encoder/conv1/weight", "<I", 1, 2**31), "has"),
        (lambda raw: put(raw, "encoder/conv1/weight", "<B", 13, 77), "type 77"),
        (lambda raw: put(raw, "encoder/conv2/weight_scale", "<f", 10, 0.0), "scales"),
        (lambda raw: put(raw, "encoder/conv2/weight_scale", "<f", 10, float("nan")), "scales"),
        (lambda raw: put(raw, "encoder/conv2/weight_scale", "<f", 10, 1e-37), "scales"),  # the weight is not finite
        (lambda raw: raw.replace(b"conv2/weight_scale", b"conv2/weight_scala"), "need a scale"),
        (lambda raw: raw.replace(b"layer_1/ffn/linear_0/weight\0", b"layer_1/ffn/linear_0/weighs\0"),
         "missing: decoder.blocks.1.mlp.0.weight"),
        (lambda raw: raw.replace(b"decoder/layer_1", b"decoder/layer_2"), "missing: decoder.blocks.1"),
    ],
)  # fmt: skip
def test_damaged(tmp_path, whole, change, message):
    changed = change(whole)
    assert changed != whole
    (tmp_path / "model" / "model.bin").write_bytes(changed)
    with pytest.raises(FormatError, match=message):
        load_model(tmp_path / "model")


def test_other_ctranslate2_model(tmp_path, whole):
    (tmp_path / "model" / "model.bin").write_bytes(whole.replace(b"WhisperSpec\0", b"MarianSpecc\0"))
    with pytest.raises(FormatError, match="not a Whisper model in CTranslate2's format"):
        read_ctranslate2(tmp_path / "model")
