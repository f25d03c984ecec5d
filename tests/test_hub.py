"""Models by name: downloads, the cache, conversion, and network faults, with a local server as the hub."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import numpy as np
import pytest

import ct2_files
import models
from hub_server import COMMIT, NAME, TENSORS, expected, get_only
from models import logits
from trainer_files import write_adapter
from whisper_apr import available_models, load_model
from whisper_apr.cli import main
from whisper_apr.errors import FormatError, ModelNotFoundError, OptionError
from whisper_apr.formats.apr import read_apr
from whisper_apr.formats.vocabulary import FILES
from whisper_apr.hub import HubModel, fetch, find_model, known_models


def test_downloaded_once(hub, tmp_path):
    first = load_model(NAME)
    assert np.array_equal(logits(first), expected(tmp_path))
    assert first.alignment_heads == ((1, 0),)
    fetched = {file for method, file in hub.requests if method == "GET"}
    assert fetched == {"config.json", "generation_config.json", "model.safetensors"}
    hub.requests.clear()
    assert np.array_equal(logits(load_model(NAME)), logits(first))
    assert hub.requests == []


def test_converted_commit_needs_no_download(hub, tmp_path):
    name = f"{NAME}@{COMMIT}"
    first = logits(load_model(name, compute_type="int8"))
    hub.requests.clear()
    (converted,) = (tmp_path / "home" / "whisper-apr").glob("*.apr")
    assert converted.name == f"someone--small-model-{COMMIT[:12]}-int8.apr"
    assert read_apr(converted).provenance["source"] == name

    shutil.rmtree(tmp_path / "home" / "hub")
    assert np.array_equal(logits(load_model(name, compute_type="int8")), first)
    assert hub.requests == []


def test_damaged_conversion_is_repeated(hub, tmp_path):
    first = logits(load_model(NAME))
    (converted,) = (tmp_path / "home" / "whisper-apr").glob("*.apr")
    raw = bytearray(converted.read_bytes())
    raw[-1] ^= 1
    converted.write_bytes(raw)
    assert np.array_equal(logits(load_model(NAME)), first)
    assert converted.read_bytes() != raw


def test_cache_of_transformers_is_used(hub, tmp_path):
    for file in ("config.json", "model.safetensors"):
        huggingface_hub.hf_hub_download(NAME, file)
    hub.requests.clear()
    assert np.array_equal(logits(load_model(NAME)), expected(tmp_path))
    assert hub.requests == []


def test_shards_and_older_weights(hub, tmp_path):
    hub.files["a/shards"] = models.write_huggingface(tmp_path / "shards", models.SMALLEST, TENSORS, shards=3)
    assert np.array_equal(logits(load_model("a/shards")), expected(tmp_path))
    assert len([1 for method, file in hub.requests if method == "GET" and "-of-" in file]) == 3


def test_ctranslate2_repository(hub, tmp_path):
    """faster-whisper's models have this format."""
    ct2_files.write_ct2(tmp_path / "ct2", models.SMALLEST, TENSORS, alignment_heads=[[1, 1]])
    hub.files["a/ct2"] = tmp_path / "ct2"
    model = load_model("a/ct2")
    assert np.array_equal(logits(model), expected(tmp_path))
    assert model.alignment_heads == ((1, 1),)


def test_files_that_say_what_the_tokens_are(hub, tmp_path):
    """Of Hugging Face's and of CTranslate2's vocabularies the first that exists, and what adds to it."""
    contents = {"vocab.json": "{}", "added_tokens.json": "{}", "tokenizer.json": "{}", "tokenizer_config.json": "{}"}
    contents |= {"vocabulary.json": "[]", "vocabulary.txt": ""}
    for i, (first, more) in enumerate((
        ("vocab.json", {"added_tokens.json", "tokenizer_config.json"}),
        ("tokenizer.json", {"tokenizer_config.json"}),
        ("vocabulary.json", {"tokenizer_config.json"}),
        ("vocabulary.txt", {"tokenizer_config.json"}),
    )):  # fmt: skip
        folder = models.write_huggingface(tmp_path / str(i), models.SMALLEST, TENSORS)
        for name, content in contents.items():
            if name not in FILES or FILES.index(name) >= FILES.index(first):
                (folder / name).write_text(content)
        hub.files[f"org/{i}"] = folder
        found = fetch(find_model(f"org/{i}"))
        assert {path.name for path in found.iterdir()} & set(contents) == {first, *more}


def test_adapter_of_the_hub(hub, tmp_path):
    """Its base model is downloaded as well, and the merged model is kept."""
    hub.files["org/adapter"] = write_adapter(tmp_path / "adapter", NAME)
    model = load_model("org/adapter")
    base = load_model(NAME)
    assert not np.array_equal(models.logits(model), models.logits(base))
    hub.requests.clear()
    assert np.array_equal(models.logits(load_model("org/adapter")), models.logits(model))
    assert not hub.requests
    hub.files["org/other"] = write_adapter(tmp_path / "other", "org/missing")
    with pytest.raises(ModelNotFoundError, match="org/missing: the hub has no such repository"):
        load_model("org/other")


def test_download_root(hub, tmp_path):
    load_model(NAME, download_root=tmp_path / "elsewhere")
    assert not (tmp_path / "home").exists()
    hub.requests.clear()
    load_model(NAME, download_root=tmp_path / "elsewhere")
    assert hub.requests == []


def test_read_only_cache(hub, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "whisper-apr").write_text("a file where the folder should be")
    assert np.array_equal(logits(load_model(NAME)), expected(tmp_path))


def test_float32_with_float16_values_is_stored_as_float16(hub, tmp_path):
    halves = {name: value.astype(np.float16).astype(np.float32) for name, value in TENSORS.items()}
    hub.files["a/halves"] = models.write_huggingface(tmp_path / "halves", models.SMALLEST, halves)
    found = logits(load_model("a/halves"))
    (path,) = (tmp_path / "home" / "whisper-apr").glob("*.apr")
    assert read_apr(path).tensors["decoder.token_embedding.weight"].dtype == "float16"
    assert np.array_equal(found, logits(load_model(models.write_pt(tmp_path / "m.pt", models.SMALLEST, halves))))


# ---- faults: each gives a clear error, and the next attempt succeeds ------------------------------------------------


def status(code: int):
    def fault(method, file, handler):
        handler.answer(code)
        return True

    return fault


def wrong_hash(method, file, handler):
    """Serve the right number of bytes with another hash."""
    if not file.endswith("safetensors"):
        return False
    handler.serve((handler.server.files[NAME] / file).read_bytes(), etag="ab" * 32)
    return True


def silent(handler, content):
    handler.server.over.wait(10)


FAULTS = {
    "404": (
        lambda method, file, handler: handler.answer(404, X_Error_Code="EntryNotFound") or True,
        "no supported Whisper model",
    ),
    "429": (status(429), "answered 429"),
    "500": (status(500), "answered 500"),
    "503 of the transfer": (get_only(lambda handler, _: handler.answer(503)), "answered 503"),
    "cut": (get_only(lambda handler, content: handler.serve(content, cut=0)), "the download failed|cannot be reached"),
    "wrong size": (get_only(lambda handler, content: handler.serve(content[:-7])), "the download failed"),
    "wrong hash": (wrong_hash, "the download is damaged"),
    "silent": (get_only(silent), "the download failed|cannot be reached"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_fault(kind, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.fault, message = FAULTS[kind]
    with pytest.raises((ModelNotFoundError, FormatError), match=message) as raised:
        load_model(NAME)
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 300
    assert not list(tmp_path.glob("home/**/*.apr"))
    hub.fault = lambda *_: False
    assert np.array_equal(logits(load_model(NAME)), expected(tmp_path))


def test_interrupted_download_is_resumed(hub, tmp_path):
    cuts = iter([100, 50])

    def answer(handler, content):
        handler.serve(content, cut=next(cuts, None))

    hub.fault = get_only(answer)
    assert np.array_equal(logits(load_model(NAME)), expected(tmp_path))
    assert next(cuts, None) is None


def test_slow_download(hub, tmp_path):
    def answer(handler, content):
        handler.serve(content, cut=0)
        handler.close_connection = False
        for i in range(0, len(content), 4000):
            handler.wfile.write(content[i : i + 4000])
            handler.server.over.wait(0.01)

    hub.fault = get_only(answer)
    assert np.array_equal(logits(load_model(NAME)), expected(tmp_path))


def test_known_sha256_is_verified(hub, tmp_path):
    model = HubModel(NAME, sha256="cd" * 32)
    with pytest.raises(FormatError, match="SHA-256"):
        fetch(model)
    assert fetch(replace(model, sha256=None)).is_dir()


def test_unknown_repository(hub):
    with pytest.raises(ModelNotFoundError, match="no such repository"):
        load_model("nobody/nothing")


def test_no_network(hub, monkeypatch):
    def fail(seconds: float) -> None:
        raise AssertionError("there is nothing to wait for")

    monkeypatch.setattr(time, "sleep", fail)
    hub.shutdown()
    hub.server_close()
    with pytest.raises(ModelNotFoundError, match=r"cannot be reached; give a path, or 'digits'"):
        load_model(NAME)


def test_offline(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match=r"HF_HUB_OFFLINE.*digits"):
        load_model(NAME)
    assert hub.requests == []


def test_environment_variables(hub, tmp_path):
    """HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE, which huggingface_hub reads when it is imported."""
    code = "import sys, whisper_apr; print(whisper_apr.load_model(sys.argv[1]).dims.n_mels)"
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "other"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", code, NAME]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert found.stdout.split() == ["4"], found.stderr
    assert (tmp_path / "other" / "hub").is_dir()
    hub.requests.clear()
    offline = subprocess.run(
        command, env=environment | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=60
    )
    assert offline.stdout.split() == ["4"], offline.stderr
    assert hub.requests == []


def test_without_huggingface_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelNotFoundError, match="needs huggingface_hub"):
        load_model(NAME)


# ---- names ----------------------------------------------------------------------------------------------------------


def test_names():
    assert set(available_models()) >= {"digits", "tiny", "tiny.en", "base", "large-v3", "large", "turbo"}
    assert find_model("large") == find_model("large-v3")
    assert find_model("turbo").repo == "openai/whisper-large-v3-turbo"
    assert find_model("org/name@v1") == HubModel("org/name", "v1")
    for text in ("", "nothing", "../a", "a/../b", "a/b/c", "/etc/passwd", "org/name@", "org/na me"):
        assert find_model(text) is None
    for name, model in known_models().items():
        assert len(model.revision) == 40, name
        assert len(model.sha256 or "") == 64, name
        assert model.alignment_heads, name


def test_package_without_the_bundled_model(monkeypatch, tmp_path):
    monkeypatch.setattr("whisper_apr.hub.find.files", lambda package: tmp_path)
    with pytest.raises(ModelNotFoundError, match="digits: the package for browsers does not contain it"):
        load_model("digits")


def test_arguments_of_openai_whisper():
    model = load_model("digits", "cpu", None, False)
    assert model.dims.n_audio_state == 128
    with pytest.raises(OptionError, match="device"):
        load_model("digits", device="cuda")
    with pytest.raises(OptionError, match="compute_type"):
        load_model("digits", compute_type="float8")


def test_float16_on_the_fly(tmp_path):
    path = models.write_pt(tmp_path / "model.pt", models.SMALLEST, TENSORS)
    halves = {
        name: value if value.ndim == 1 or "positional" in name else value.astype(np.float16)
        for name, value in TENSORS.items()
    }
    other = models.write_pt(tmp_path / "halves.pt", models.SMALLEST, halves)
    assert np.array_equal(*(logits(load_model(file, compute_type="float16")) for file in (path, other)))
    large = TENSORS | {"encoder.conv1.weight": TENSORS["encoder.conv1.weight"] * np.float32(1e6)}
    with pytest.raises(FormatError, match="conv1"):
        load_model(models.write_pt(tmp_path / "large.pt", models.SMALLEST, large), compute_type="float16")


# ---- commands -------------------------------------------------------------------------------------------------------


def test_models_command(hub, capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("digits")
    assert any(line.startswith("tiny ") and "151 MB" in line for line in lines)
    assert hub.requests == []


def test_download_command(hub, capsys, monkeypatch, tmp_path):
    for module in ("hub", "hub.models"):  # the one lists models, the other finds them
        monkeypatch.setattr(f"whisper_apr.{module}.known_models", lambda: {"little": HubModel(NAME, size=5)})
    assert main(["download", "little"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert json.loads((folder / "config.json").read_bytes())["model_type"] == "whisper"
    assert main(["models"]) == 0
    assert "downloaded" in capsys.readouterr().out
    assert main(["download", "no name"]) == 2
    assert main(["download", "nobody/nothing"]) == 1
