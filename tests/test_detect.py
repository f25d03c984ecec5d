"""The format of a model is detected from its content, not from its name."""

from pathlib import Path

import pytest

from models import SMALLEST, random_tensors, write_huggingface, write_pt
from whisper_apr.errors import FormatError, ModelNotFoundError
from whisper_apr.formats import open_checkpoint


@pytest.mark.parametrize("name", ["model.pt", "model.bin", "model.safetensors", "model.wav", "model", "modèle 模型.pt"])
def test_pt_with_any_name(tmp_path: Path, name: str) -> None:
    path = write_pt(tmp_path / name, SMALLEST, random_tensors(SMALLEST, 0))
    assert open_checkpoint(path).dims == SMALLEST
    assert open_checkpoint(str(path)).dims == SMALLEST


@pytest.mark.parametrize("name", ["model.pt", "weights"])
def test_safetensors_with_any_name(tmp_path: Path, name: str) -> None:
    folder = write_huggingface(tmp_path / "folder", SMALLEST, random_tensors(SMALLEST, 0))
    path = (folder / "model.safetensors").rename(folder / name)
    assert open_checkpoint(path).dims == SMALLEST


def test_a_folder(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "folder", SMALLEST, random_tensors(SMALLEST, 0))
    assert open_checkpoint(tmp_path / "folder").dims == SMALLEST


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a Whisper model in a supported format"),
        (b"hello", "not a Whisper model in a supported format"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a Whisper model in a supported format"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "saved by torch before version 1.6"),
        (b"PK\x03\x04", "damaged"),
        (b"PK\x03\x04" + bytes(1000), "damaged"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no model\.safetensors in it"):
        open_checkpoint(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"nowhere\.pt: no such file"):
        open_checkpoint(tmp_path / "nowhere.pt")
