"""openai-whisper's `transcribe`, its command and its writers."""

import io
import json
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import whisper_apr
from recordings import DATA, silence, speech
from whisper_apr.compat import whisper
from whisper_apr.compat.whisper import model, utils

pytestmark = pytest.mark.usefixtures("encoded_once")

# `whisper.transcribe` is the function
TRANSCRIBE = import_module("whisper_apr.compat.whisper.transcribe")
GREEDY = {"temperature": 0.0, "language": "en"}


@pytest.fixture(scope="module")
def digits() -> model.Whisper:
    return whisper.load_model("digits")


# ---- transcribing ---------------------------------------------------------------------------------------------------


def test_transcribe_gives_openai_whispers_word_times(digits: model.Whisper) -> None:
    samples = speech("en")
    expected = whisper_apr.transcribe(digits, samples, word_timestamps=True, word_timing="openai", **GREEDY)
    result = whisper.transcribe(digits, samples, word_timestamps=True, **GREEDY)
    assert result == expected == digits.transcribe(samples, word_timestamps=True, **GREEDY)
    other = digits.transcribe(samples, word_timestamps=True, word_timing="default", **GREEDY)
    assert other != result
    assert other.text == result.text
    json.dumps(result)


def test_options_that_openai_whisper_ignores(digits: model.Whisper) -> None:
    plain = digits.transcribe(speech("en"), **GREEDY)
    assert digits.transcribe(speech("en"), hallucination_silence_threshold=2.0, **GREEDY) == plain


def test_verbose(digits: model.Whisper, capsys: pytest.CaptureFixture[str]) -> None:
    digits.transcribe(speech("en"), temperature=0.0, verbose=True)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Detected language: English"
    assert printed[1].startswith("[00:00.")
    digits.transcribe(speech("en"), temperature=0.0, verbose=False)
    captured = capsys.readouterr()
    assert captured.out == "Detected language: English\n"
    assert "frames" in captured.err
    digits.transcribe(speech("en"), temperature=0.0)
    assert capsys.readouterr() == ("", "")


def test_a_program_may_replace_the_progress_bar(digits: model.Whisper, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    class Bar:
        def __init__(self, total: int, unit: str, disable: bool) -> None:
            steps.append(total)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self, n: int) -> None:
            steps.append(-n)

    monkeypatch.setattr(TRANSCRIBE.tqdm, "tqdm", Bar)
    digits.transcribe(speech("en"), **GREEDY)
    assert steps[0] == round(len(speech("en")) / 160) == -sum(steps[1:])


def test_the_command_writes_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli = TRANSCRIBE.cli
    recording = str(DATA / "en.wav")
    options = ["--model", "digits", "--word_timestamps", "True", "--highlight_words", "True", "--threads", "1"]
    threads = whisper_apr.simd.get_num_threads()
    try:
        cli([recording, "missing.wav", "-o", str(tmp_path / "new"), "--language", "English", *options])
        assert whisper_apr.simd.get_num_threads() == 1
    finally:
        whisper_apr.simd.set_num_threads(threads)
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {f"en.{format}" for format in ("txt", "vtt", "srt", "tsv", "json")}
    assert "<u>three</u>" in (tmp_path / "new" / "en.srt").read_text()
    assert "Skipping missing.wav due to " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli([recording, "--max_line_width", "5"])
    with pytest.raises(SystemExit):
        cli([recording, "--model", "digits", "--device", "cuda"])
    errors = capsys.readouterr().err
    assert "--max_line_width requires --word_timestamps True" in errors
    assert "device must be 'cpu'" in errors


@pytest.mark.parametrize("layout", [["max_line_count", "1"], ["max_words_per_line", "2", "--max_line_width", "30"]])
def test_the_command_warns_of_layouts_without_effect(layout: list[str], tmp_path: Path) -> None:
    arguments = [
        "--model",
        "digits",
        "-o",
        str(tmp_path),
        "-f",
        "srt",
        "--word_timestamps",
        "True",
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        TRANSCRIBE.cli([str(DATA / "en.wav"), *arguments, f"--{layout[0]}", *layout[1:]])
    assert any(f"--{layout[0]} has no effect" in str(each.message) for each in caught)


@pytest.mark.system
def test_the_command_is_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "whisper_apr.compat.whisper", "--help"], capture_output=True, text=True
    )
    assert done.stdout.startswith("usage: whisper ")


def test_silence_has_no_text(digits: model.Whisper) -> None:
    assert digits.transcribe(silence(2), **GREEDY)["text"].strip() == ""


# ---- utilities ------------------------------------------------------------------------------------------------------


def test_small_functions() -> None:
    assert [utils.str2bool("True"), utils.str2bool("False")] == [True, False]
    assert (utils.optional_int("5"), utils.optional_int("None"), utils.optional_float("None")) == (5, None, None)
    assert (utils.optional_float("0.5"), utils.exact_div(6, 3), utils.make_safe("é")) == (0.5, 2, "é")
    with pytest.raises(ValueError, match="'True' or 'False'"):
        utils.str2bool("yes")
    with pytest.raises(AssertionError):
        utils.exact_div(5, 2)
    words = [{"start": 0.5, "end": 1.0, "words": [{"start": 0.6, "end": 0.9}]}, {"start": 1.0, "end": 2.0, "words": []}]
    assert (utils.get_start(words), utils.get_end(words)) == (0.6, 0.9)
    assert (utils.get_start(words[1:]), utils.get_end(words[1:]), utils.get_start([])) == (1.0, 2.0, None)


def test_writers(digits: model.Whisper, tmp_path: Path) -> None:
    result = digits.transcribe(speech("en"), word_timestamps=True, **GREEDY)
    options = {"max_line_width": None, "max_words_per_line": 2, "highlight_words": False, "max_line_count": None}
    utils.get_writer("all", tmp_path)(result, "folder/en.wav", options)
    layout = whisper_apr.LineOptions(max_words_per_line=2)
    for format in ("txt", "srt", "vtt", "tsv", "json"):
        expected = io.StringIO(newline="")
        whisper_apr.output.write(result, format, expected, layout)
        assert (tmp_path / f"en.{format}").read_bytes().decode() == expected.getvalue()
        writer = utils.get_writer(format, tmp_path)
        text = io.StringIO(newline="")
        writer.write_result(result, text, {"max_words_per_line": 5}, max_words_per_line=2)
        assert text.getvalue() == expected.getvalue()
    cues = list(utils.WriteSRT("").iterate_result(result, max_words_per_line=2))
    assert (tmp_path / "en.srt").read_text().count(" --> ") == len(cues)
    assert f"{cues[0][0]} --> {cues[0][1]}\n{cues[0][2]}\n" in (tmp_path / "en.srt").read_text()
    assert utils.WriteVTT("").format_timestamp(1.5) == "00:01.500"
    utils.get_writer("md", tmp_path)(result, "en.wav")
    assert (tmp_path / "en.md").exists()


def test_a_programs_writer(tmp_path: Path) -> None:
    class Shout(utils.WriteTXT):
        extension = "loud"

        def write_result(self, result: Any, file: Any, options: Any = None, **kwargs: Any) -> None:
            file.write(result["text"].upper() + kwargs["end"])

    Shout(tmp_path)({"text": "a", "segments": []}, "b.wav", end="!")
    assert (tmp_path / "b.loud").read_text() == "A!"
    with pytest.raises(NotImplementedError):
        utils.ResultWriter(tmp_path)({"text": "a", "segments": []}, "b.wav")
