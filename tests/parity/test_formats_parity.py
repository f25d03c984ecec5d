"""Files as the real tools write them: torch.save, transformers' save_pretrained, CTranslate2's converter."""

import copy
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from whisper_apr import load_model
from whisper_apr.checkpoint import expected_shapes
from whisper_apr.formats import Checkpoint, ModelDimensions, open_checkpoint
from whisper_apr.formats.apr.schema import plain_tensor
from whisper_apr.formats.vocabulary import read_vocabulary
from whisper_apr.tokenizer import get_tokenizer
from whisper_apr.tokenizer.bpe import unpack_vocabulary

pytestmark = pytest.mark.parity

# as distil-whisper and turbo: fewer layers of the decoder; 128 mels and the vocabulary of large-v3
DIMS = ModelDimensions(128, 30, 64, 2, 3, 51866, 20, 64, 2, 1)
HEADS = [[0, 1]]


@pytest.fixture(scope="module")
def network(torch: Any) -> Any:
    """transformers' model of random weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import WhisperConfig, WhisperForConditionalGeneration

        config = WhisperConfig(**models.config(DIMS), encoder_ffn_dim=256, decoder_ffn_dim=256)
        torch.manual_seed(1)
        network = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():  # biases and norms begin as zeros and ones, which would hide a mistake
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
def test_halves(network: Any, torch: Any, tmp_path: Path, kind: str) -> None:

    half = copy.deepcopy(network).to(getattr(torch, kind))
    half.save_pretrained(tmp_path)
    check_tensors(open_checkpoint(tmp_path), state(half))


def test_pytorch_model_bin(network: Any, whole: Path, torch: Any, tmp_path: Path) -> None:
    """As transformers wrote it until 2023, with the tied table named twice."""
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_bytes((whole / "config.json").read_bytes())
    check_tensors(open_checkpoint(tmp_path), state(network))
    assert np.array_equal(logits(tmp_path), logits(whole))


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_torch_save(network: Any, whole: Path, torch: Any, tmp_path: Path, kind: str) -> None:
    """As openai-whisper's files are made."""
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
def test_ctranslate2s_converter(network: Any, whole: Path, tmp_path: Path, kind: str | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ctranslate2
        from ctranslate2.converters.transformers import WhisperLoader

    class NoTokenizer:
        additional_special_tokens: tuple[str, ...] = ()

    loader, copied = WhisperLoader(), copy.deepcopy(network)  # it rounds in place
    spec = loader.get_model_spec(copied)
    loader.set_config(spec.config, copied, NoTokenizer())
    spec.register_vocabulary([str(i) for i in range(DIMS.n_vocab)])
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
    # beside CTranslate2's own int8: two ways of rounding activations, of the same whole numbers
    mel = np.random.default_rng(2).standard_normal((1, DIMS.n_mels, 2 * DIMS.n_audio_ctx)).astype(np.float32)
    theirs = ctranslate2.models.Whisper(str(tmp_path), compute_type="int8", intra_threads=1)
    features = theirs.encode(ctranslate2.StorageView.from_array(mel))
    model = load_model(tmp_path)
    expected = np.array(features)
    assert np.abs(model.embed_audio(mel) - expected).max() <= 0.05 * np.abs(expected).max()


def test_int8_of_weights_as_training_begins_with_them(openai: Any, torch: Any, tmp_path: Path) -> None:
    """openai-whisper's own random weights, as torch makes them: int8 moves the logits by at most 2 % of their deviation."""
    torch.manual_seed(0)
    theirs = openai.model.Whisper(openai.model.ModelDimensions(**asdict(models.TINY)))
    torch.nn.init.normal_(theirs.decoder.positional_embedding, std=0.01)  # which openai-whisper leaves as memory was
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


def test_a_tokenizer_of_transformers(tmp_path: Path) -> None:
    """As it saves a vocabulary that is not Whisper's: `tokenizer.json` alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import WhisperTokenizer

        theirs = WhisperTokenizer(vocab=models.vocab_json(), merges=[])
        theirs.save_pretrained(tmp_path)
    vocabulary = read_vocabulary(tmp_path, models.SPOKEN)
    assert unpack_vocabulary(vocabulary) == list(models.WORDS)
    tokens = [257, 258, 256, 33, 0xF0, 0x9F, 0x99, 0x82]
    ours = get_tokenizer(True, num_languages=2, vocabulary=vocabulary)
    assert ours.decode(tokens) == theirs.decode(tokens)
