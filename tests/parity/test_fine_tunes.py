"""Models that transformers, peft and CTranslate2's converter have saved, after changes that trainers make."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hf_tokenizers
import models
from whisper_apr import load_model
from whisper_apr.formats import open_checkpoint
from whisper_apr.formats.apr import write_apr
from whisper_apr.formats.ggml_types import TYPES
from whisper_apr.formats.vocabulary import read_vocabulary

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # transformers warns of its own deprecations

N_TOKEN = 12  # generated tokens
WORDS = ("Wiesenpieper", " 鷺")  # transformers decodes an added "ü" as the byte 0xFC


def generation_config(tokenizer: Any, multilingual: bool) -> dict[str, Any]:
    """Return what OpenAI's generation_config.json has, for a tokenizer."""
    ids = tokenizer.get_vocab()
    languages = {name: n for name, n in ids.items() if len(name) in (6, 7) and name not in ("<|0.00|>",)}
    languages = {name: n for name, n in languages.items() if name.startswith("<|") and name[2:-2].isalpha()}
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    first = ids["<|translate|>"]
    times = [n for name, n in ids.items() if name.startswith("<|") and name[2].isdigit()]
    content: dict[str, Any] = {
        "alignment_heads": [[1, 0]],
        "begin_suppress_tokens": [220, end],
        "bos_token_id": end,
        "decoder_start_token_id": start,
        "eos_token_id": end,
        "pad_token_id": end,
        "is_multilingual": multilingual,
        "max_length": 448,
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        # whisper_apr suppresses special tokens as openai-whisper does, transformers those that are listed; timestamps
        # would divide the text into segments, which are decoded one after the other
        "suppress_tokens": [start, *range(first, first + 6), *languages.values(), *times],
    }
    if multilingual:
        content |= {"lang_to_id": languages, "task_to_id": {"translate": first, "transcribe": first + 1}}
    return content


def make_network(torch: Any, n_vocab: int, **config: Any) -> Any:
    """Return a small network of transformers with random weights."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    dims = models.dimensions(64, 2, 2, n_vocab=n_vocab)
    torch.manual_seed(3)
    settings = models.config(dims) | {"encoder_ffn_dim": 256, "decoder_ffn_dim": 256, "init_std": 0.2} | config
    network = WhisperForConditionalGeneration(WhisperConfig(**settings)).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn(parameter.shape)
            if name.endswith("decoder.embed_positions.weight"):
                parameter *= 4  # otherwise the same token is generated for ever
    return network


def favor(torch: Any, network: Any, tokens: Sequence[int], others: Sequence[int]) -> None:
    """Make tokens more likely than those that are generated, so that they are."""
    with torch.no_grad():
        table = network.get_output_embeddings().weight
        for token, other in zip(tokens, others, strict=False):
            table[token] = 1.2 * table[other]


def mel(network: Any) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((network.config.num_mel_bins, 3000)).astype(np.float32)


def theirs(torch: Any, network: Any, tokenizer: Any, prompt: Sequence[str]) -> tuple[list[int], str]:
    """Return the tokens and the text of transformers, for one window.

    Its Whisper's own `generate` takes every token behind the timestamps for one, and may then never end.
    """
    from transformers import GenerationMixin

    out = GenerationMixin.generate(
        network,
        torch.from_numpy(mel(network)[None]),
        decoder_input_ids=torch.tensor([tokenizer.convert_tokens_to_ids(list(prompt))]),
        max_new_tokens=N_TOKEN,
    )
    tokens = [token for token in np.array(out)[0, len(prompt) :].tolist() if token != tokenizer.eos_token_id]
    return tokens, tokenizer.decode(tokens, skip_special_tokens=True)


def ours(folder: Path, network: Any, **options: Any) -> tuple[list[int], str]:
    model = load_model(folder)
    found = model.decode(mel(network), temperature=0.0, sample_len=N_TOKEN, **options)
    return list(found.tokens), found.text


@pytest.fixture(scope="module")
def whisper_tokenizer() -> Callable[..., Any]:
    """Return a function that returns a new tokenizer, by what `hf_tokenizers.transformers_tokenizer` takes."""
    made: dict[Any, Any] = {}

    def make(*arguments: Any) -> Any:
        import copy

        if arguments not in made:
            made[arguments] = hf_tokenizers.transformers_tokenizer(*arguments)
        return copy.deepcopy(made[arguments])

    return make


def save(folder: Path, network: Any, tokenizer: Any, config: dict[str, Any]) -> None:
    from transformers import GenerationConfig

    network.generation_config = GenerationConfig(**config)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_a_tokenizer_that_transformers_saves_anew(whisper_tokenizer: Any, tmp_path: Path) -> None:
    """Today's tokenizers write each merge as an indented list: more than 3 MiB."""
    whisper_tokenizer().save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").stat().st_size > 3.6e6
    assert read_vocabulary(tmp_path, models.TINY) == (b"", None)


CASES = {
    # number of languages, timestamps, vocabulary, words that are added, rows of the model
    "51,866 rows that are not large-v3's": (99, True, "multilingual", WORDS[:1], 51866),
    "two more": (99, True, "multilingual", WORDS, 51867),
    "padded": (100, True, "multilingual", WORDS, 51904),
    "50,365 rows": (100, False, "multilingual", (), 50365),
    "50,365 rows with a word": (99, False, "multilingual", WORDS[:1], 50365),
    "English": (99, True, "gpt2", WORDS, 51866),
}


@pytest.mark.parametrize("case", CASES)
def test_tokens_that_were_added(torch: Any, whisper_tokenizer: Any, tmp_path: Path, case: str) -> None:
    num_languages, timestamps, name, words, n_vocab = CASES[case]
    multilingual = name == "multilingual"
    tokenizer = whisper_tokenizer(num_languages, timestamps, name)
    tokenizer.add_tokens(list(words))
    network = make_network(torch, n_vocab)
    added = tokenizer.convert_tokens_to_ids(list(words))
    spoken = ("<|de|>", "<|transcribe|>") if multilingual else ()
    prompt = ("<|startoftranscript|>", *spoken, "<|notimestamps|>")
    save(tmp_path, network, tokenizer, generation_config(tokenizer, multilingual))
    favor(torch, network, added, list(dict.fromkeys(theirs(torch, network, tokenizer, prompt)[0]))[2::3])
    network.save_pretrained(tmp_path)
    expected, text = theirs(torch, network, tokenizer, prompt)
    found, our_text = ours(tmp_path, network, without_timestamps=True, **({"language": "de"} if multilingual else {}))
    assert found == expected
    assert len(set(found)) > 1
    assert bool(added) == bool(set(added) & set(found))
    assert our_text == text.strip()


def logits(torch: Any, source: Path, network: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return our logits and transformers' of the same tokens."""
    model = load_model(source)
    tokens, features = np.array([[50258, 50261, 50359, 50363, 440, 2802]]), mel(network)[None]
    found = model.logits(tokens, model.embed_audio(features))
    expected = network(input_features=torch.from_numpy(features), decoder_input_ids=torch.from_numpy(tokens)).logits
    return found, expected.detach().numpy()


def convert_by_ctranslate2(source: Path, target: Path, kind: str | None = None) -> None:
    """Do what the command `ct2-transformers-converter` does."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(source)).convert(str(target), quantization=kind)


def test_untied_projection(torch: Any, whisper_tokenizer: Any, tmp_path: Path) -> None:
    """Ours, transformers' and CTranslate2's converter's agree on a `proj_out` that is not the embedding."""
    tokenizer = whisper_tokenizer()
    network = make_network(torch, 51865, tie_word_embeddings=False)
    save(tmp_path / "hf", network, tokenizer, generation_config(tokenizer, True))
    convert_by_ctranslate2(tmp_path / "hf", tmp_path / "ct2")
    write_apr(open_checkpoint(tmp_path / "hf"), tmp_path / "model.apr")
    for name in ("hf", "ct2", "model.apr"):
        found, expected = logits(torch, tmp_path / name, network)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
        table = network.get_input_embeddings().weight.detach().numpy()
        assert np.abs(network.get_output_embeddings().weight.detach().numpy() - table).max() > 0.1


LORA: dict[str, dict[str, Any]] = {
    "as usual": {"target_modules": ["q_proj", "v_proj"]},
    "rank-stabilized": {"target_modules": ["q_proj", "v_proj", "fc1"], "use_rslora": True},
    "patterns": {
        "target_modules": ["k_proj", "out_proj"],
        "rank_pattern": {"k_proj": 2},
        "alpha_pattern": {"k_proj": 5},
    },
    "others": {"target_modules": ["embed_tokens", "fc2"], "modules_to_save": ["decoder.layer_norm"]},
}


@pytest.mark.parametrize("case", LORA)
def test_lora(torch: Any, tmp_path: Path, case: str) -> None:
    """An adapter that peft saved, merged into its base: the same logits as peft's model."""
    from peft import LoraConfig, get_peft_model

    network = make_network(torch, 51865, tie_word_embeddings="embed_tokens" not in LORA[case]["target_modules"])
    network.save_pretrained(tmp_path / "base")
    network.config._name_or_path = network.name_or_path = str(tmp_path / "base")
    adapted = get_peft_model(network, LoraConfig(r=4, lora_alpha=6, **LORA[case])).eval()
    with torch.no_grad():
        for _, parameter in adapted.named_parameters():
            if parameter.requires_grad:  # B is initialized to zeros
                parameter += 0.2 * torch.randn(parameter.shape)
    adapted.save_pretrained(tmp_path / "adapter")
    found, expected = logits(torch, tmp_path / "adapter", adapted)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)
    before, _ = logits(torch, tmp_path / "base", adapted)
    assert np.abs(before - expected).max() > 0.1


def test_a_checkpoint_of_the_modules_own_class(torch: Any, openai: Any, tmp_path: Path) -> None:
    """Some trainers save `model.dims` itself instead of a dictionary."""
    theirs = openai.model.Whisper(openai.model.ModelDimensions(80, 1500, 64, 2, 1, 51865, 448, 64, 2, 1)).eval()
    torch.save({"dims": theirs.dims, "model_state_dict": theirs.state_dict()}, tmp_path / "model.pt")
    found = open_checkpoint(tmp_path / "model.pt")
    assert found.dims.n_audio_state == 64
    expected = theirs.state_dict()["decoder.token_embedding.weight"].numpy()
    assert np.array_equal(found.tensors["decoder.token_embedding.weight"], expected)


def test_data_parallel(torch: Any, tmp_path: Path) -> None:
    """DataParallel and Trainer's old files: a prefix, and torch's archive in shards."""
    network = make_network(torch, 51865)
    network.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    state = torch.nn.DataParallel(network).state_dict()
    assert all(name.startswith("module.") for name in state)
    torch.save(state, tmp_path / "pytorch_model.bin")
    found, expected = logits(torch, tmp_path / "pytorch_model.bin", network)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("number", [number for number, kind in TYPES.items() if kind.decode is not None])
def test_ggml_types(number: int) -> None:
    """Blocks of random bytes decode to the numbers that llama.cpp's package gguf gives, bit for bit."""
    import gguf

    kind = TYPES[number]
    type_ = gguf.GGMLQuantizationType(number)
    assert gguf.GGML_QUANT_SIZES[type_] == (kind.count, kind.size)
    blocks = np.random.default_rng(number).integers(0, 256, (200, kind.size), np.uint8)
    with np.errstate(all="ignore"):
        assert kind.decode is not None
        assert np.array_equal(kind.decode(blocks), gguf.quants.dequantize(blocks, type_), equal_nan=True)


# a quantization of ct2-transformers-converter, and by how much the logits differ, of their largest
CTRANSLATE2 = {
    None: 1e-4, "float32": 1e-4, "float16": 0.01, "bfloat16": 0.05, "int16": 0.02, "int8": 0.1, "int8_float32": 0.1,
    "int8_float16": 0.1, "int8_bfloat16": 0.1,
}  # fmt: skip


def test_ctranslate2_converter(torch: Any, whisper_tokenizer: Any, tmp_path: Path) -> None:
    """A model with two words behind the timestamps, converted with each quantization."""
    import ctranslate2

    tokenizer = whisper_tokenizer()
    tokenizer.add_tokens(list(WORDS))
    network = make_network(torch, 51867)
    save(tmp_path / "hf", network, tokenizer, generation_config(tokenizer, True))
    prompt = ("<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>")
    favor(torch, network, [51865, 51866], list(dict.fromkeys(theirs(torch, network, tokenizer, prompt)[0]))[2::3])
    network.save_pretrained(tmp_path / "hf")
    for kind, limit in CTRANSLATE2.items():
        folder = tmp_path / str(kind)
        convert_by_ctranslate2(tmp_path / "hf", folder, kind)
        model = load_model(folder)
        assert model.special_tokens is not None
        assert [token.id for token in model.special_tokens.added] == [51865, 51866]
        assert model.alignment_heads == ((1, 0),)
        found, expected = logits(torch, folder, network)
        assert np.abs(found - expected).max() <= limit * np.abs(expected).max(), kind
        if kind is not None:
            continue
        # CTranslate2 itself generates the same tokens from this folder
        features = ctranslate2.StorageView.from_array(mel(network)[None])
        generated = ctranslate2.models.Whisper(str(folder), intra_threads=1).generate(
            features, [tokenizer.convert_tokens_to_ids(list(prompt))], beam_size=1, max_length=len(prompt) + N_TOKEN
        )
        tokens, text = ours(folder, network, without_timestamps=True, language="de")
        expected_tokens = generated[0].sequences_ids[0]
        assert len(expected_tokens) >= 8  # its maximum counts the prompt in another way
        assert tokens[: len(expected_tokens)] == expected_tokens
        assert {51865, 51866} & set(expected_tokens)
        assert text == tokenizer.decode(tokens).strip()
