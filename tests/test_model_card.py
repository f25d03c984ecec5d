"""Licenses: read from model cards, kept by conversion, and shown."""

import pytest

import models
from hub_server import COMMIT, NAME
from whisper_apr import load_model
from whisper_apr.cli import main
from whisper_apr.formats.apr import read_apr
from whisper_apr.formats.model_card import read_license

CARDS = {
    "---\nlanguage: en\nlicense: apache-2.0\ntags:\n- a\n---\n# Model\nlicense: mit\n": "apache-2.0",
    '---\r\nlicense: "mit"  \r\n---\r\n': "mit",
    "---\nlicense: other\nlicense_name: made-up\nlicense_link: LICENSE\n---": "other made-up LICENSE",
    "---\nmodel:\n  license: mit\n---\n": "",
    "---\nlicense:\n---\n": "",
    "# Model\nlicense: mit\n": "",
    "": "",
}


@pytest.mark.parametrize("card", CARDS)
def test_card(tmp_path, card):
    (tmp_path / "README.md").write_bytes(card.encode())
    assert read_license(tmp_path / "README.md") == CARDS[card]


def test_no_card(tmp_path):
    assert read_license(tmp_path / "README.md") == ""
    assert read_license(tmp_path) == ""


def test_license_is_kept_by_conversion(tmp_path, capsys):
    folder = models.write_huggingface(tmp_path / "hf", models.SMALLEST, models.random_tensors(models.SMALLEST, 0))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    for arguments, license in (([], "mit"), (["--license", "CC0"], "CC0")):
        assert main(["convert", str(folder), str(tmp_path / "out.apr"), *arguments]) == 0
        assert read_apr(tmp_path / "out.apr").license == license
        assert main(["convert", str(tmp_path / "out.apr"), str(tmp_path / "again.apr")]) == 0
        assert read_apr(tmp_path / "again.apr").license == license
        capsys.readouterr()
        assert main(["inspect", str(tmp_path / "again.apr")]) == 0
        assert f"license:          {license}\n" in capsys.readouterr().out


def test_digits(tmp_path, capsys):
    assert main(["convert", "digits", str(tmp_path / "out.apr")]) == 0
    assert read_apr(tmp_path / "out.apr").license == "CC BY-SA 4.0"
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "out.apr")]) == 0
    assert "source:           whisper_apr's digits" in capsys.readouterr().out


def test_from_the_hub(hub, tmp_path):
    (tmp_path / "served" / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    load_model(NAME)
    (path,) = (tmp_path / "home" / "whisper-apr").glob("*.apr")
    assert read_apr(path).license == "apache-2.0"
    # a folder in the cache, and a file in it, are described like a model of the hub
    (folder,) = (tmp_path / "home" / "hub").glob("*/snapshots/*")
    for source in (folder, folder / "model.safetensors"):
        assert main(["convert", str(source), str(tmp_path / "out.apr")]) == 0
        assert read_apr(tmp_path / "out.apr").license == "apache-2.0"
        assert read_apr(tmp_path / "out.apr").provenance == read_apr(path).provenance == {"source": f"{NAME}@{COMMIT}"}
