"""The commands `whisper-apr convert` and `whisper-apr inspect`."""

import numpy as np
import pytest

import ct2_files
import ggml_files
import models
from whisper_apr import DecodingOptions, load_model
from whisper_apr.cli import main
from whisper_apr.formats import ModelDimensions
from whisper_apr.formats.apr import read_apr
from whisper_apr.formats.apr.schema import plain_tensor
from whisper_apr.inference.decode import DecodingTask

DIMS = ModelDimensions(4, 6, 32, 2, 1, 11, 5, 32, 2, 2)
TENSORS = models.random_tensors(DIMS, 9)
MEL = np.linspace(-1, 1, DIMS.n_mels * 2 * DIMS.n_audio_ctx, dtype=np.float32).reshape(1, DIMS.n_mels, -1)


def run(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def logits(source, **options) -> np.ndarray:
    model = load_model(source, **options)
    return model.logits(np.array([[1, 2, 3]]), model.embed_audio(MEL))


def write_pytorch_model_bin(folder) -> None:
    """Write a folder in Hugging Face's older format, whose tensors are in a file of torch.save."""
    state, data = {}, {}
    for key, (name, value) in enumerate(TENSORS.items()):
        state[models.huggingface_name(name)] = models.tensor(
            models.Storage("FloatStorage", str(key), value.size), value.shape
        )
        data[str(key)] = value.tobytes()
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    models.write_huggingface(folder, DIMS, {})
    (folder / "model.safetensors").unlink()
    models.write_archive(folder / "pytorch_model.bin", models.pickled(state), data)


@pytest.fixture
def sources(tmp_path):
    """The same model in every format."""
    ggml_files.write_ggml(tmp_path / "ggml.bin", DIMS, TENSORS)
    ct2_files.write_ct2(tmp_path / "ct2", DIMS, TENSORS)
    write_pytorch_model_bin(tmp_path / "bin")
    return {
        "pt": models.write_pt(tmp_path / "model.pt", DIMS, TENSORS),
        "hf": models.write_huggingface(tmp_path / "hf", DIMS, TENSORS, shards=2),
        "ggml": tmp_path / "ggml.bin",
        "ct2": tmp_path / "ct2",
        "bin": tmp_path / "bin",
    }


def test_every_format_gives_the_same_tensors_and_logits(sources, tmp_path):
    expected = logits(sources["pt"])
    tensors = {}
    for name, source in sources.items():
        assert run("convert", source, tmp_path / f"{name}.apr") == 0
        assert np.array_equal(logits(tmp_path / f"{name}.apr"), expected), name
        assert np.array_equal(logits(source), expected), name
        tensors[name] = read_apr(tmp_path / f"{name}.apr").tensors
        for tensor in TENSORS:
            assert np.array_equal(plain_tensor(DIMS, tensors[name], tensor), TENSORS[tensor]), (name, tensor)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4"])
def test_converting_twice_changes_nothing(sources, tmp_path, capsys, dtype):
    first, second = tmp_path / "first.apr", tmp_path / "second.apr"
    assert run("convert", sources["pt"], first, "--dtype", dtype, "--compress") == 0
    assert run("convert", first, second, "--compress") == 0
    assert first.read_bytes() == second.read_bytes()
    if dtype.startswith("int"):
        np.testing.assert_array_equal(logits(first, compute_type=dtype), logits(sources["pt"], compute_type=dtype))
    capsys.readouterr()
    assert run("inspect", first, "--tensors") == 0
    out = capsys.readouterr().out
    assert f"{dtype}:" in out
    assert "blocks verified" in out
    assert "source:           model.pt" in out
    (line,) = [line for line in out.splitlines() if line.startswith("decoder.token_embedding.weight")]
    *_, kind, rows, x, columns, size, mean, deviation = line.split()
    assert (kind, rows, x, columns) == (dtype, "11", "x", "32")
    table = TENSORS["decoder.token_embedding.weight"]
    assert float(mean) == pytest.approx(table.mean(), abs=2e-3)
    assert float(deviation) == pytest.approx(table.std(), abs=5e-3)
    assert int(size) > 0


@pytest.mark.parametrize("kind", ["q4_0", "q8_0"])
def test_a_quantized_source_stays_quantized(tmp_path, kind):
    ggml_files.write_ggml(tmp_path / "ggml.bin", DIMS, TENSORS, kind)
    assert run("convert", tmp_path / "ggml.bin", tmp_path / "small.apr") == 0
    assert np.array_equal(logits(tmp_path / "small.apr"), logits(tmp_path / "ggml.bin"))
    assert run("convert", tmp_path / "ggml.bin", tmp_path / "large.apr", "--dtype", "float32") == 0
    assert np.array_equal(logits(tmp_path / "large.apr"), logits(tmp_path / "ggml.bin", compute_type="float32"))


def test_an_int8_ctranslate2_model_is_not_changed(tmp_path):
    ct2_files.write_ct2(tmp_path / "ct2", DIMS, TENSORS, "int8")
    assert run("convert", tmp_path / "ct2", tmp_path / "small.apr") == 0
    assert np.array_equal(logits(tmp_path / "small.apr"), logits(tmp_path / "ct2"))
    matrix = read_apr(tmp_path / "small.apr").tensors["decoder.blocks.0.mlp.0.weight"]
    assert matrix.dtype == "int8"


def test_suppressed_tokens_of_the_model(tmp_path):
    """Those of generation_config.json are kept in the .apr file, and are used by default."""
    dims = models.dimensions(32, 2, 1, audio_ctx=1500)
    source = models.write_huggingface(tmp_path / "hf", dims, models.random_tensors(dims, 4))
    ours = load_model(source)
    mel = np.zeros((80, 3000), np.float32)
    usual = DecodingTask(ours, DecodingOptions(language="en")).suppressed_tokens
    (source / "generation_config.json").write_text('{"suppress_tokens": [5, 7, "x", 99999999]}')
    assert run("convert", source, tmp_path / "model.apr") == 0
    for path in (source, tmp_path / "model.apr"):
        model = load_model(path)
        assert model.suppress_tokens == (5, 7)
        found = DecodingTask(model, DecodingOptions(language="en")).suppressed_tokens
        assert set(found) < set(usual) | {5, 7}
        assert 5 in found
        assert 60 not in found
        assert 60 in usual
        assert model.decode(mel, language="en", sample_len=3).tokens
    ct2_files.write_ct2(tmp_path / "ct2", DIMS, TENSORS, suppress_ids=[3])
    assert load_model(tmp_path / "ct2").suppress_tokens == (3,)


def test_errors(sources, tmp_path, capsys):
    assert run("convert", tmp_path / "nothing", tmp_path / "out.apr") == 1
    assert run("convert", sources["pt"], tmp_path / "no folder" / "out.apr") == 1
    assert "cannot be written" in capsys.readouterr().err
    assert run("convert", sources["pt"], tmp_path / "out.apr", "--dtype", "int3") == 2
    assert run("convert", sources["pt"], tmp_path / "out.apr") == 0
    raw = bytearray((tmp_path / "out.apr").read_bytes())
    raw[-5] ^= 1
    (tmp_path / "out.apr").write_bytes(raw)
    capsys.readouterr()
    assert run("inspect", tmp_path / "out.apr") == 1
    assert "damaged" in capsys.readouterr().err
    assert run("inspect", sources["hf"]) == 0
