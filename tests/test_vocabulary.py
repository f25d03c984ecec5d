"""A model's own vocabulary: stored, used for text, and refused if it does not fit the model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ct2_files
import ggml_files
import hf_tokenizers
import models
from models import SPOKEN, WORDS
from whisper_apr import load_model
from whisper_apr.checkpoint import Checkpoint, make_checkpoint
from whisper_apr.cli import main
from whisper_apr.errors import FormatError
from whisper_apr.formats import open_checkpoint
from whisper_apr.formats.apr import read_apr, write_apr, write_apr_v1
from whisper_apr.formats.vocabulary import pack_model_vocabulary, read_vocabulary
from whisper_apr.tokenizer import get_tokenizer
from whisper_apr.tokenizer.bpe import load_ranks, pack_vocabulary, unpack_vocabulary
from whisper_apr.tokenizer.kind import tokenizer_kind

PACKED = pack_vocabulary(WORDS)
OUTPUT = (257, 258, 256, 0x21)  # " ja", " naja", "oü", "!"
EOT = len(WORDS)


def constant_output_tensors(dims=SPOKEN) -> dict[str, np.ndarray]:
    """Return weights whose output is OUTPUT for any audio: each position's embedding selects the next token."""
    tensors = {name: np.zeros_like(value) for name, value in models.random_tensors(dims, 0).items()}
    for name in tensors:
        if "ln" in name.split(".")[-2] and name.endswith("weight"):
            tensors[name] += 1
    # the layers do nothing; each position has its own axis, and the row of the token to generate there responds to it
    positions = tensors["decoder.positional_embedding"]
    table = tensors["decoder.token_embedding.weight"]
    start = 3  # after <|startoftranscript|>, language and task comes <|notimestamps|>
    for step, token in enumerate((*OUTPUT, EOT)):
        positions[start + step, step] = 10
        table[token, step] = 5
    return tensors


def write_vocab_json(folder: Path) -> None:
    (folder / "vocab.json").write_text(json.dumps(models.vocab_json()))


def write_tokenizer_json(folder: Path) -> None:
    numbers = models.vocab_json()
    added = [{"id": numbers.pop("<|endoftext|>"), "content": "<|endoftext|>"}]
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": numbers}, "added_tokens": added}))


def as_folder(folder: Path, tensors, write) -> Path:
    write(models.write_huggingface(folder, SPOKEN, tensors))
    return folder


def as_ct2(folder: Path, tensors) -> Path:
    ct2_files.write_ct2(folder, SPOKEN, tensors)
    write_tokenizer_json(folder)
    return folder


def as_apr(path: Path, tensors) -> Path:
    write_apr(replace(make_checkpoint(SPOKEN, tensors, "here"), vocabulary=PACKED), path)
    return path


def as_apr_v1(path: Path, tensors) -> Path:
    write_apr_v1(make_checkpoint(SPOKEN, tensors, "here"), path, vocabulary=[*WORDS, b"<|endoftext|>"])
    return path


def as_ggml(path: Path, tensors) -> Path:
    ggml_files.write_ggml(path, SPOKEN, tensors, words=WORDS)
    return path


SOURCES = {
    "ggml": as_ggml,
    "vocab.json": lambda path, tensors: as_folder(path, tensors, write_vocab_json),
    "tokenizer.json": lambda path, tensors: as_folder(path, tensors, write_tokenizer_json),
    "CTranslate2": as_ct2,
    ".apr": as_apr,
    ".apr version 1": as_apr_v1,
}


@pytest.mark.parametrize("source", SOURCES)
def test_text_uses_the_models_own_tokens(tmp_path, source):
    path = SOURCES[source](tmp_path / "model", constant_output_tensors())
    assert open_checkpoint(path).vocabulary == PACKED
    assert main(["convert", str(path), str(tmp_path / "converted.apr")]) == 0
    for each in (path, tmp_path / "converted.apr"):
        model = load_model(each)
        assert (model.is_multilingual, model.num_languages) == (True, 2)
        found = model.decode(np.zeros((4, 3000), np.float32), language="zh", without_timestamps=True, temperature=0.0)
        assert found.text == "ja najaoü!"
        assert tuple(found.tokens) == OUTPUT


def test_packaged_vocabulary_is_not_stored(tmp_path):
    """Also if a file omits tokens, or lists special tokens among the others."""
    dims = replace(SPOKEN, n_vocab=51864)
    tokens = [token for token in load_ranks("gpt2") if token.isascii() and token.isalnum()]
    numbers = {token.decode(): load_ranks("gpt2")[token] for token in tokens}
    (tmp_path / "vocab.json").write_text(json.dumps(numbers | {"<|endoftext|>": 50256, "<|de|>": 50260}))
    assert read_vocabulary(tmp_path, dims).ordinary == b""
    (tmp_path / "vocab.json").write_text(json.dumps(numbers | {"Ġother": 1000, "<|endoftext|>": 50256}))
    assert read_vocabulary(tmp_path, dims).ordinary != b""


@pytest.mark.parametrize("n_vocab", [51864, 51865])
def test_model_of_whispers_size(n_vocab):
    """A file may list the first tokens, all or more than all; only a vocabulary that differs is stored."""
    dims = replace(SPOKEN, n_vocab=n_vocab)
    own = list(load_ranks("gpt2" if n_vocab == 51864 else "multilingual"))
    end = b"<|endoftext|>"
    for tokens in (own, own[:1000], [*own, b"[_EOT_]", b"[_SOT_]"], [*own, end, b"x"], [*filter(None, own), end], []):
        assert pack_model_vocabulary(tokens, dims, "here") == b""
    for tokens in ([*own, b"[_EOT_]"], own[:1000]):
        tokens[500] = b"another"
        assert unpack_vocabulary(pack_model_vocabulary(tokens, dims, "here")) == [*own[:500], b"another", *own[501:]]
    with pytest.raises(FormatError, match=f"here: a vocabulary of 1000 tokens does not fit a model of {n_vocab}"):
        pack_model_vocabulary([*own[:1000], end], dims, "here")


def test_inspect_reports_the_vocabulary(tmp_path, capsys):
    assert main(["inspect", str(as_apr(tmp_path / "model.apr", constant_output_tensors()))]) == 0
    assert "custom, 259 tokens" in capsys.readouterr().out


def test_size_of_a_tokenizer(tmp_path):
    """tokenizers writes each merge as an indented list since release 0.20: Whisper's tokenizer.json has 3.5 MiB."""
    path = tmp_path / "tokenizer.json"
    vocabulary = hf_tokenizers.vocabulary()
    pairs = [(text[:1], text[1:]) for text in vocabulary]
    hf_tokenizers.write_tokenizer_json(path, vocabulary, merges=pairs)
    assert path.stat().st_size > 3 * 2**20
    assert read_vocabulary(tmp_path, models.TINY).ordinary == b""
    path.write_text("{" + " " * 2**24 + "}")
    with pytest.raises(FormatError, match=r"tokenizer\.json: too large for a model's JSON file \(16777218 bytes"):
        read_vocabulary(tmp_path, models.TINY)


def test_non_speech_tokens_of_a_byte_vocabulary():
    """A byte that begins many other characters is not suppressed."""
    tokenizer = get_tokenizer(True, num_languages=2, vocabulary=PACKED)
    assert set(tokenizer.non_speech_tokens) == {ord(sign) for sign in '"#()*+/:;<=>@[\\]^_`{|}~'}
    assert tokenizer.decode(tokenizer.encode("Öl, ja ♪ naja")) == "Öl, ja ♪ naja"
    assert tokenizer.encode(" ja naja") == [257, 258]


def test_duplicate_and_empty_tokens():
    twice = get_tokenizer(True, num_languages=1, vocabulary=pack_vocabulary([*WORDS, b"", b" ja"]))
    assert twice.encode(" ja") == [257]
    assert twice.decode([260, 259, 257]) == " ja ja"


REFUSED = {
    "too few": ({"a": 0, "<|endoftext|>": 1}, "lacks 255 of the 256 bytes"),
    "does not fit": (models.vocab_json() | {"<|endoftext|>": 400}, "a vocabulary of 400 tokens does not fit"),
    "no end": ({"a": 0}, "endoftext.* has no id"),
    "same": (models.vocab_json() | {"<|en|>": EOT + 3, "<|translate|>": EOT + 3}, "are the same token, 262"),
    "before": (models.vocab_json() | {"<|notimestamps|>": EOT + 1}, r"<\|translate\|> is token 255; special"),
    "beyond": (models.vocab_json() | {"<|notimestamps|>": 2000}, r"<\|translate\|> is token 1995; special"),
    "too little": (models.vocab_json() | {"<|translate|>": EOT + 1}, "neither languages nor"),
    "no number": ({"a": "b"}, "a token's id is not an integer"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(tmp_path, kind):
    numbers, message = REFUSED[kind]
    (tmp_path / "vocab.json").write_text(json.dumps(numbers))
    with pytest.raises(FormatError, match=rf"vocab\.json: .*{message}"):
        read_vocabulary(tmp_path, SPOKEN)


def test_end_of_text_with_another_id_is_refused(tmp_path):
    """In a model of Whisper's size, its tokens would be unknown."""
    (tmp_path / "vocab.json").write_text(json.dumps(models.vocab_json()))
    with pytest.raises(FormatError, match=r"vocab\.json: a vocabulary of 259 tokens does not fit a model of 51865"):
        read_vocabulary(tmp_path, models.TINY)


@pytest.mark.parametrize("content", [{}, {"model": {"vocab": [["a", 0.5]]}}, {"model": 3}, {"model": {"vocab": {}}}])
def test_refused_tokenizers(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match=r"tokenizer\.json: "):
        read_vocabulary(tmp_path, SPOKEN)


@pytest.mark.parametrize("vocabulary", [b"of another make", pack_vocabulary(WORDS[1:]), pack_vocabulary(WORDS * 9)])
def test_refused_apr(tmp_path, vocabulary, monkeypatch):
    checkpoint = replace(models.random_checkpoint(SPOKEN), vocabulary=vocabulary)
    with pytest.raises(FormatError):
        write_apr(checkpoint, tmp_path / "model.apr")
    monkeypatch.setattr(
        "whisper_apr.formats.apr.writer.tokenizer_kind", lambda *_, **__: ("multilingual", ("en", "zh"))
    )
    write_apr(checkpoint, tmp_path / "model.apr")
    with pytest.raises(FormatError, match=r"model\.apr: (the|a) vocabulary"):
        read_apr(tmp_path / "model.apr")


def test_pack_and_unpack():
    assert unpack_vocabulary(PACKED) == list(WORDS)
    assert tokenizer_kind(SPOKEN.n_vocab, PACKED) == ("multilingual", ("en", "zh"))
    for n_vocab, found in ((51864, ("gpt2", 99)), (51865, ("multilingual", 99)), (51866, ("multilingual", 100))):
        kind, languages = tokenizer_kind(n_vocab)
        assert (kind, len(languages)) == found
    assert isinstance(models.random_checkpoint(models.SMALLEST), Checkpoint)
    assert tokenizer_kind(models.SMALLEST.n_vocab) == ("unknown", ())
