"""whisper.cpp's files: every tensor type, and damage."""

import struct

import numpy as np
import pytest

import ggml_files
import models
from whisper_apr import load_model
from whisper_apr.errors import FormatError
from whisper_apr.formats import ModelDimensions, open_checkpoint
from whisper_apr.formats.ggml import read_ggml
from whisper_apr.simd import QuantizedWeight

DIMS = ModelDimensions(4, 6, 32, 2, 1, 11, 5, 32, 2, 2)
TENSORS = models.random_tensors(DIMS, 5)
MEL = np.linspace(-1, 1, DIMS.n_mels * 2 * DIMS.n_audio_ctx, dtype=np.float32).reshape(1, DIMS.n_mels, -1)
KINDS = tuple(ggml_files.TYPES)


def logits(model) -> np.ndarray:
    return model.logits(np.array([[1, 2, 3]]), model.embed_audio(MEL))


@pytest.mark.parametrize("kind", KINDS)
def test_exact_floats(tmp_path, kind):
    expected = ggml_files.write_ggml(tmp_path / "model.bin", DIMS, TENSORS, kind)
    found = open_checkpoint(tmp_path / "model.bin", exact=True)
    assert found.dims == DIMS
    assert list(found.tensors) == list(expected)
    for name, values in expected.items():
        assert np.array_equal(found.tensors[name], values), name
        assert np.abs(np.float32(values) - TENSORS[name]).max() <= 0.2 * np.abs(TENSORS[name]).max(), name
    plain = models.write_pt(tmp_path / "model.pt", DIMS, expected)
    exact = load_model(tmp_path / "model.bin", compute_type="float32")
    assert np.array_equal(logits(exact), logits(load_model(plain)))


@pytest.mark.parametrize(
    ("kind", "error"), [("q2_k", 0.37), ("q3_k", 0.19), ("q4_k", 0.09), ("q5_k", 0.05), ("q6_k", 0.025)]
)
def test_k_quants(tmp_path, kind, error):
    """They become int8, or float32 exactly as they are; `error` is of rounding to nearest, relative RMS."""
    dims = ModelDimensions(4, 6, 256, 4, 1, 11, 5, 256, 4, 1)
    tensors = models.random_tensors(dims, 5)
    ggml_files.write_ggml(tmp_path / "model.bin", dims, tensors, kind)
    exact, small = read_ggml(tmp_path / "model.bin", exact=True).tensors, read_ggml(tmp_path / "model.bin").tensors
    for name, values in tensors.items():
        if values.ndim != 2 or not name.endswith(".weight"):
            continue
        found = exact[name]
        assert found.dtype == np.float32
        rms = np.sqrt(np.mean(values**2))
        assert error / 3 < np.sqrt(np.mean((found - values) ** 2)) / rms < error, name
        weight = small[name]
        assert isinstance(weight, QuantizedWeight)
        assert weight.dtype == "int8"
        assert np.sqrt(np.mean((weight.dequantize() - found) ** 2)) / rms < 0.008, name
    assert np.isfinite(logits(load_model(tmp_path / "model.bin"))).all()


def test_rows_that_are_no_whole_blocks(tmp_path):
    """whisper.cpp cannot have such a tensor either."""
    ggml_files.write_ggml(tmp_path / "model.bin", DIMS, TENSORS, "q8_0")
    raw = (tmp_path / "model.bin").read_bytes()
    name = b"decoder.token_embedding.weight"
    at = raw.index(name) - 8
    changed = raw[: at - 4] + struct.pack("<i", 12) + raw[at:]
    (tmp_path / "model.bin").write_bytes(changed)
    with pytest.raises(FormatError, match=r"of type q4_k cannot have the shape \(11, 32\)"):
        read_ggml(tmp_path / "model.bin")


@pytest.mark.parametrize(
    ("kind", "ours"), [("q4_0", "int4"), ("q4_1", "int8"), ("q5_0", "int8"), ("q5_1", "int8"), ("q8_0", "int8")]
)
def test_quantized_types_stay_small(tmp_path, kind, ours):
    expected = ggml_files.write_ggml(tmp_path / "model.bin", DIMS, TENSORS, kind)
    found = read_ggml(tmp_path / "model.bin").tensors
    for name, values in expected.items():
        weight = found[name]
        if values.ndim != 2 or not name.endswith(".weight"):
            assert np.array_equal(weight, values)
            continue
        assert isinstance(weight, QuantizedWeight)
        assert weight.dtype == ours
        if ours == "int4":
            assert np.array_equal(weight.dequantize(), values)
        else:  # at most half a step of int8
            step = np.abs(values).max(axis=1, keepdims=True) / 127
            assert (np.abs(weight.dequantize() - values) <= 0.501 * step).all()
    model = load_model(tmp_path / "model.bin")
    assert np.isfinite(logits(model)).all()


def test_detected_by_content(tmp_path):
    ggml_files.write_ggml(tmp_path / "model.wav", DIMS, TENSORS)
    assert open_checkpoint(tmp_path / "model.wav").dims == DIMS


def head(raw: bytes, field: int, value: int) -> bytes:
    changed = bytearray(raw)
    struct.pack_into("<i", changed, 4 + 4 * field, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:20], "cut off"),
        (lambda raw: raw[:-1], "cut off"),
        (lambda raw: raw[:-1000], "cut off|missing"),
        (lambda raw: raw + b"\0", "cut off"),
        (lambda raw: head(raw, 0, 12), "wrong shape"),
        (lambda raw: head(raw, 0, 2**31 - 1), "n_vocab"),
        (lambda raw: head(raw, 2, -8), "n_audio_state"),
        (lambda raw: head(raw, 4, 2), "missing: encoder.blocks.1"),
        (lambda raw: head(raw, 9, 5), "mel filters"),
        (lambda raw: head(raw, 12, 2**31 - 1), "cut off"),
        (lambda raw: raw.replace(b"decoder.ln.bias", b"decoder.ln.bios"), "missing: decoder.ln.bias"),
        (lambda raw: raw.replace(struct.pack("<3i", 1, 15, 0), struct.pack("<3i", 1, 15, 31)), "type 31"),
    ],
)  # fmt: skip
def test_damaged(tmp_path, change, message):
    ggml_files.write_ggml(tmp_path / "model.bin", DIMS, TENSORS)
    raw = (tmp_path / "model.bin").read_bytes()
    changed = change(raw)
    assert changed != raw
    (tmp_path / "model.bin").write_bytes(changed)
    with pytest.raises(FormatError, match=message):
        read_ggml(tmp_path / "model.bin")


@pytest.mark.parametrize("kind", ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"])
@pytest.mark.parametrize("scale", [float("inf"), float("nan")])
def test_non_finite_scales(tmp_path, kind, scale):
    ggml_files.write_ggml(tmp_path / "model.bin", DIMS, TENSORS, kind)
    raw = bytearray((tmp_path / "model.bin").read_bytes())
    name = b"decoder.blocks.0.mlp.0.weight"
    at = raw.index(name) + len(name)
    raw[at : at + 2] = struct.pack("<e", scale)
    (tmp_path / "model.bin").write_bytes(raw)
    with pytest.raises(FormatError, match=r"mlp\.0"):
        load_model(tmp_path / "model.bin")
    with pytest.raises(FormatError, match=r"tensor .decoder.blocks.0.mlp.0.weight. contains infinity or NaN"):
        read_ggml(tmp_path / "model.bin", exact=True).tensors[name.decode()]
