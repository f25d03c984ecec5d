"""Files as trainers and downloads leave them: prefixes, shards, adapters, other names, and what is no model at all."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ct2_files
import ggml_files
import models
from models import SMALLEST, Made, Name, assert_same, huggingface_name, write_huggingface
from trainer_files import CONV, QUERY, TENSORS, Fields, lora, write_adapter, write_bin, write_pt_with
from whisper_apr.checkpoint import EMBEDDING, OUTPUT
from whisper_apr.errors import FormatError, ModelNotFoundError
from whisper_apr.formats import open_checkpoint
from whisper_apr.hub import find_checkpoint, is_path

NAMED = {huggingface_name(name): value for name, value in TENSORS.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_huggingface(tmp_path / "model", SMALLEST, TENSORS)


# ---- prefixes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "whisper.model.", "module._orig_mod.", "a.b.c."])
@pytest.mark.parametrize("terms", ["Hugging Face's", "openai-whisper's"])
def test_prefixes_of_trainers(tmp_path, folder, prefix, terms):
    tensors = {prefix + name: value for name, value in (NAMED if terms == "Hugging Face's" else TENSORS).items()}
    models.write_safetensors(folder / "model.safetensors", tensors)
    assert_same(open_checkpoint(folder), TENSORS)
    assert_same(open_checkpoint(models.write_pt(tmp_path / "model.pt", SMALLEST, tensors)), TENSORS)


def test_prefix_of_the_output_projection(folder):
    """It is beside Hugging Face's `model`, not in it."""
    tensors = {f"module.{name}": value for name, value in NAMED.items()} | {
        "module.proj_out.weight": TENSORS[EMBEDDING] + 1
    }
    models.write_safetensors(folder / "model.safetensors", tensors)
    np.testing.assert_array_equal(open_checkpoint(folder).tensors[OUTPUT], TENSORS[EMBEDDING] + 1)


# ---- names of files -------------------------------------------------------------------------------------------------


def test_fp16_variant(folder):
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    assert_same(open_checkpoint(folder), TENSORS)


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_a_shard_or_the_index_by_path(tmp_path, variant):
    folder = write_huggingface(tmp_path / "model", SMALLEST, TENSORS, shards=3)
    index = folder / "model.safetensors.index.json"
    index = index.rename(folder / f"model.safetensors.index{variant}.json")
    for path in (index, *folder.glob("*.safetensors"), folder):
        assert_same(open_checkpoint(path), TENSORS)
    index.unlink()
    with pytest.raises(FormatError, match=r"00001-of-00003\.safetensors: one of several shards, whose index"):
        open_checkpoint(folder / "model-00001-of-00003.safetensors")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin", "other.bin"])
def test_torchs_archive_with_config_beside_it(folder, name):
    (folder / "model.safetensors").unlink()
    path = write_bin(folder / name, NAMED)
    assert_same(open_checkpoint(path), TENSORS)
    if name != "other.bin":
        assert_same(open_checkpoint(folder), TENSORS)
    (folder / "config.json").unlink()
    with pytest.raises(FormatError, match=r"has no .dims.; weights of Hugging Face.s need config\.json"):
        open_checkpoint(path)


def test_openai_whispers_file_named_model_bin(tmp_path):
    models.write_pt(tmp_path / "model.bin", SMALLEST, TENSORS)
    assert_same(open_checkpoint(tmp_path), TENSORS)


@pytest.mark.parametrize("write", ["ggml", "openai"])
def test_a_folder_with_one_model(tmp_path, write):
    (tmp_path / "readme.txt").write_text("text")
    (tmp_path / "folder").mkdir()
    for name in ("one.bin", "two.bin"):
        if write == "ggml":
            ggml_files.write_ggml(tmp_path / name, SMALLEST, TENSORS)
        else:
            models.write_pt(tmp_path / name, SMALLEST, TENSORS)
        if name == "one.bin":
            assert_same(open_checkpoint(tmp_path), TENSORS)
    with pytest.raises(FormatError, match=r"several models, one\.bin, two\.bin; give the path of one"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [b"", b" \n", b"\xef\xbb\xbf{}", b'\xef\xbb\xbf{"alignment_heads": []}'])
def test_generation_config_that_is_empty_or_has_a_byte_order_mark(folder, content):
    (folder / "generation_config.json").write_bytes(content)
    assert_same(open_checkpoint(folder), TENSORS)
    (folder / "config.json").write_bytes(b"\xef\xbb\xbf" + (folder / "config.json").read_bytes())
    assert_same(open_checkpoint(folder), TENSORS)


def test_ctranslate2_config_that_is_empty(tmp_path):
    ct2_files.write_ct2(tmp_path, SMALLEST, TENSORS)
    (tmp_path / "config.json").write_text("")
    assert open_checkpoint(tmp_path).dims == SMALLEST


# ---- dims as an object ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [("whisper.model", "ModelDimensions"), ("copy.of.it", "ModelDimensions"), ("argparse", "Namespace")]
)
def test_dims_as_an_object(tmp_path, kind):
    path = write_pt_with(tmp_path / "model.pt", Fields(*kind, **asdict(SMALLEST)))
    assert_same(open_checkpoint(path), TENSORS)


def test_other_classes_are_not_made(tmp_path):
    path = write_pt_with(tmp_path / "model.pt", Fields("subprocess", "Popen", args="true"))
    with pytest.raises(FormatError, match=r"asks for subprocess\.Popen, which no checkpoint needs; it was not run"):
        open_checkpoint(path)
    models.write_pt(tmp_path / "call.pt", {"dims": 1}, TENSORS, more=Made(Name("whisper.model", "ModelDimensions"), 5))
    with pytest.raises(FormatError, match=r"n_mels must be"):
        open_checkpoint(tmp_path / "call.pt")


# ---- LoRA -----------------------------------------------------------------------------------------------------------


def merged(name: str, seed: int, scale: float, rank: int = 2) -> np.ndarray:
    a, b = lora(name, seed, rank).values()
    flat = b.reshape(len(b), -1) @ a.reshape(len(a), -1)
    return TENSORS[name] + (scale * flat).reshape(TENSORS[name].shape)


def check_merged(found: Any, **expected: np.ndarray) -> None:
    for name, value in TENSORS.items():
        np.testing.assert_allclose(found.tensors[name], expected.get(name, value), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 3.0),
        ({"use_rslora": True}, 6 / 2**0.5),
        ({"alpha_pattern": {"cross_attn.q_proj": 9, "encoder_attn.q_proj": 4}}, 2.0),
        ({"rank_pattern": {"layers.1.encoder_attn.q_proj": 4}}, 1.5),
        ({"use_dora": False, "bias": "none", "fan_in_fan_out": False, "layer_replication": None}, 3.0),
    ],
)
def test_an_adapter_is_merged(tmp_path, folder, config, scale):
    adapter = write_adapter(tmp_path / "adapter", str(folder), **config)
    check_merged(open_checkpoint(adapter), **{QUERY: merged(QUERY, 1, scale)})
    check_merged(open_checkpoint(adapter / "adapter_config.json"), **{QUERY: merged(QUERY, 1, scale)})


def test_convolutions_embeddings_and_whole_modules(tmp_path, folder):
    embedding = {name: value.astype(np.float32) for name, value in {
        "base_model.model.model.decoder.embed_tokens.lora_embedding_A": np.ones((2, SMALLEST.n_vocab)),
        "base_model.model.model.decoder.embed_tokens.lora_embedding_B": np.full((8, 2), 0.5),
    }.items()}  # fmt: skip
    norm = {"base_model.model.model.decoder.layer_norm.weight": np.full(8, 7, np.float32)}
    adapter = write_adapter(tmp_path / "adapter", str(folder), lora(CONV, 2) | embedding | norm)
    check_merged(
        open_checkpoint(adapter),
        **{CONV: merged(CONV, 2, 3), EMBEDDING: TENSORS[EMBEDDING] + 3, "decoder.ln.weight": np.full(8, 7)},
    )


def test_an_adapted_output_projection_is_untied(tmp_path, folder):
    name = "base_model.model.proj_out.lora_"
    parts = {
        f"{name}A.weight": np.ones((2, 8), np.float32),
        f"{name}B.weight": np.ones((SMALLEST.n_vocab, 2), np.float32),
    }
    found = open_checkpoint(write_adapter(tmp_path / "adapter", str(folder), parts))
    check_merged(found)
    np.testing.assert_allclose(found.tensors[OUTPUT], TENSORS[EMBEDDING] + 6, rtol=1e-6)


def test_half_precision_is_kept(tmp_path):
    half = {name: value.astype(np.float16) for name, value in TENSORS.items()}
    folder = write_huggingface(tmp_path / "model", SMALLEST, half)
    found = open_checkpoint(write_adapter(tmp_path / "adapter", str(folder))).tensors
    assert {value.dtype.name for value in found.values()} == {"float16"}
    np.testing.assert_allclose(found[QUERY], merged(QUERY, 1, 3), rtol=2e-3, atol=2e-3)


def test_where_the_base_is_looked_for(tmp_path, folder, monkeypatch):
    """A path as it is, or from the adapter's folder; a name in the cache of the Hugging Face hub."""
    adapter = write_adapter(tmp_path / "adapter", "../model")
    check_merged(open_checkpoint(adapter), **{QUERY: merged(QUERY, 1, 3)})
    monkeypatch.setattr(
        "whisper_apr.hub.find.cached_folder", lambda model, root: folder if model.repo == "org/base" else None
    )
    check_merged(find_checkpoint(write_adapter(adapter, "org/base")), **{QUERY: merged(QUERY, 1, 3)})
    write_adapter(adapter, "org/other")
    message = r"adapter: a LoRA adapter, not a whole model, and its base model 'org/other' is not there; download it "
    message += r"\(`whisper-apr download org/other`\), or put the path of its folder into adapter_config\.json"
    with pytest.raises(FormatError, match=message):
        find_checkpoint(adapter)
    with pytest.raises(FormatError, match=message):
        open_checkpoint(adapter)


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ({"peft_type": "LOHA"}, None, "an adapter of type 'LOHA'; only LORA can be merged: merge it with peft"),
        ({"use_dora": True}, None, r"use_dora = True is not supported; merge it with peft"),
        ({"bias": "all"}, None, "bias = 'all' is not supported"),
        ({"r": 0}, None, "r must be a number above 0, not 0"),
        ({"lora_alpha": "x"}, None, "lora_alpha must be a number above 0, not 'x'"),
        ({}, {"base_model.model.model.other.lora_A.weight": np.ones((2, 2), np.float32)}, "other are incomplete"),
        ({}, {"base_model.model.model.other.weight": np.ones((2, 2), np.float32)}, "it adapts other.weight"),
        ({}, {"base_model.model.model.decoder.layer_norm.weight": np.ones(5, np.float32)}, r"has floats \(8,\)"),
        ({}, {name: value[:, :3] for name, value in lora(QUERY, 1).items()}, r"do not fit a weight of shape \(8, 8\)"),
        ({}, {name: value[:0] for name, value in lora(QUERY, 1).items()}, r"do not fit a weight of shape \(8, 8\)"),
        ({"base_model_name_or_path": None}, None, "its base model '' is not there; put the path"),
        ({"base_model_name_or_path": "x" * 5000}, None, "is not there; put the path"),
    ],
)  # fmt: skip
def test_adapters_that_are_refused(tmp_path, folder, config, tensors, message):
    with pytest.raises(FormatError, match=message):
        open_checkpoint(write_adapter(tmp_path / "adapter", str(folder), tensors, **config))


def test_adapter_without_weights(tmp_path, folder):
    adapter = write_adapter(tmp_path / "adapter", str(folder))
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(FormatError, match=r"without its weights, adapter_model\.safetensors or adapter_model\.bin"):
        open_checkpoint(adapter)
    write_bin(adapter / "adapter_model.bin", lora(QUERY, 1))
    check_merged(open_checkpoint(adapter), **{QUERY: merged(QUERY, 1, 3)})


# ---- no model -------------------------------------------------------------------------------------------------------

NO_MODELS = {
    "git-lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "a Git LFS pointer to it; run `git",
    ),
    "html": (
        b"\n<!DOCTYPE html>\n<html>",
        "a web page; download the file itself, on the Hugging Face hub from an address",
    ),
    "html without doctype": (b"<HTML><head>", "a web page"),
    "gguf": (b"GGUF\3\0\0\0" + bytes(600), "a GGUF file, which is not supported; use whisper.cpp's ggml"),
}


@pytest.mark.parametrize("kind", NO_MODELS)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.bin", "ggml-tiny.bin", "tiny.pt"])
def test_what_is_not_a_model(folder, kind, name):
    content, message = NO_MODELS[kind]
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)
    for path in (folder / name, folder) if name.startswith(("model", "pytorch")) else (folder / name,):
        with pytest.raises(FormatError, match=f"{name}: .*{message}") as caught:
            open_checkpoint(path)
        assert not isinstance(caught.value.__cause__, FormatError)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_pointer_in_the_place_of_a_json_file(folder, name):
    (folder / name).write_bytes(NO_MODELS["git-lfs"][0])
    with pytest.raises(FormatError, match=rf"{name}: not the file but a Git LFS pointer"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("models/gmml-tiny.bin", r"; did you mean 'ggml-tiny\.bin'\?"),
        ("model/ggml-tiny.bin", "; there is no folder 'model' in "),
        ("./modelz", r"; did you mean 'models'\?"),
        ("models/a/b", "; there is no folder 'models/a' in "),
        ("models/zzz.pt", "; it is looked for in '.*models'"),
    ],
)
def test_mistyped_paths(tmp_path, monkeypatch, name, message):
    """They are not looked for on the Hugging Face hub."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "ggml-tiny.bin").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("whisper_apr.hub.find.open_model", lambda *_: pytest.fail("the hub was asked"))
    with pytest.raises(ModelNotFoundError, match=f"{name}: no such file or folder{message}"):
        find_checkpoint(name)


def test_a_name_that_may_be_a_path(tmp_path, monkeypatch):
    """One slash and no suffix can be a name on the hub; if it is not, the path is explained."""
    (tmp_path / "models" / "ggml-tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def missing(*_: Any) -> None:
        raise ModelNotFoundError("models/ggml-tin: the hub has no such repository")

    monkeypatch.setattr("whisper_apr.hub.find.open_model", missing)
    with pytest.raises(ModelNotFoundError, match=r"no such repository; nor is there .*; did you mean 'ggml-tiny'\?"):
        find_checkpoint("models/ggml-tin")
    with pytest.raises(ModelNotFoundError, match=r"no such repository$"):
        find_checkpoint("other/ggml-tin")
    check: Callable[[str], bool] = is_path
    assert not any(map(check, ["tiny", "org/name", "org/name@1.0"]))
    assert all(map(check, ["./tiny", "/tiny", "~/tiny", "a/b/c", "tiny.pt", "a\\b"]))
