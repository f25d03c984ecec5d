"""The command `whisper-apr eval`: its tables, its JSON file and its errors."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from encoded import digits
from whisper_apr.cli import main

pytestmark = pytest.mark.usefixtures("opened_once")

DATA = Path(__file__).parent / "data"
TEXTS = {"de.wav": "null acht drei null", "fr.wav": "zéro trois trois deux deux"}  # one substituted, one inserted
BASE = ("--model", "digits", "--beam-size", "None")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two recordings and their texts."""
    made = tmp_path / "speech"
    made.mkdir()
    for name, text in TEXTS.items():
        shutil.copy(DATA / name, made)
        (made / name).with_suffix(".txt").write_text(text, encoding="utf-8")
    return made


def run(*arguments: object) -> int:
    return main(["eval", *BASE, *map(str, arguments)])


def rows(text: str) -> list[list[str]]:
    """Return the cells of the printed tables."""
    lines = [line for line in text.splitlines() if line and not line.startswith("| -")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


ERRORS = ["unit", "count", "substituted", "deleted", "inserted", "errors, %"]


def test_tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--compute-type", "float32,int8", "--per-file") == 0
    out, err = capsys.readouterr()
    assert not err
    found = rows(out)
    assert found[:5] == [
        ["recording", "type", *ERRORS],
        ["de.wav", "float32", "words", "4", "1", "0", "1", "50.00"],
        ["de.wav", "int8", "words", "4", "1", "0", "1", "50.00"],
        ["fr.wav", "float32", "words", "5", "0", "0", "0", "0.00"],
        ["fr.wav", "int8", "words", "5", "0", "0", "0", "0.00"],
    ]
    assert found[5:8] == [
        ["type", "recordings", *ERRORS, "95 %", "change from float32, 95 %"],
        ["float32", "2", "words", "9", "1", "0", "1", "22.22", "0.00 to 50.00", ""],
        ["int8", "2", "words", "9", "1", "0", "1", "22.22", "0.00 to 50.00", "+0.00 to +0.00"],
    ]
    head, *agreement = found[8:]
    assert head == ["type", "tokens", "count", "same, %", "divergence, nats"]
    assert [row[:2] for row in agreement] == [["int8", kind] for kind in ("all", "text", "timestamps")]
    counts = [int(row[2]) for row in agreement]
    assert counts[0] == counts[1] + counts[2]
    assert counts[2] == 4
    assert all(float(row[3]) >= 90 and 0 < float(row[4]) < 0.1 for row in agreement)


def test_json(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "eval.json"
    assert run(folder, "--compute-type", "float32,int4", "--json", file, "--language", "de") == 0
    assert "de.wav" not in capsys.readouterr().out  # without --per-file
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    assert (found["model"], found["reference"], found["source"]) == ("digits", "digits", str(folder))
    assert found["options"]["language"] == "de"
    assert list(found["types"]) == ["float32", "int4"]
    plain, quantized = found["types"].values()
    assert plain["agreement"] is None
    counts = {"substitutions": 1, "deletions": 0, "insertions": 1, "n_reference": 9, "errors": 2, "rate": 2 / 9}
    assert plain["words"] == counts | {"interval": [0, 0.5], "change": None}
    assert plain["languages"] == {"de": {"words": counts}}
    assert quantized["words"]["change"] is not None
    assert plain["characters"]["n_reference"] == 0
    first = plain["recordings"][0]
    assert {name: first[name] for name in ("file", "language", "reference", "text", "unit", "errors", "rate")} == {
        "file": "de.wav",
        "language": "de",
        "reference": TEXTS["de.wav"],
        "text": " null sieben drei null zwei",
        "unit": "words",
        "errors": 2,
        "rate": 0.5,
    }
    for each in (quantized, *quantized["recordings"]):
        parts = each["agreement"]
        assert parts["all"]["n_token"] == parts["text"]["n_token"] + parts["timestamps"]["n_token"] > 0
        assert 0 < parts["all"]["divergence"] < 1
        assert parts["all"]["top_1"] == parts["all"]["n_same"] / parts["all"]["n_token"]


def test_per_language(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--no-agreement", "--per-language") == 0
    found = rows(capsys.readouterr().out)
    assert found[:3] == [
        ["language", "type", "recordings", *ERRORS],
        ["de", "default", "1", "words", "4", "1", "0", "1", "50.00"],
        ["fr", "default", "1", "words", "5", "0", "0", "0", "0.00"],
    ]
    assert found[3] == ["type", "recordings", *ERRORS, "95 %"]  # there is no other type to compare with


def test_without_agreement(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "eval.json"
    assert run(folder, "--no-agreement", "--json", file) == 0
    assert "divergence" not in capsys.readouterr().out
    content = json.loads(file.read_text("utf-8"))
    assert content["reference"] is content["types"]["default"]["agreement"] is None


def test_reference_is_another_model(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same network in a file: of 4 bits, it agrees with itself; the exact model does not agree with it fully."""
    target = tmp_path / "int4.apr"
    assert main(["convert", "digits", str(target), "--dtype", "int4"]) == 0
    figures = []
    for model, reference in ((target, target), ("digits", target)):
        capsys.readouterr()
        assert main(["eval", str(folder), "--model", str(model), "--reference", str(reference)]) == 0
        figures.append(float(rows(capsys.readouterr().out)[-3][-1]))
    assert figures[0] == 0 < figures[1]


def test_characters_are_counted_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "texts.json").write_text(
        json.dumps({"de.wav": {"text": "三", "language": "ja"}, "fr.wav": {"text": "zéro", "language": "fr"}})
    )
    assert run(folder, "--no-agreement") == 0
    found = rows(capsys.readouterr().out)
    assert [(row[2], row[3]) for row in found[1:]] == [("words", "1"), ("characters", "1")]


def test_unreadable_recordings_are_told_and_the_rest_is_measured(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "de.wav").write_bytes(b"RIFF")
    assert run(folder, "--no-agreement") == 1
    out, err = capsys.readouterr()
    assert rows(out)[1][:4] == ["default", "1", "words", "5"]
    assert err.startswith(f"whisper-apr: {folder / 'de.wav'}: ")
    assert err.count("\n") == 1


def test_languages_that_the_model_lacks_are_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "texts.json").write_text(
        json.dumps({"de.wav": {"text": "null", "language": "de"}, "fr.wav": {"text": "zero", "language": "en"}})
    )
    monkeypatch.setattr(digits(), "is_multilingual", False)
    assert run(folder, "--no-agreement") == 0
    out, err = capsys.readouterr()
    assert rows(out)[1][1] == "1"
    assert err == "whisper-apr: 1 of 2 recordings are in languages that the model lacks; left out\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--no-agreement", "--reference", "digits"), "--reference has no effect with --no-agreement"),
        (("--compute-type", ","), "--compute-type names no type"),
        (("--compute-type", "float32,int3"), "compute_type must be"),
        (("--vad-threshold", "0.5"), "--vad-threshold needs --vad-filter True"),
    ],
)
def test_wrong_arguments(
    arguments: tuple[str, ...], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, *arguments) == 2
    assert message in capsys.readouterr().err


def test_folder_without_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(DATA / "en.wav", tmp_path)
    assert run(tmp_path) == 2
    assert "no recording has a text here" in capsys.readouterr().err


def test_the_json_file_is_checked_before_anything_is_loaded(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whisper_apr.cli.arguments.load_model", lambda *_, **__: pytest.fail("loaded"))
    assert run(folder, "--json", tmp_path / "missing" / "eval.json") == 1
    assert "eval.json cannot be written" in capsys.readouterr().err


def test_control_characters_in_names_are_escaped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "texts.json").write_text(json.dumps({"\x1b[31m.wav": "zéro", "./fr.wav": "zéro"}))
    shutil.copy(folder / "fr.wav", folder / "\x1b[31m.wav")
    assert run(folder, "--no-agreement", "--per-file") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"\x1b[31m.wav" in out


def test_convert_compares_the_file_with_its_source(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "digits.apr"
    assert main(["convert", "digits", str(file), "--dtype", "int4", "--eval", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert not err
    path, _, tables = out.partition("\n")
    assert path.startswith(f"{file}: ")
    found = rows(tables)
    assert [row[:2] for row in found[:3]] == [["type", "recordings"], ["source", "2"], ["file", "2"]]
    head, *agreement = found[3:]
    assert head == ["type", "tokens", "count", "same, %", "divergence, nats"]
    assert [row[:2] for row in agreement] == [["file", kind] for kind in ("all", "text", "timestamps")]
    assert float(agreement[0][4]) > 0


def test_convert_finds_the_recordings_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "digits.apr"
    assert main(["convert", "digits", str(file), "--eval", str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err
    assert not file.exists()
