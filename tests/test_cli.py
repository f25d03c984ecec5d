"""The command `whisper-apr`: stdout, stderr and exit status of its subcommands."""

import os
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from whisper_apr import __version__, load_audio, load_model, simd
from whisper_apr.audio import SAMPLE_RATE, resample
from whisper_apr.cli import main

pytestmark = pytest.mark.usefixtures("opened_once")

DATA = Path(__file__).parent / "data"
EN, DE = DATA / "en.wav", DATA / "de.wav"


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    model = load_model("digits")
    return {path: model.transcribe(path, beam_size=5).text.strip() for path in (EN, DE)}


def run(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def transcribe(*arguments: object) -> int:
    return run("transcribe", "--model", "digits", *arguments)


@pytest.fixture(autouse=True)
def _same_threads():
    threads = simd.get_num_threads()
    with simd.use_backend(simd.backend()):
        yield
    simd.set_num_threads(threads)


def test_text_is_printed(capsys, texts):
    assert transcribe(EN) == 0
    out, err = capsys.readouterr()
    assert out.split() == texts[EN].split()
    assert err == ""


def test_formats_are_printed(capsys, texts):
    assert transcribe(EN, "-f", "srt", "--language", "English") == 0
    assert capsys.readouterr().out.startswith("1\n00:00:00,000 --> ")
    assert transcribe(EN, "--verbose", "True") == 0
    assert capsys.readouterr().out.startswith("[00:00.000 --> ")


def test_a_file_that_fails_does_not_stop_the_others(tmp_path, capsys, texts):
    (tmp_path / "text.wav").write_text("no sound")
    assert transcribe(tmp_path / "gone.wav", tmp_path / "text.wav", EN) == 1
    out, err = capsys.readouterr()
    assert out == f"==> {EN} <==\n{texts[EN]}\n"
    lines = err.splitlines()
    assert len(lines) == 3
    assert "gone.wav" in lines[0]
    assert "text.wav" in lines[1]
    assert "1 done, 2 failed" in lines[2]


@pytest.mark.parametrize("size", [2, 8])
def test_several_files_in_one_batch(tmp_path, capsys, texts, size):
    """Texts are printed in order, as without a batch. A recording that fails is reported, and the others are done."""
    (tmp_path / "text.wav").write_text("no sound")
    assert (
        transcribe(EN, tmp_path / "gone.wav", DE, tmp_path / "text.wav", EN.parent / "fr.wav", "--batch_size", size)
        == 1
    )
    out, err = capsys.readouterr()
    fr = EN.parent / "fr.wav"
    assert transcribe(fr, "--batch_size", size) == 0
    expected = {EN: texts[EN], DE: texts[DE], fr: capsys.readouterr().out.strip()}
    assert out == "\n".join(f"==> {path} <==\n{text}\n" for path, text in expected.items())
    assert ["gone.wav" in line or "text.wav" in line or "3 done, 2 failed" in line for line in err.splitlines()] == (
        [True] * 3
    )
    folder = tmp_path / "out"
    assert transcribe(EN, DE, tmp_path / "gone.wav", "--batch_size", size, "-o", folder, "-f", "txt") == 1
    assert (folder / "de.txt").read_text().split() == texts[DE].split()
    assert sorted(p.name for p in folder.iterdir()) == ["de.txt", "en.txt"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["transcribe"], "FILE"),
        (["transcribe", EN, "--frobnicate"], "frobnicate"),
        (["transcribe", EN, "--model", "digits", "--backend", "mmx"], "mmx"),
        (["transcribe", EN, "--model", "digits", "--language", "klingon"], "klingon"),
        (["transcribe", EN, "--max-line-width", "20"], "--word-timestamps"),
        (["transcribe", EN, "--temperature", "-1"], "temperature"),
        (["transcribe", EN, "--vad-threshold", "0.3"], "--vad-filter"),
        (["transcribe", EN, "--model", "digits", "--compute-type", "int3"], "int3"),
        (["live", "--model", "digits", "--input", "mic", "--channels", "2"], "--channels"),
        (["live", "--model", "digits", "--input", "-", "--step", "0"], "step"),
        (["transcribe", EN, "--threads", "many"], "many"),
        (["transcribe", "no*such*file"], "no*such*file"),
        (["transcribe", EN, "--overwrite"], "--output-dir"),
        (["transcribe", EN, "-o", "out", "--overwrite", "--skip-existing"], "not allowed with"),
        ([], "COMMAND"),
        (["sing"], "sing"),
    ],
)
def test_wrong_arguments_are_status_2_and_one_line(capsys, arguments, says):
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err


def test_a_missing_model(capsys, tmp_path):
    assert run("transcribe", EN, "--model", tmp_path / "no-model.pt") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"no-model.pt: no such file or folder; it is looked for in {str(tmp_path)!r}" in err


def test_info(capsys):
    assert run("info") == 0
    out = capsys.readouterr().out
    assert __version__ in out
    assert ", ".join(simd.backends()) in out


@pytest.mark.parametrize(
    ("variable", "backends", "reason"),
    [
        ("", ("numpy", "scalar", "best"), "the fastest of them"),
        ("scalar", ("numpy", "scalar", "best"), "WHISPER_APR_BACKEND says so"),
        ("", ("numpy",), "there are no compiled kernels: install a wheel, or build the extension"),
    ],
)
def test_info_says_why_the_backend_is_in_use(capsys, monkeypatch, variable, backends, reason):
    monkeypatch.setenv("WHISPER_APR_BACKEND", variable)
    monkeypatch.setattr(simd, "backends", lambda: backends)
    assert run("info") == 0
    assert f"in use:   {simd.backend()} ({reason})\n" in capsys.readouterr().out


def test_threads_and_backend(capsys, texts):
    other = simd.backends()[-2]
    assert transcribe(EN, "--threads", 1, "--backend", other) == 0
    assert (simd.get_num_threads(), simd.backend()) == (1, other)
    assert capsys.readouterr().out.split() == texts[EN].split()


def test_options_reach_the_engine(capsys, texts):
    flags = [
        "--beam-size",
        "None",
        "--language",
        "English",
        "--word-timestamps",
        "--max_words_per_line",
        2,
        "-f",
        "vtt",
    ]
    flags += [
        "--hotwords",
        "three,four",
        "--batch-size",
        2,
        "--repetition-penalty",
        "1.01",
        "--compute-type",
        "float32",
    ]
    assert transcribe(EN, *flags) == 0
    cues = [line for line in capsys.readouterr().out.splitlines()[1:] if line and "-->" not in line]
    assert " ".join(cues).split() == texts[EN].split()
    assert all(len(cue.split()) <= 2 for cue in cues)


# openai-whisper's flags, with examples or defaults from its help
OPENAI = """
--model digits --model_dir models --device cpu --output_dir . --output_format all --verbose True --task
transcribe --language English --temperature 0 --best_of 5 --beam_size 5 --patience 1 --length_penalty 0.5
--suppress_tokens -1 --initial_prompt one --carry_initial_prompt False --condition_on_previous_text True --fp16
True --temperature_increment_on_fallback 0.2 --compression_ratio_threshold 2.4 --logprob_threshold -1.0
--no_speech_threshold 0.6 --word_timestamps True --prepend_punctuations \"'“¿([{- --append_punctuations
\"'.。,，!！?？:：”)]}、 --highlight_words False --max_line_width 20 --max_line_count 2 --max_words_per_line 3
--threads 1 --clip_timestamps 0,3 --hallucination_silence_threshold 2
"""  # noqa: RUF001


def test_openai_whispers_flags(tmp_path, monkeypatch, capsys):
    """All of its flags are accepted in its spelling, and the same files are written."""
    monkeypatch.chdir(tmp_path)
    assert run("transcribe", EN, *OPENAI.split()) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"en.txt", "en.srt", "en.vtt", "en.tsv", "en.json"}
    assert "] three one four one five\n" in capsys.readouterr().out


# ---- live -----------------------------------------------------------------------------------------------------------


class Microphone:
    """A fake of the package sounddevice: delivers a recording at once; then the user presses Ctrl-C.

    Like PortAudio, it reuses the buffer of a block, and reports with a block that samples before it were lost.
    """

    PortAudioError = RuntimeError

    def __init__(self, samples: np.ndarray, rate: int = SAMPLE_RATE, lost_before: tuple[int, ...] = ()) -> None:
        self.samples, self.rate, self.lost_before, self.is_open = samples, rate, lost_before, False

    def InputStream(self, *, samplerate: int, channels: int, dtype: str, callback) -> "Microphone":
        assert (samplerate, channels, dtype) == (self.rate, 1, "float32")
        self.callback = callback
        return self

    def __enter__(self) -> None:
        self.is_open = True
        for k, i in enumerate(range(0, len(self.samples), 1000)):
            buffer = self.samples[i : i + 1000, None].copy()
            status = SimpleNamespace(input_overflow=True) if k in self.lost_before else None
            self.callback(buffer, len(buffer), None, status)
            buffer[:] = np.nan

    def __exit__(self, *error: object) -> None:
        self.is_open = False


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 48_000])
def test_live_from_the_microphone(capsys, monkeypatch, texts, rate):
    microphone = Microphone(resample(load_audio(EN), SAMPLE_RATE, rate), rate)
    monkeypatch.setitem(sys.modules, "sounddevice", microphone)
    monkeypatch.setattr(queue.Queue, "get", _get_or_interrupt(queue.Queue.get))
    assert run("live", "--model", "digits", "--input", "mic", "--rate", rate) == 0
    out, err = capsys.readouterr()
    assert (out.split(), err, microphone.is_open) == (texts[EN].split(), "", False)


def test_an_overflow_of_the_microphone_is_reported_once(capsys, monkeypatch, texts):
    monkeypatch.setitem(sys.modules, "sounddevice", Microphone(load_audio(EN), lost_before=(2, 5, 9)))
    monkeypatch.setattr(queue.Queue, "get", _get_or_interrupt(queue.Queue.get))
    assert run("live", "--model", "digits", "--input", "mic") == 0
    out, err = capsys.readouterr()
    assert out.split() == texts[EN].split()
    assert err.count("\n") == 1
    assert "lost" in err


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _get_or_interrupt(get):
    """Return a `Queue.get` that raises KeyboardInterrupt if the queue is empty."""
    return lambda self, block=True, timeout=None: _interrupt() if block and self.empty() else get(self, block, timeout)


def test_live_without_a_microphone(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert run("live", "--model", "digits", "--input", "mic") == 1
    assert "whisper-apr[mic]" in capsys.readouterr().err


# ---- as a process ---------------------------------------------------------------------------------------------------


def process(*arguments: object, **settings: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "whisper_apr", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **(pipes | settings))  # type: ignore[call-overload, no-any-return]


@pytest.mark.system
def test_stdin_and_a_plain_locale(texts):
    environment = os.environ | {"LC_ALL": "C"}
    with EN.open("rb") as file, process("transcribe", "--model", "digits", "-", stdin=file, env=environment) as child:
        out, err = child.communicate()
    assert (out.split(), err, child.returncode) == (texts[EN].encode().split(), b"", 0)


@pytest.mark.system
@pytest.mark.parametrize(("name", "dtype"), [("s16le", "<i2"), ("f32le", "<f4")])
def test_live_from_stdin(texts, tmp_path, name, dtype):
    """Raw samples at another rate, with an incomplete sample at the end."""
    samples = resample(load_audio(EN), SAMPLE_RATE, 8000)
    scaled = samples * 32767 if dtype == "<i2" else samples
    (tmp_path / "raw").write_bytes(scaled.astype(dtype).tobytes() + b"x")
    flags = ("--model", "digits", "--rate", 8000, "--sample-format", name, "--step", 3)
    with (tmp_path / "raw").open("rb") as file, process("live", *flags, stdin=file) as child:
        out, err = child.communicate()
    assert (err, child.returncode) == (b"", 0)
    whole = load_model("digits").transcribe(resample(samples, 8000, SAMPLE_RATE))
    assert out.decode().split() == whole.text.split()


@pytest.mark.system
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes and signals")
def test_a_closed_pipe():
    with process("info") as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.wait() == 141
        assert child.stderr is not None
        assert child.stderr.read() == b""


@pytest.mark.system
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes and signals")
def test_ctrl_c(tmp_path):
    fifo = tmp_path / "never.wav"
    os.mkfifo(fifo)
    with process("transcribe", "--model", "digits", EN, fifo) as child:
        assert child.stdout is not None
        assert child.stdout.readline()  # the first file is done, and the command waits for the second
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate()
    assert child.returncode == 130
    assert err.splitlines()[-1] == b"whisper-apr: interrupted"
