"""The mixed int4 type: what has 8 bits, and which layer norm tells the power of a matrix's inputs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from whisper_apr.bench.models import DIMENSIONS, random_checkpoint
from whisper_apr.checkpoint import EMBEDDING, OUTLIERS, OUTPUT, Checkpoint, ModelDimensions, expected_shapes
from whisper_apr.errors import FormatError
from whisper_apr.formats.apr import read_apr, write_apr
from whisper_apr.formats.apr.header import FixedHeader
from whisper_apr.formats.apr.schema import plain_tensor
from whisper_apr.formats.apr.stream import AprStream
from whisper_apr.mixed import (
    INT4_BITS,
    INT8_BITS,
    MAX_BITS,
    input_power,
    int8_matrices,
    is_int8,
    outlier_count,
    outlier_inputs,
)
from whisper_apr.model.whisper import Whisper

SMALL = ModelDimensions(4, 8, 64, 2, 3, 300, 8, 64, 2, 2)


@pytest.mark.parametrize("size", DIMENSIONS)
@pytest.mark.parametrize("untied", [False, True])
def test_bits_are_within_the_limit_and_the_encoder_has_them(size: str, untied: bool) -> None:
    dims = DIMENSIONS[size]
    chosen = int8_matrices(dims, untied)
    sizes = {
        name: np.prod(shape)
        for name, shape in expected_shapes(dims, untied).items()
        if name.endswith(".weight") and len(shape) > 1
    }
    total = sum(sizes.values())
    bits = sum(n * (INT8_BITS if name in chosen else INT4_BITS) for name, n in sizes.items()) / total
    bits += INT8_BITS * dims.n_vocab * outlier_count(dims.n_text_state) / total
    assert bits <= MAX_BITS
    # no other layer of the encoder would fit, or all are chosen
    left = [n for name, n in sizes.items() if name.startswith("encoder") and name not in chosen]
    assert not left or bits + (INT8_BITS - INT4_BITS) * min(left) / total > MAX_BITS
    assert all(name.startswith("encoder.") for name in chosen - {OUTLIERS})
    assert {"encoder.conv1.weight", "encoder.conv2.weight", "encoder.blocks.0.mlp.2.weight"} <= chosen


def test_projections_of_one_input_have_one_type() -> None:
    chosen = int8_matrices(DIMENSIONS["small"])
    for i in range(DIMENSIONS["small"].n_audio_layer):
        stem = f"encoder.blocks.{i}.attn"
        kinds = {f"{stem}.{part}.weight" in chosen for part in ("query", "key", "value")}
        assert kinds == {is_int8(f"{stem}.query_key_value.weight", chosen)}


@pytest.mark.parametrize("untied", [False, True])
def test_power_is_that_of_the_input(untied: bool) -> None:
    """Inputs of power 0 have no effect on the output: the norm that a matrix follows is the one that is named."""
    tensors = dict(random_checkpoint(SMALL).tensors)
    if untied:
        tensors[OUTPUT] = np.ones((SMALL.n_vocab, SMALL.n_text_state), np.float32)
    norms = {name.removesuffix(".weight") for name in tensors if name.endswith(("ln.weight", "ln_post.weight"))}
    for i, norm in enumerate(sorted(norms)):
        tensors[f"{norm}.weight"] = np.full(64, i + 1, np.float32)
        tensors[f"{norm}.bias"] = np.full(64, 0.5, np.float32)
    expected = {
        "encoder.blocks.1.attn.query": "encoder.blocks.1.attn_ln",
        "encoder.blocks.1.attn.query_key_value": "encoder.blocks.1.attn_ln",
        "encoder.blocks.2.mlp.0": "encoder.blocks.2.mlp_ln",
        "decoder.blocks.1.attn.value": "decoder.blocks.1.attn_ln",
        "decoder.blocks.1.cross_attn.query": "decoder.blocks.1.cross_attn_ln",
        "decoder.blocks.1.cross_attn.key_value": "encoder.ln_post",
        "decoder.blocks.0.mlp.0": "decoder.blocks.0.mlp_ln",
        "decoder.token_embedding": None if untied else "decoder.ln",
        OUTPUT.removesuffix(".weight"): "decoder.ln" if untied else None,
        "encoder.conv2": None,
        "encoder.blocks.1.attn.out": None,
        "decoder.blocks.0.mlp.2": None,
        "decoder.blocks.0.cross_attn.out": None,
    }
    for name, norm in expected.items():
        power = input_power(tensors, f"{name}.weight")
        if norm is None:
            assert power is None
        else:
            assert power is not None
            np.testing.assert_array_equal(power, np.full(64, (sorted(norms).index(norm) + 1) ** 2 + 0.25))


def test_the_model_and_its_file_have_the_types() -> None:
    model = Whisper(random_checkpoint(DIMENSIONS["tiny"]), "int4")
    chosen = int8_matrices(DIMENSIONS["tiny"])
    for i, block in enumerate(model.encoder.blocks):
        for name, linear in (("attn.query", block.project), ("mlp.0", block.mlp.up), ("mlp.2", block.mlp.down)):
            assert (linear.weight.dtype == "int8") == (f"encoder.blocks.{i}.{name}.weight" in chosen)
    assert {model.encoder.conv1.linear.weight.dtype, model.encoder.conv2.linear.weight.dtype} == {"int8"}
    assert {block.mlp.down.weight.dtype for block in model.decoder.blocks} == {"int4"}
    assert model.decoder.tokens.dtype == "int4"


def test_int4_is_the_same_from_each_float_source(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(SMALL)
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.normal(0, 3, t.shape).astype(np.float32) if "ln" in name else t
        for name, t in checkpoint.tensors.items()
    }
    checkpoint = replace(checkpoint, tensors=tensors)
    write_apr(checkpoint, tmp_path / "32.apr", "float32")
    write_apr(read_apr(tmp_path / "32.apr"), tmp_path / "4.apr", "int4")
    mel = rng.normal(0, 1, (1, SMALL.n_mels, 2 * SMALL.n_audio_ctx)).astype(np.float32)
    tokens = rng.integers(0, SMALL.n_vocab, (1, 5))
    results = []
    for source in (checkpoint, read_apr(tmp_path / "32.apr")):
        model = Whisper(source, "int4")
        results.append(model.logits(tokens, model.encode(mel)))
    np.testing.assert_array_equal(results[0], results[1])
    kinds = {name: t.dtype for name, t in read_apr(tmp_path / "4.apr").tensors.items() if len(t.shape) == 2}
    assert kinds["encoder.blocks.0.attn.query_key_value.weight"] == "int8"
    assert kinds["decoder.blocks.0.attn.query_key_value.weight"] == "int4"
    write_apr(read_apr(tmp_path / "4.apr"), tmp_path / "again.apr", "int4")
    assert (tmp_path / "again.apr").read_bytes() == (tmp_path / "4.apr").read_bytes()


# ---- outliers -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["tied", "untied"])
def large_inputs(request: pytest.FixtureRequest) -> Checkpoint:
    """Return a model with a few inputs of the output projection that are far larger than the others."""
    checkpoint = random_checkpoint(SMALL)
    tensors = dict(checkpoint.tensors)
    weight = np.ones(64, np.float32)
    weight[[3, 10, 40]] = 40
    tensors["decoder.ln.weight"] = weight
    if request.param:
        tensors[OUTPUT] = np.random.default_rng(5).normal(0, 0.1, (SMALL.n_vocab, 64)).astype(np.float32)
    return replace(checkpoint, tensors=tensors)


def states() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 1, (4, 1, 64)).astype(np.float32)


def test_outliers_are_the_inputs_of_most_power(large_inputs: Checkpoint) -> None:
    found = outlier_inputs(large_inputs.tensors)
    assert len(found) == outlier_count(64) == 16
    assert {3, 10, 40} <= set(found)
    assert (np.diff(found) > 0).all()


def test_outliers_reduce_the_error(large_inputs: Checkpoint) -> None:
    exact = Whisper(large_inputs).decoder.logits(states())
    decoder = Whisper(large_inputs, "int4").decoder
    error = np.sqrt(np.mean((decoder.logits(states()) - exact) ** 2))
    decoder.outliers = None
    without = np.sqrt(np.mean((decoder.logits(states()) - exact) ** 2))
    assert 0 < error < 0.2 * without
    assert Whisper(large_inputs, "int8").decoder.outliers is None


def test_tokens_one_by_one_are_those_at_once(large_inputs: Checkpoint) -> None:
    """The outliers' kernels are captured too: each token has its own inputs."""
    model = Whisper(large_inputs, "int4")
    mel = np.random.default_rng(0).normal(0, 1, (1, SMALL.n_mels, 2 * SMALL.n_audio_ctx)).astype(np.float32)
    features, tokens = model.encode(mel), np.array([[5, 9, 200, 17, 3]])
    whole = model.logits(tokens, features)[0]
    cache = model.decoder.new_cache(features)
    for i, token in enumerate(tokens[0]):
        np.testing.assert_allclose(model.decoder(np.array([[token]]), cache)[0, 0], whole[i], rtol=1e-3, atol=1e-3)


def test_files_have_outliers(large_inputs: Checkpoint, tmp_path: Path) -> None:
    """An int4 file gives what quantizing at load gives, also as a stream; floats made of it have the columns again."""
    expected = Whisper(large_inputs, "int4").decoder.logits(states())
    write_apr(large_inputs, tmp_path / "4.apr", "int4")
    four = read_apr(tmp_path / "4.apr")
    assert (four.tensors[OUTLIERS].dtype, four.tensors[OUTLIERS].shape) == ("int8", (SMALL.n_vocab, 16))
    np.testing.assert_array_equal(Whisper(four).decoder.logits(states()), expected)
    stream = AprStream()
    stream.feed((tmp_path / "4.apr").read_bytes())
    np.testing.assert_array_equal(Whisper(stream.checkpoint).decoder.logits(states()), expected)
    write_apr(four, tmp_path / "32.apr", "float32")
    whole = read_apr(tmp_path / "32.apr")
    assert OUTLIERS not in whole.tensors
    name = OUTPUT if OUTPUT in whole.tensors else EMBEDDING
    columns = outlier_inputs(large_inputs.tensors)
    for found in (plain_tensor(SMALL, whole.tensors, name), plain_tensor(SMALL, four.tensors, name)):
        difference = np.abs(found - np.asarray(large_inputs.tensors[name], np.float32)).max(axis=0)
        assert difference[columns].max() < 0.2 * np.delete(difference, columns).max()
    for dtype in ("float16", "int8"):
        write_apr(large_inputs, tmp_path / "other.apr", dtype)
        assert OUTLIERS not in read_apr(tmp_path / "other.apr").tensors


def test_the_flag_must_agree_with_the_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that does not know the matrix must refuse the file, so bit 2 of the flags is set."""
    write_apr(random_checkpoint(SMALL), tmp_path / "4.apr", "int4")
    assert (tmp_path / "4.apr").read_bytes()[8] == 4
    pack = FixedHeader.pack
    monkeypatch.setattr(FixedHeader, "pack", lambda self: pack(replace(self, has_outliers=not self.has_outliers)))
    for dtype, message in (
        ("float32", r"'decoder\.output_outliers\.weight' is missing"),
        ("int4", "contradicts its flags"),
    ):
        write_apr(random_checkpoint(SMALL), tmp_path / "model.apr", dtype)
        with pytest.raises(FormatError, match=message):
            read_apr(tmp_path / "model.apr")


def test_an_int4_file_stays_int4(tmp_path: Path) -> None:
    """Files whose every matrix is int4, which earlier versions wrote, gain no bits."""
    from whisper_apr.simd import quantize_int4

    checkpoint = random_checkpoint(SMALL)
    tensors = {
        name: quantize_int4(np.asarray(t)) if name.endswith(".weight") and t.ndim == 2 else t
        for name, t in checkpoint.tensors.items()
    }
    write_apr(replace(checkpoint, tensors=tensors), tmp_path / "4.apr", "int4")
    kinds = {name: t.dtype for name, t in read_apr(tmp_path / "4.apr").tensors.items() if name.endswith("mlp.0.weight")}
    assert set(kinds.values()) == {"int4"}
