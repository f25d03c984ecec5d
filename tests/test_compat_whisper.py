"""whisper_apr.compat.whisper has the names of openai-whisper, with its keywords and defaults."""

import copy
import inspect
import json
import pickle
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
import whisper_apr
from recordings import speech
from torch_objects import Tensor, TorchDevice
from whisper_apr import FormatError, ModelNotFoundError, OptionError
from whisper_apr.compat import whisper
from whisper_apr.compat.whisper import _arrays, _hub, decoding, model
from whisper_apr.compat.whisper._missing import MISSING, MODEL_ATTRIBUTES, Layer
from whisper_apr.hub import known_models

pytestmark = pytest.mark.usefixtures("encoded_once")

TABLE = json.loads((Path(__file__).parent / "data" / "whisper_names.json").read_text(encoding="utf-8"))

# parameters and defaults that differ: those of ours come after, are positional, or are of another type
OTHER_DEFAULTS = {
    "decode.options",
    "Whisper.decode.options",  # a DecodingOptions, which has more fields here
    "DecodingOptions.__init__",
}


@pytest.fixture(scope="module")
def digits() -> model.Whisper:
    return whisper.load_model("digits")


@pytest.fixture(scope="module")
def mel() -> _arrays.Array:
    return whisper.pad_or_trim(whisper.log_mel_spectrogram(speech("en")), 3000)


# ---- names ----------------------------------------------------------------------------------------------------------


def module_of(name: str) -> Any:
    return import_module(f"whisper_apr.compat.whisper.{name}".rstrip("."))


def compare(where: str, expected: list[list[str | None]], function: Any) -> None:
    """Parameters have the same order, kinds and defaults; ours may have further ones after them."""
    found = {name: p for name, p in inspect.signature(function).parameters.items() if name != "self"}
    expected = [each for each in expected if each[0] != "self"]
    names = {name for name, *_ in expected}
    ours = [(p.name, p.kind.name) for p in found.values() if p.name in names]
    assert ours == [(name, kind) for name, kind, _ in expected], where
    for i, (name, parameter) in enumerate(found.items()):
        if name not in names and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            assert parameter.default is not parameter.empty, f"{where}: {name}"
            assert i >= len(expected), f"{where}: {name}"
    for name, _, default in expected:
        value = found[name].default
        if f"{where}.{name}" not in OTHER_DEFAULTS:
            assert (None if value is inspect.Parameter.empty else repr(value)) == default, f"{where}: {name}"


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in TABLE for name in TABLE[module]])
def test_names_keywords_and_defaults(module: str, name: str) -> None:
    ours, entry = module_of(module), TABLE[module][name]
    if name in MISSING.get(module, {}):
        with pytest.raises(AttributeError, match=f"no '{name}' of openai-whisper: "):
            getattr(ours, name)
        return
    value = getattr(ours, name)
    if inspect.isclass(value) and issubclass(value, Layer):
        with pytest.raises(AttributeError, match=f"no '{name}' of openai-whisper: "):
            value(1, 2)
        return
    if entry.get("fields") and name != "Tokenizer":
        assert [field.name for field in fields(value)][: len(entry["fields"])] == entry["fields"]
    elif name not in ("AudioEncoder", "TextDecoder", "Tokenizer"):
        for method, expected in entry.get("methods", {}).items():
            if method not in MODEL_ATTRIBUTES and not (name == "DecodingTask" and method.startswith("_")):
                compare(f"{name}.{method}", expected, getattr(value, method))
    if "parameters" in entry:
        compare(name, entry["parameters"], value)


def test_nothing_is_called_missing_that_exists() -> None:
    for module, names in MISSING.items():
        assert names.keys() <= TABLE[module].keys()
        assert not names.keys() & vars(module_of(module)).keys()
    assert not [name for name in MODEL_ATTRIBUTES if hasattr(model.Whisper, name)]


def test_tokenizers_have_the_fields() -> None:
    tokenizer = whisper_apr.tokenizer.get_tokenizer(True)
    for name in TABLE["tokenizer"]["Tokenizer"]["fields"]:
        assert hasattr(tokenizer, name)


def test_unknown_names() -> None:
    for module in (whisper, decoding, model):
        with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
            _ = module.nonsense
        assert not hasattr(module, "nonsense")


def test_package() -> None:
    assert whisper.available_models() == list(whisper._MODELS) == list(whisper._ALIGNMENT_HEADS)
    assert set(whisper.available_models()) == set(known_models())
    assert whisper.__version__ == "20250625"
    assert callable(whisper.transcribe)
    assert module_of("transcribe").transcribe is whisper.transcribe


# ---- models ---------------------------------------------------------------------------------------------------------


def test_what_has_no_effect_returns_the_model(digits: model.Whisper) -> None:
    for same in (digits.to("cpu"), digits.to(TorchDevice("cpu")), digits.to(device="cpu"), digits.cpu(), digits.eval()):
        assert same is digits
    for same in (digits.half(), digits.float(), digits.requires_grad_(False), copy.copy(digits), copy.deepcopy(digits)):
        assert same is digits
    assert (str(digits.device), digits.device.type, digits.device.index) == ("cpu", "cpu", None)
    assert type(pickle.loads(pickle.dumps(digits))) is model.Whisper


def test_there_is_no_gpu(digits: model.Whisper, mel: _arrays.Array) -> None:
    for call in (digits.cuda, mel.cuda, lambda: digits.to("cuda:0"), lambda: mel.to(TorchDevice("cuda"))):
        with pytest.raises(OptionError, match="device must be 'cpu'"):
            call()
    with pytest.raises(OptionError, match="device must be 'cpu'"):
        whisper.load_model("digits", TorchDevice("cuda"))
    assert whisper.load_model("digits", TorchDevice("cpu"), None, True).dims == digits.dims


def test_torch_modules_are_named(digits: model.Whisper) -> None:
    for name in MODEL_ATTRIBUTES:
        with pytest.raises(AttributeError, match=f"has no '{name}': the model consists of packed arrays"):
            getattr(digits, name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = digits.nonsense
    for part in (digits.encoder, digits.decoder, *digits.encoder.blocks, *digits.decoder.blocks):
        for name in ("cross_attn", "ln_post", "register_forward_hook"):
            with pytest.raises(AttributeError, match=f"{type(part).__name__} has no '{name}': the model consists of"):
                getattr(part, name)
        assert not hasattr(part, "__torch_function__")
    assert isinstance(digits.decoder, model.TextDecoder)
    assert isinstance(digits.encoder, model.AudioEncoder)


def test_unknown_models_raise_a_runtime_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (RuntimeError, ModelNotFoundError):
        with pytest.raises(kind, match="no model named 'nothing'"):
            whisper.load_model("nothing")
    with pytest.raises(OptionError, match="a value of _MODELS"):
        whisper._download("nothing at all", None, False)


@pytest.mark.parametrize("in_memory", [True, False])
def test_download(in_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(found: Any, root: Any) -> Path:
        asked.append((found, root))
        return tmp_path

    monkeypatch.setattr(_hub, "fetch", fetch)
    with pytest.raises(RuntimeError, match="in several files"):
        whisper._download(whisper._MODELS["tiny"], "root", in_memory)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    found = whisper._download(whisper._MODELS["tiny"], "root", in_memory)
    assert found == (b"weights" if in_memory else str(tmp_path / "model.safetensors"))
    assert asked == [(known_models()["tiny"], "root")] * 2  # with the checksum


def test_weights_may_be_loaded_later() -> None:
    checkpoint = models.random_checkpoint(models.ODD)
    made = model.Whisper(checkpoint.dims)
    with pytest.raises(AttributeError, match="before load_state_dict"):
        _ = made.encoder
    with pytest.raises(FormatError, match="tensors are missing"):
        made.load_state_dict({})
    made.load_state_dict({name: Tensor(np.array(value)) for name, value in checkpoint.tensors.items()})
    expected = whisper_apr.Recognizer(checkpoint)
    window = np.zeros((checkpoint.dims.n_mels, 2 * checkpoint.dims.n_audio_ctx), np.float32)
    np.testing.assert_array_equal(made.embed_audio(Tensor(window)), expected.embed_audio(window))
    assert made.is_multilingual == expected.is_multilingual


@pytest.mark.parametrize("name", list(whisper._ALIGNMENT_HEADS))
def test_alignment_heads(name: str) -> None:
    dims = copy.copy(models.ODD)
    layers, heads = _hub._SHAPES[("turbo" if "turbo" in name else name.split(".")[0].split("-")[0])]
    object.__setattr__(dims, "n_text_layer", layers)
    object.__setattr__(dims, "n_text_head", heads)
    made = model.Whisper(dims)
    made.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])
    assert made.alignment_heads == tuple(sorted(known_models()[name].alignment_heads))
    for wrong in (b"\xff", b"ABzY8J1N>@", whisper._ALIGNMENT_HEADS["medium" if "tiny" in name else "tiny"]):
        with pytest.raises(FormatError, match="alignment heads"):
            made.set_alignment_heads(wrong)


def test_forward(digits: model.Whisper, mel: _arrays.Array) -> None:
    tokens = np.array([[50258, 50259, 50359]])
    features = digits.embed_audio(mel.unsqueeze(0))
    expected = digits.logits(Tensor(tokens), features)
    np.testing.assert_array_equal(digits(mel.unsqueeze(0), tokens), expected)
    np.testing.assert_array_equal(digits.forward(Tensor(mel[None]), Tensor(tokens)), expected)
    two = np.concatenate([features, features[:, ::-1]])
    np.testing.assert_array_equal(digits.logits(tokens, two), digits.logits(np.repeat(tokens, 2, axis=0), two))
    more = np.array([[50258, 50259, 50359], [50258, 50260, 50359]])
    np.testing.assert_array_equal(digits.logits(more, features), digits.logits(more, np.repeat(features, 2, axis=0)))
    with pytest.raises(OptionError, match="audio_features must be"):
        digits.logits(np.repeat(tokens, 3, axis=0), two)
    with model.disable_sdpa():
        assert expected.numpy().shape == (1, 3, digits.dims.n_vocab)


def test_sinusoids() -> None:
    table = model.sinusoids(7, 8)
    assert (table.shape, table.dtype) == ((7, 8), np.float32)
    np.testing.assert_array_equal(table[0], [0] * 4 + [1] * 4)
    assert table[3, 3] == pytest.approx(np.sin(3 / 10000), rel=1e-6)
    with pytest.raises(AssertionError):
        model.sinusoids(2, 3)
