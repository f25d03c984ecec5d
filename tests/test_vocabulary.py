"""Vocabularies of a model's own: kept, used for text, and refused where they cannot be the model's."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ct2_files
import ggml_files
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
SAID = (257, 258, 256, 0x21)  # " ja", " naja", "oü", "!"
EOT = len(WORDS)


def speaking(dims=SPOKEN) -> dict[str, np.ndarray]:
    """Weights that say SAID, whatever is heard: the sum of a token's place and its position leads to the next token."""
    tensors = {name: np.zeros_like(value) for name, value in models.random_tensors(dims, 0).items()}
    for name in tensors:
        if "ln" in name.split(".")[-2] and name.endswith("weight"):
            tensors[name] += 1
    # position p of a decoder whose blocks do nothing is an axis of its own; a token's row answers one axis
    positions = tensors["decoder.positional_embedding"]
    table = tensors["decoder.token_embedding.weight"]
    start = 3  # <|startoftranscript|>, language, task: then no timestamps
    for step, token in enumerate((*SAID, EOT)):
        positions[start + step, step] = 10
        table[token, step] = 5
    return tensors


def write_vocab_json(folder: Path) -> None:
    (folder / "vocab.json").write_text(json.dumps(models.vocabulary_of_signs()))


def write_tokenizer_json(folder: Path) -> None:
    numbers = models.vocabulary_of_signs()
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
def test_text_is_of_the_models_own_tokens(tmp_path, source):
    path = SOURCES[source](tmp_path / "model", speaking())
    assert open_checkpoint(path).vocabulary == PACKED
    assert main(["convert", str(path), str(tmp_path / "converted.apr")]) == 0
    for each in (path, tmp_path / "converted.apr"):
        model = load_model(each)
        assert (model.is_multilingual, model.num_languages) == (True, 2)
        found = model.decode(np.zeros((4, 3000), np.float32), language="zh", without_timestamps=True, temperature=0.0)
        assert found.text == "ja najaoü!"
        assert tuple(found.tokens) == SAID


def test_the_packages_own_is_not_kept(tmp_path):
    """Also where a file leaves out tokens, or names special ones among the others."""
    dims = replace(SPOKEN, n_vocab=51864)
    tokens = [token for token in load_ranks("gpt2") if token.isascii() and token.isalnum()]
    numbers = {token.decode(): load_ranks("gpt2")[token] for token in tokens}
    (tmp_path / "vocab.json").write_text(json.dumps(numbers | {"<|endoftext|>": 50256, "<|de|>": 50260}))
    assert read_vocabulary(tmp_path, dims) == b""
    (tmp_path / "vocab.json").write_text(json.dumps(numbers | {"Ġother": 1000, "<|endoftext|>": 50256}))
    assert read_vocabulary(tmp_path, dims) != b""


@pytest.mark.parametrize("n_vocab", [51864, 51865])
def test_tokens_of_a_model_of_whispers_size(n_vocab):
    """Some of the first are named, all are, or more than all: what is Whisper's is not kept, one that differs is."""
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


def test_inspect_says_so(tmp_path, capsys):
    assert main(["inspect", str(as_apr(tmp_path / "model.apr", speaking()))]) == 0
    assert "its own, 259 tokens" in capsys.readouterr().out


def test_a_vocabulary_without_joined_signs_keeps_its_bytes():
    """What is suppressed as a note's sign is no byte that much else begins with."""
    tokenizer = get_tokenizer(True, num_languages=2, vocabulary=PACKED)
    assert set(tokenizer.non_speech_tokens) == {ord(sign) for sign in '"#()*+/:;<=>@[\\]^_`{|}~'}
    assert tokenizer.decode(tokenizer.encode("Öl, ja ♪ naja")) == "Öl, ja ♪ naja"
    assert tokenizer.encode(" ja naja") == [257, 258]


def test_a_token_that_stands_twice_or_is_empty():
    twice = get_tokenizer(True, num_languages=1, vocabulary=pack_vocabulary([*WORDS, b"", b" ja"]))
    assert twice.encode(" ja") == [257]
    assert twice.decode([260, 259, 257]) == " ja ja"


REFUSED = {
    "too few": ({"a": 0, "<|endoftext|>": 1}, "lacks 255 of the 256 bytes"),
    "does not fit": (models.vocabulary_of_signs() | {"<|endoftext|>": 400}, "a vocabulary of 400 tokens does not fit"),
    "no end": ({"a": 0}, "endoftext.* has no id"),
    "another order": (models.vocabulary_of_signs() | {"<|notimestamps|>": EOT + 1}, r"<\|notimestamps\|> is token 260"),
    "no number": ({"a": "b"}, "a token's id is not an integer"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(tmp_path, kind):
    numbers, message = REFUSED[kind]
    (tmp_path / "vocab.json").write_text(json.dumps(numbers))
    with pytest.raises(FormatError, match=rf"vocab\.json: .*{message}"):
        read_vocabulary(tmp_path, SPOKEN)


def test_an_end_in_another_place_is_refused(tmp_path):
    """In a model of Whisper's size: what its tokens are cannot be told."""
    (tmp_path / "vocab.json").write_text(json.dumps(models.vocabulary_of_signs()))
    with pytest.raises(FormatError, match=r"vocab\.json: a vocabulary of 259 tokens does not fit a model of 51865"):
        read_vocabulary(tmp_path, models.TINY)


@pytest.mark.parametrize("content", [{}, {"model": {"vocab": [["a", 0.5]]}}, {"model": 3}, {"model": {"vocab": {}}}])
def test_refused_tokenizers(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match=r"tokenizer\.json: "):
        read_vocabulary(tmp_path, SPOKEN)


@pytest.mark.parametrize("vocabulary", [b"of another make", pack_vocabulary(WORDS[1:]), pack_vocabulary(WORDS * 9)])
def test_refused_in_an_apr(tmp_path, vocabulary, monkeypatch):
    checkpoint = replace(models.random_checkpoint(SPOKEN), vocabulary=vocabulary)
    with pytest.raises(FormatError):
        write_apr(checkpoint, tmp_path / "model.apr")
    monkeypatch.setattr("whisper_apr.formats.apr.writer.tokenizer_kind", lambda *_: ("multilingual", ("en", "zh")))
    write_apr(checkpoint, tmp_path / "model.apr")
    with pytest.raises(FormatError, match=r"model\.apr: (the|a) vocabulary"):
        read_apr(tmp_path / "model.apr")


def test_packing():
    assert unpack_vocabulary(PACKED) == list(WORDS)
    assert tokenizer_kind(SPOKEN.n_vocab, PACKED) == ("multilingual", ("en", "zh"))
    for n_vocab, found in ((51864, ("gpt2", 99)), (51865, ("multilingual", 99)), (51866, ("multilingual", 100))):
        kind, languages = tokenizer_kind(n_vocab)
        assert (kind, len(languages)) == found
    assert isinstance(models.random_checkpoint(models.SMALLEST), Checkpoint)
    assert tokenizer_kind(models.SMALLEST.n_vocab) == ("unknown", ())
