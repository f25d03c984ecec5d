"""Models whose output projection is a matrix of its own, and not the token embedding."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ct2_files
import models
from models import ODD, logits
from whisper_apr.checkpoint import EMBEDDING, OUTPUT, make_checkpoint
from whisper_apr.errors import FormatError
from whisper_apr.formats import open_checkpoint
from whisper_apr.formats.apr import AprStream, read_apr, write_apr, write_apr_v1
from whisper_apr.formats.apr.header import FixedHeader
from whisper_apr.formats.apr.schema import plain_tensor
from whisper_apr.model import Whisper

TENSORS = models.random_tensors(ODD, 0)
TABLE = models.random_tensors(ODD, 1)[EMBEDDING]
UNTIED = TENSORS | {OUTPUT: TABLE}


def expected() -> np.ndarray:
    """Return the logits of UNTIED by another way: the final states that TENSORS has, times the other table."""
    model = Whisper(make_checkpoint(ODD, TENSORS, "here"))
    mel = np.linspace(-1, 1, ODD.n_mels * 2 * ODD.n_audio_ctx, dtype=np.float32).reshape(1, ODD.n_mels, -1)
    features = model.embed_audio(mel)
    states = model.decoder.norm(model.decoder.read(np.array([[1, 2, 3]]), model.decoder.new_cache(features)))
    return states @ TABLE.T


def as_folder(folder: Path, tensors=UNTIED, **config) -> Path:
    models.write_huggingface(folder, ODD, tensors)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | config))
    return folder


def as_ct2(folder: Path) -> Path:
    ct2_files.write_ct2(folder, ODD, UNTIED)
    return folder


def as_apr(path: Path, dtype: str | None = None, compress: bool = False) -> Path:
    write_apr(make_checkpoint(ODD, UNTIED, "here"), path, dtype, compress)
    return path


SOURCES = {
    "Hugging Face": lambda path: as_folder(path, tie_word_embeddings=False),
    "Hugging Face, said to be tied": as_folder,
    "CTranslate2": as_ct2,
    "apr": as_apr,
    "compressed apr": lambda path: as_apr(path, compress=True),
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_projection_is_used(tmp_path, source):
    found = open_checkpoint(SOURCES[source](tmp_path / "model"))
    np.testing.assert_array_equal(plain_tensor(ODD, found.tensors, OUTPUT), TABLE)
    np.testing.assert_allclose(logits(Whisper(found)), expected(), rtol=0, atol=1e-4)
    tied = logits(Whisper(make_checkpoint(ODD, TENSORS, "here")))
    assert np.abs(expected() - tied).max() > 0.1


@pytest.mark.parametrize("dtype", [None, "float16", "int8", "int4"])
def test_apr_keeps_it(tmp_path, dtype):
    """Written again as it is, the file does not change; a stream has it, too."""
    path = as_apr(tmp_path / "model.apr", dtype)
    write_apr(read_apr(path), tmp_path / "again.apr")
    assert (tmp_path / "again.apr").read_bytes() == path.read_bytes()
    stream = AprStream()
    stream.feed(path.read_bytes())
    np.testing.assert_array_equal(logits(Whisper(stream.checkpoint)), logits(Whisper(read_apr(path))))
    limits = {None: 1e-4, "float16": 0.01, "int8": 0.1, "int4": 1}
    assert np.abs(logits(Whisper(read_apr(path))) - expected()).max() < limits[dtype]


def test_flag(tmp_path):
    """A reader that does not know the matrix must refuse the file, so bit 1 of the flags is set."""
    assert as_apr(tmp_path / "untied.apr").read_bytes()[8] == 2
    write_apr(make_checkpoint(ODD, TENSORS, "here"), tmp_path / "tied.apr")
    assert (tmp_path / "tied.apr").read_bytes()[8] == 0


def test_the_flag_must_agree_with_the_tensors(tmp_path, monkeypatch):
    pack = FixedHeader.pack
    monkeypatch.setattr(FixedHeader, "pack", lambda self: pack(replace(self, is_untied=not self.is_untied)))
    for tensors, message in (
        (TENSORS, r"tensor 'decoder\.output\.weight' is missing"),
        (UNTIED, "contradicts its flags"),
    ):
        write_apr(make_checkpoint(ODD, tensors, "here"), tmp_path / "model.apr")
        with pytest.raises(FormatError, match=message):
            read_apr(tmp_path / "model.apr")


def test_only_the_projection_is_saved(tmp_path):
    """Then it is the token embedding, unless the configuration says that there are two."""
    saved = {OUTPUT if name == EMBEDDING else name: value for name, value in TENSORS.items()}
    found = open_checkpoint(as_folder(tmp_path / "tied", saved))
    assert OUTPUT not in found.tensors
    np.testing.assert_array_equal(found.tensors[EMBEDDING], TENSORS[EMBEDDING])
    with pytest.raises(FormatError, match=r"missing: decoder\.token_embedding\.weight"):
        open_checkpoint(as_folder(tmp_path / "untied", saved, tie_word_embeddings=False))


@pytest.mark.parametrize("config", [{}, {"tie_word_embeddings": False}, {"tie_word_embeddings": True}])
def test_two_equal_matrices_are_one(tmp_path, config):
    found = open_checkpoint(as_folder(tmp_path / "model", TENSORS | {OUTPUT: TENSORS[EMBEDDING].copy()}, **config))
    assert OUTPUT not in found.tensors


def test_wrong_shape(tmp_path):
    with pytest.raises(FormatError, match=r"decoder\.output\.weight \(3, 4\) instead of \(77, 36\)"):
        open_checkpoint(as_folder(tmp_path / "model", TENSORS | {OUTPUT: np.zeros((3, 4), np.float32)}))


def test_version_1_cannot_hold_it(tmp_path):
    with pytest.raises(FormatError, match="version 1 files cannot hold an output projection"):
        write_apr_v1(make_checkpoint(ODD, UNTIED, "here"), tmp_path / "old.apr")
