"""Model files written by torch.save, transformers' save_pretrained and CTranslate2's converter."""

import copy
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hf_tokenizers
import models
from whisper_apr import load_model
from whisper_apr.checkpoint import expected_shapes
from whisper_apr.formats import Checkpoint, ModelDimensions, open_checkpoint
from whisper_apr.formats.apr.schema import plain_tensor
from whisper_apr.formats.vocabulary import read_vocabulary
from whisper_apr.tokenizer import get_tokenizer
from whisper_apr.tokenizer.bpe import unpack_vocabulary
from whisper_apr.tokenizer.special_tokens import special_names

pytestmark = pytest.mark.parity

# like distil-whisper and turbo, fewer decoder layers; like large-v3, 128 mels and 51,866 tokens
DIMS = ModelDimensions(128, 30, 64, 2, 3, 51866, 20, 64, 2, 1)
HEADS = [[0, 1]]


@pytest.fixture(scope="module")
def network(torch: Any) -> Any:
    """A model of transformers with random weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import WhisperConfig, WhisperForConditionalGeneration

        config = WhisperConfig(**models.config(DIMS), encoder_ffn_dim=256, decoder_ffn_dim=256)
        torch.manual_seed(1)
        network = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():  # biases and norms are initialized to zeros and ones, which would hide a mistake
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn(parameter.shape)
    network.generation_config.alignment_heads = HEADS
    return network


def state(network: Any) -> dict[str, np.ndarray]:
    return {name: value.detach().float().numpy() for name, value in network.state_dict().items()}


def check_tensors(checkpoint: Checkpoint, expected: dict[str, np.ndarray], rtol: float = 0) -> None:
    assert checkpoint.dims == DIMS
    for name in expected_shapes(DIMS):
        found = plain_tensor(DIMS, checkpoint.tensors, name).astype(np.float32)
        theirs = expected[models.huggingface_name(name)]
        if rtol == 0:
            assert np.array_equal(found, theirs), name
        else:
            assert np.abs(found - theirs).max() <= rtol * np.abs(theirs).max(), name


def logits(source: Any, **options: Any) -> np.ndarray:
    model = load_model(source, **options)
    mel = np.random.default_rng(2).standard_normal((1, DIMS.n_mels, 2 * DIMS.n_audio_ctx)).astype(np.float32)
    return model.logits(np.array([[50258, 50259, 7, 8]]), model.embed_audio(mel))


@pytest.fixture(scope="module")
def whole(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hf")
    network.save_pretrained(folder)
    return folder


def test_save_pretrained(network: Any, whole: Path, torch: Any) -> None:
    found = open_checkpoint(whole)
    assert found.alignment_heads == ((0, 1),)
    check_tensors(found, state(network))
    mel = np.random.default_rng(2).standard_normal((1, DIMS.n_mels, 2 * DIMS.n_audio_ctx)).astype(np.float32)
    theirs = network(input_features=torch.from_numpy(mel), decoder_input_ids=torch.tensor([[50258, 50259, 7, 8]]))
    expected = theirs.logits.numpy()
    np.testing.assert_allclose(logits(whole), expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_shards(network: Any, whole: Path, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path, max_shard_size="4MB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    check_tensors(open_checkpoint(tmp_path), state(network))
    assert np.array_equal(logits(tmp_path), logits(whole))


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision(network: Any, torch: Any, tmp_path: Path, kind: str) -> None:
    half = copy.deepcopy(network).to(getattr(torch, kind))
    half.save_pretrained(tmp_path)
    check_tensors(open_checkpoint(tmp_path), state(half))


def test_pytorch_model_bin(network: Any, whole: Path, torch: Any, tmp_path: Path) -> None:
    """transformers wrote this file until 2023, with the shared embedding under two names."""
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_bytes((whole / "config.json").read_bytes())
    check_tensors(open_checkpoint(tmp_path), state(network))
    assert np.array_equal(logits(tmp_path), logits(whole))


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_torch_save(network: Any, whole: Path, torch: Any, tmp_path: Path, kind: str) -> None:
    """openai-whisper's files are written in this way."""
    theirs = state(network)
    tensors = {
        name: torch.from_numpy(theirs[models.huggingface_name(name)]).to(getattr(torch, kind))
        for name in expected_shapes(DIMS)
    }
    torch.save({"dims": asdict(DIMS), "model_state_dict": tensors}, tmp_path / "model.pt")
    found = open_checkpoint(tmp_path / "model.pt")
    check_tensors(found, {models.huggingface_name(name): value.float().numpy() for name, value in tensors.items()})
    if kind == "float32":
        assert np.array_equal(logits(tmp_path / "model.pt"), logits(whole))


@pytest.mark.parametrize("kind", [None, "float16", "bfloat16", "int16", "int8", "int8_float16", "int8_bfloat16"])
def test_ctranslate2_converter(network: Any, whole: Path, tmp_path: Path, kind: str | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ctranslate2
        from ctranslate2.converters.transformers import WhisperLoader

    class NoTokenizer:
        additional_special_tokens: tuple[str, ...] = ()

    loader, copied = WhisperLoader(), copy.deepcopy(network)  # the converter rounds in place
    spec = loader.get_model_spec(copied)
    loader.set_config(spec.config, copied, NoTokenizer())
    spec.register_vocabulary([*hf_tokenizers.vocabulary(), *special_names(100)[1:]])
    spec.validate()
    spec.optimize(quantization=kind)
    spec.save(str(tmp_path))

    found = open_checkpoint(tmp_path)
    assert found.alignment_heads == ((0, 1),)
    check_tensors(found, state(network), {None: 0, "float16": 1e-3, "int16": 2e-3}.get(kind, 1e-2))
    if kind is None:
        assert np.array_equal(logits(tmp_path), logits(whole))
        return
    ours = logits(tmp_path)
    if kind != "int8":
        assert np.isfinite(ours).all()
        return
    # CTranslate2's int8 uses the same integer weights, but rounds activations differently
    mel = np.random.default_rng(2).standard_normal((1, DIMS.n_mels, 2 * DIMS.n_audio_ctx)).astype(np.float32)
    theirs = ctranslate2.models.Whisper(str(tmp_path), compute_type="int8", intra_threads=1)
    features = theirs.encode(ctranslate2.StorageView.from_array(mel))
    model = load_model(tmp_path)
    expected = np.array(features)
    assert np.abs(model.embed_audio(mel) - expected).max() <= 0.05 * np.abs(expected).max()


def test_int8_of_initial_weights(openai: Any, torch: Any, tmp_path: Path) -> None:
    """With torch's initial weights, int8 changes the logits by at most 2 % of their standard deviation."""
    torch.manual_seed(0)
    theirs = openai.model.Whisper(openai.model.ModelDimensions(**asdict(models.TINY)))
    torch.nn.init.normal_(theirs.decoder.positional_embedding, std=0.01)  # which openai-whisper does not initialize
    path = tmp_path / "random.pt"
    torch.save({"dims": asdict(models.TINY), "model_state_dict": theirs.state_dict()}, path)
    mel = np.random.default_rng(1).standard_normal((1, 80, 3000)).astype(np.float32)
    tokens = np.random.default_rng(2).integers(0, 50000, (1, 8))
    found = {}
    for kind in ("float32", "int8"):
        model = load_model(path, compute_type=kind)
        found[kind] = model.logits(tokens, model.embed_audio(mel))
    error = np.sqrt(np.mean((found["int8"] - found["float32"]) ** 2)) / found["float32"].std()
    assert 0 < error <= 0.02


def test_transformers_tokenizer(tmp_path: Path) -> None:
    """For a vocabulary that is not Whisper's, transformers saves `tokenizer.json` alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import WhisperTokenizer

        theirs = WhisperTokenizer(vocab=models.vocab_json(), merges=[])
        theirs.save_pretrained(tmp_path)
    vocabulary, _ = read_vocabulary(tmp_path, models.SPOKEN)
    assert unpack_vocabulary(vocabulary) == list(models.WORDS)
    tokens = [257, 258, 256, 33, 0xF0, 0x9F, 0x99, 0x82]
    ours = get_tokenizer(True, num_languages=2, vocabulary=vocabulary)
    assert ours.decode(tokens) == theirs.decode(tokens)
