"""Hugging Face folders: single files and shards, names, damage, and hostile content."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from models import SMALLEST, assert_same, huggingface_name, random_tensors, write_huggingface, write_safetensors
from whisper_apr.errors import FormatError
from whisper_apr.formats import open_checkpoint
from whisper_apr.formats.safetensors import read_safetensors, read_tensors
from whisper_apr.formats.state_dict import openai_name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_huggingface(tmp_path / "model", SMALLEST, random_tensors(SMALLEST, 0))


def rewrite(path: Path, change: Any) -> None:
    """Change the object in a JSON file."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def rewrite_header(path: Path, change: Any) -> None:
    """Change the JSON header of a safetensors file."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + length])
    change(head)
    text = json.dumps(head).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


# ---- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("shards", [1, 3])
def test_folders(tmp_path: Path, dtype: type, shards: int) -> None:
    tensors = {name: value.astype(dtype) for name, value in random_tensors(SMALLEST, 0).items()}
    folder = write_huggingface(tmp_path / "model", SMALLEST, tensors, shards=shards)
    assert_same(open_checkpoint(folder), tensors)


def test_file_with_config_beside_it(folder: Path) -> None:
    assert_same(open_checkpoint(folder / "model.safetensors"), random_tensors(SMALLEST, 0))


def test_bfloat16(tmp_path: Path) -> None:
    tensors = random_tensors(SMALLEST, 0)
    halves = {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in tensors.items()}
    shortened = {name: (value.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, value in tensors.items()}
    assert_same(open_checkpoint(write_huggingface(tmp_path / "model", SMALLEST, halves)), shortened)


def test_same_as_openai_whispers_file(tmp_path: Path, folder: Path) -> None:
    theirs = models.write_pt(tmp_path / "model.pt", SMALLEST, random_tensors(SMALLEST, 0))
    assert_same(open_checkpoint(folder), dict(open_checkpoint(theirs).tensors))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("model.encoder.conv1.weight", "encoder.conv1.weight"),
        ("model.encoder.embed_positions.weight", "encoder.positional_embedding"),
        ("model.encoder.layer_norm.bias", "encoder.ln_post.bias"),
        ("model.encoder.layers.3.final_layer_norm.weight", "encoder.blocks.3.mlp_ln.weight"),
        ("model.encoder.layers.11.self_attn.k_proj.weight", "encoder.blocks.11.attn.key.weight"),
        ("model.decoder.embed_tokens.weight", "decoder.token_embedding.weight"),
        ("model.decoder.embed_positions.weight", "decoder.positional_embedding"),
        ("model.decoder.layer_norm.weight", "decoder.ln.weight"),
        ("model.decoder.layers.0.encoder_attn.out_proj.bias", "decoder.blocks.0.cross_attn.out.bias"),
        ("model.decoder.layers.0.encoder_attn_layer_norm.bias", "decoder.blocks.0.cross_attn_ln.bias"),
        ("model.decoder.layers.0.self_attn_layer_norm.bias", "decoder.blocks.0.attn_ln.bias"),
        ("model.decoder.layers.7.fc1.weight", "decoder.blocks.7.mlp.0.weight"),
        ("model.decoder.layers.7.fc2.bias", "decoder.blocks.7.mlp.2.bias"),
        ("decoder.layers.7.fc2.bias", "decoder.blocks.7.mlp.2.bias"),
    ],
)
def test_names(theirs: str, ours: str) -> None:
    assert openai_name(theirs) == ours


def test_names_round_trip() -> None:
    for name in random_tensors(SMALLEST, 0):
        assert openai_name(huggingface_name(name)) == name


def test_alignment_heads(folder: Path) -> None:
    path = folder / "generation_config.json"
    path.write_text(json.dumps({"alignment_heads": [[1, 1], [0, 1], [7, 0], "x", [1]]}))
    assert open_checkpoint(folder).alignment_heads == ((1, 1), (0, 1))
    path.write_text(json.dumps({"alignment_heads": "all"}))
    assert open_checkpoint(folder).alignment_heads == ()


def test_unaligned_data(folder: Path) -> None:
    """The header may have any length, so the data may begin at any byte."""
    for more in range(8):
        rewrite_header(folder / "model.safetensors", lambda head, n=more: head.update(__metadata__={"x": "y" * n}))
        assert_same(open_checkpoint(folder), random_tensors(SMALLEST, 0))


# ---- incomplete -----------------------------------------------------------------------------------------------------


def test_missing_and_wrong_tensors_are_named(tmp_path: Path) -> None:
    tensors = random_tensors(SMALLEST, 0)
    wrong = tensors | {"decoder.ln.weight": np.zeros((8, 1), np.float32)}
    with pytest.raises(FormatError, match=r"decoder\.ln\.weight \(8, 1\) instead of \(8,\)"):
        open_checkpoint(write_huggingface(tmp_path / "wrong", SMALLEST, wrong))
    del tensors["encoder.blocks.1.mlp.2.bias"]
    with pytest.raises(FormatError, match=r"missing: encoder\.blocks\.1\.mlp\.2\.bias"):
        open_checkpoint(write_huggingface(tmp_path / "missing", SMALLEST, tensors))


def test_missing_files_are_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FormatError, match=r"no model\.safetensors"):
        open_checkpoint(tmp_path)
    (folder / "config.json").unlink()
    with pytest.raises(FormatError, match=r"config\.json: No such file"):
        open_checkpoint(folder)
    shards = write_huggingface(tmp_path / "shards", SMALLEST, random_tensors(SMALLEST, 0), shards=2)
    (shards / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FormatError, match=r"model-00002-of-00002\.safetensors is missing"):
        open_checkpoint(shards)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": None}, "n_audio_state must be"),
        ({"d_model": 8.0}, "n_audio_state must be"),
        ({"vocab_size": 10**12}, "n_vocab must be"),
        ({"encoder_layers": -1}, "n_audio_layer must be"),
        ({"decoder_attention_heads": 5}, "must be a multiple of n_text_head 5"),
        ({"d_model": 4}, "wrong shape"),
    ],
)
def test_wrong_dimensions(folder: Path, change: dict[str, Any], message: str) -> None:
    rewrite(folder / "config.json", lambda config: config.update(change))
    with pytest.raises(FormatError, match=message):
        open_checkpoint(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000, '{"a": NaN', "\x00"])
def test_config_is_not_a_json_object(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(FormatError, match=r"config\.json"):
        open_checkpoint(folder)


# ---- damaged and hostile --------------------------------------------------------------------------------------------


def test_every_truncation_is_an_error(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in range(0, len(whole), 1 + len(whole) // 100):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"model\.safetensors"):
            open_checkpoint(folder)


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40, 100_000_000])
def test_header_longer_than_the_file(folder: Path, length: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(FormatError, match="header is longer"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {},
        {"dtype": "F32", "shape": [8]},
        {"dtype": "F32", "shape": 8, "data_offsets": [0, 32]},
        {"dtype": "F32", "shape": [8], "data_offsets": [0]},
        {"dtype": "F32", "shape": [8], "data_offsets": [0, 31]},
        {"dtype": "F32", "shape": [8], "data_offsets": [32, 0]},
        {"dtype": "F32", "shape": [8], "data_offsets": [-32, 0]},
        {"dtype": "F32", "shape": [8], "data_offsets": [10**15, 10**15 + 32]},
        {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 32]},
        {"dtype": "F32", "shape": [-8], "data_offsets": [0, 32]},
        {"dtype": "F32", "shape": [1] * 40, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": ["8"], "data_offsets": [0, 32]},
        {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]},
        {"dtype": ["F32"], "shape": [8], "data_offsets": [0, 32]},
    ],
)
def test_tensors_beyond_the_file(folder: Path, entry: Any) -> None:
    name = huggingface_name("decoder.ln.weight")
    rewrite_header(folder / "model.safetensors", lambda head: head.update({name: entry}))
    with pytest.raises(FormatError, match=f"tensor '{name}'"):
        open_checkpoint(folder)


@pytest.mark.parametrize("head", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_header_is_not_a_json_object(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    with pytest.raises(FormatError, match="header is not"):
        read_tensors(path)


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "a/b", "..\\secret", "C:secret", "", ".", "..", "a\0b", 3, None]
)
def test_index_names_a_file_outside_its_folder(tmp_path: Path, name: Any) -> None:
    write_safetensors(tmp_path / "secret.safetensors", {"x": np.zeros(1, np.float32)})
    folder = write_huggingface(tmp_path / "model", SMALLEST, random_tensors(SMALLEST, 0), shards=2)
    index = folder / "model.safetensors.index.json"
    rewrite(index, lambda value: value["weight_map"].update({"model.encoder.conv1.bias": name}))
    with pytest.raises(FormatError, match=r"index\.json: it (names the file|has no weight_map)"):
        open_checkpoint(folder)


def test_index_names_too_many_files(tmp_path: Path) -> None:
    folder = write_huggingface(tmp_path / "model", SMALLEST, random_tensors(SMALLEST, 0), shards=2)
    many = {f"tensor {i}": f"file {i}" for i in range(2000)}
    rewrite(folder / "model.safetensors.index.json", lambda value: value["weight_map"].update(many))
    with pytest.raises(FormatError, match="2002 files"):
        read_safetensors(folder)


def test_index_without_weight_map(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(FormatError, match="no weight_map"):
        open_checkpoint(tmp_path)
