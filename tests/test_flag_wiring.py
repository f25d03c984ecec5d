"""Every flag of some commands has an effect on the network, the search or the output.

The commands are `whisper-apr transcribe`, `align`, `live`, `eval` and `corpus`. The flags are taken from the command's
parser; one without a row in the tables fails. Most rows are those of test_option_wiring.py.
"""

import argparse
import json
import shutil
from collections import deque
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import soundfile

from recordings import DATA
from test_option_wiring import ENGINE, MARKS, Row, nothing
from whisper_apr import simd
from whisper_apr.cli import make_parser
from whisper_apr.cli.decoding import READING_OPTIONS
from whisper_apr.cli.eval_report import Report
from whisper_apr.corpus import tasks
from whisper_apr.corpus.parquet import RECORD
from whisper_apr.corpus.tasks import MakeWork, Outcome, Task
from wiring import Failed, run, sound


def srt(**more: Any) -> dict[str, Any]:
    return {"output_format": "srt", "word_timestamps": True} | more


TWICE = {"temperature": 0.0, "temperature_increment_on_fallback": 1.0}
EXISTING = {"output_dir": "existing", "output_format": "txt"}  # a folder with a file of the result's name
SPEECH = {"vad_filter": True}

# Rows by the flags' names in argparse; a source is a file's name. vad_parameters is given by several flags, and the
# command always sets clamp_times.
TRANSCRIBE = {name: row for name, row in ENGINE.items() if name not in ("vad_parameters", "clamp_times")} | {
    "no_recursive": Row(True, {}, "folder"),
    "watch": Row(True, raises=Failed),  # without --output-dir
    "model": Row("other"),
    "model_dir": Row("models"),
    "compute_type": Row("int8"),
    "threads": Row(1, {"threads": 2}),
    "backend": Row(simd.backends()[-2]),
    "device": nothing("cpu"),  # the only choice
    "output_format": Row("srt"),
    "output_dir": Row("out"),
    "skip_existing": Row(True, EXISTING),
    "overwrite": Row(True, EXISTING),
    "verbose": Row(True),
    # the highest temperature is 1, at which samples of clear speech do not differ
    "temperature": Row(1.0, {}, "unclear"),
    "seed": Row(2, {"temperature": 1.0}, "unclear"),
    "best_of": Row(3, {"temperature": 1.0}),
    "length_penalty": Row(0.0, {"beam_size": 5}, "unclear"),
    "length_exponent": Row(0.0, {"beam_size": 5}, "unclear"),
    "prompt_reset_on_temperature": Row(0.0, {"temperature": 0.4, "seed": 0}, "long"),
    "compression_ratio_threshold": Row(0.1, TWICE),
    "logprob_threshold": Row(0.0, TWICE),
    "temperature_increment_on_fallback": Row(0.9, {"compression_ratio_threshold": 0.1}),
    "colors": Row(True),
    "speakers": Row(str(DATA / "turns.rttm")),
    "word_timing": Row("openai", {"word_timestamps": True, "sample_len": 4}),
    "prepend_punctuations": Row("", MARKS | {"output_format": "json"}),
    "append_punctuations": Row("", MARKS | {"output_format": "json"}),
    "highlight_words": Row(True, srt()),
    "max_line_width": Row(10, srt()),
    "max_line_count": Row(1, srt(max_line_width=10)),
    "max_words_per_line": Row(2, srt()),
    "channel": Row(1, {}, "stereo"),
    "track": Row(0),  # the only one, and the default: only the reader's arguments differ
    "strict": Row(True, {}, "loud", raises=Failed),
    "vad_threshold": Row(0.99, SPEECH, "long"),
    "vad_neg_threshold": Row(0.9, SPEECH, "long"),
    "vad_min_speech_duration_ms": Row(20_000, SPEECH, "long"),
    "vad_max_speech_duration_s": Row(1.0, SPEECH, "long"),
    "vad_min_silence_duration_ms": Row(100, SPEECH, "long"),
    "vad_speech_pad_ms": Row(0, SPEECH, "long"),
}
LIVE = {
    "model": Row("other"),
    "model_dir": Row("models"),
    "compute_type": Row("int8"),
    "threads": Row(1, {"threads": 2}),
    "backend": Row(simd.backends()[-2]),
    "language": Row("de"),
    "task": Row("translate"),
    "input": Row("mic", raises=Failed),  # the package sounddevice is missing
    "rate": Row(8000),
    "channels": Row(2, {}, "stereo"),
    "channel": Row(1, {"channels": 2}, "stereo"),
    "strict": Row(True, {"sample_format": "f32le"}, "loud", raises=Failed),
    "sample_format": Row("f32le", {}, "loud"),
    "step": Row(1.0),
    "settle": Row("final", {"step": 0.5}, "unbroken"),
}
as_json = Report.as_json
# those of `transcribe` that say how to decode
DECODING = set(ENGINE) - {"vad_parameters", "clamp_times", "fp16"} | {
    "temperature_increment_on_fallback",
    *READING_OPTIONS,
}
EVAL = {name: row for name, row in TRANSCRIBE.items() if name in DECODING or name.startswith("vad_")} | {
    **{name: TRANSCRIBE[name] for name in ("model", "model_dir", "compute_type", "threads", "backend")},
    "reference": Row("other"),
    "no_agreement": Row(True),
    "per_file": Row(True),
    "per_language": Row(True),
    "json": Row("other.json"),
    "word_timing": Row("openai", {"word_timestamps": True, "sample_len": 4}),
    # the errors of a text do not depend on its division into words with times, nor on who says them
    "prepend_punctuations": nothing(""),
    "append_punctuations": nothing(""),
    "speakers": nothing(str(DATA / "turns.rttm")),
}
ALIGN = {
    **{name: TRANSCRIBE[name] for name in ("model", "model_dir", "compute_type", "threads", "backend")},
    **{name: TRANSCRIBE[name] for name in ("channel", "track", "strict")},
    "language": Row("de"),
    "segments": Row("sentences"),
    "output_format": Row("json"),
    "output": Row("result.srt"),
    "overwrite": Row(True, {"output": "existing/short.txt"}),
    "highlight_words": Row(True),
    "max_line_width": Row(10),
    "max_line_count": Row(1, {"max_line_width": 10}),
    "max_words_per_line": Row(2),
}
CORPUS = {name: row for name, row in TRANSCRIBE.items() if name in DECODING or name.startswith("vad_")} | {
    **{name: TRANSCRIBE[name] for name in ("no_recursive", "model", "model_dir", "compute_type", "backend")},
    "threads": Row(2),
    "output_dir": Row("other"),
    "format": Row("parquet", raises=Failed),  # the package pyarrow is missing
    "shard_size": Row(1, {}, "folder"),
    "shard_seconds": Row(1e-6, {}, "folder"),
    "retry_failed": Row(True, {"output_dir": "existing"}),
    "engine": Row("ray", raises=Failed),  # the package ray is missing
    "workers": Row(3),
    "address": Row("auto", raises=Failed),  # it needs --engine ray, with which tests/corpus uses it
    "split_hours": Row(0.005, {}, "long"),
    "retries": Row(0, {}, "killed.jsonl", raises=Failed),
    "time_limit": Row(1e-6, raises=Failed),
    "part": Row("1/2", {}, "folder"),
    "max_download": nothing(1),  # for URLs only, see test_corpus_work.py
    # windows are independent of each other
    "condition_on_previous_text": nothing(False),
    "prompt_reset_on_temperature": nothing(0.0),
    "batch_size": Row(1, {}, "long"),
    "prepend_punctuations": Row("", MARKS),
    "append_punctuations": Row("", MARKS),
    "word_timing": Row("openai", {"word_timestamps": True, "sample_len": 4}),
}
COMMANDS = {"transcribe": TRANSCRIBE, "live": LIVE, "eval": EVAL, "align": ALIGN, "corpus": CORPUS}
BASES = {
    "transcribe": {
        "language": "en",
        "temperature": 0.0,
        "temperature_increment_on_fallback": None,
        "beam_size": None,
        "best_of": None,
    },
    "live": {"language": "en", "step": 3.0, "input": "-"},
}
BASES["align"] = {"language": "en"}
BASES["corpus"] = BASES["transcribe"] | {"output_dir": "out"}
BASES["eval"] = BASES["transcribe"] | {"json": "out.json"}
WITHOUT_VALUE = (
    "no_recursive",
    "watch",
    "skip_existing",
    "overwrite",
    "colors",
    "no_agreement",
    "per_file",
    "per_language",
    "retry_failed",
)


def flags_of(command: str) -> set[str]:
    (subparsers,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    actions = subparsers.choices[command]._actions
    return {action.dest for action in actions if action.option_strings} - {"help"}


def argv(options: dict[str, Any]) -> list[str]:
    """Return the options as command-line arguments."""
    found: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if name in WITHOUT_VALUE:
            found += [flag] * value
        elif name != "language" or value is not None:
            found.append(f"{flag}={','.join(map(str, value)) if isinstance(value, list) else value}")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recordings."""
    made = tmp_path_factory.mktemp("wiring")
    for name in ("short", "long", "stereo", "loud", "unclear", "silent"):
        soundfile.write(made / f"{name}.wav", sound(name), 16_000, subtype="FLOAT")
        (made / f"{name}.json").write_text(f'{{"{name}.wav": "three one four one five"}}')
    (made / "folder" / "inner").mkdir(parents=True)
    for name in ("folder/a.wav", "folder/inner/b.wav"):
        shutil.copy(made / "short.wav", made / name)
    (made / "text.txt").write_text("three one. four one five\n")
    (made / "killed.jsonl").write_text('{"path": "short.wav", "id": "killed once"}')
    for name in ("short", "stereo", "unbroken"):
        (made / f"{name}.raw").write_bytes((sound(name) * 32767).astype("<i2").tobytes())
    (made / "loud.raw").write_bytes(sound("loud").astype("<f4").tobytes())
    return made


class OneWorker:
    """An engine without processes, for traces of `corpus`. The worker of the recording "killed once" ends once."""

    def __init__(self, make: MakeWork, n_worker: int, time_limit: tasks.TimeLimit) -> None:
        self.n_worker, self.load_seconds, self._queue = n_worker, list[float](), deque[Task]()
        self._work = make(lambda: None)

    def submit(self, task: Task) -> None:
        self._queue.append(task)

    def wait(self, seconds: float) -> list[tuple[Task, Outcome]]:
        task = self._queue.popleft()
        if task.item.id == "killed once" and task.attempt == 1:
            return [(task, tasks.Failed("the worker has ended"))]
        return [(task, self._work(task))]

    def close(self) -> None:
        pass


def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `corpus` have results that depend on its flags only: not on time, chance or the settings that it stores."""
    monkeypatch.setattr("whisper_apr.corpus.local.LocalEngine", OneWorker)
    monkeypatch.setattr("whisper_apr.corpus.shared_model.shared_model", lambda name, *_: nullcontext(name))
    monkeypatch.setattr("whisper_apr.cli.corpus._fingerprint", lambda *_: {})
    monkeypatch.setattr("whisper_apr.corpus.work.perf_counter", lambda: 0.0)
    monkeypatch.setattr("whisper_apr.cli.corpus.monotonic", lambda: 0.0)
    monkeypatch.setattr("whisper_apr.corpus.shards.token_hex", lambda _: "0")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_a_row(command: str) -> None:
    assert flags_of(command) == COMMANDS[command].keys()


@pytest.mark.parametrize(("command", "name"), [(c, name) for c in COMMANDS for name in sorted(flags_of(c))])
def test_the_flag_has_an_effect(
    command: str,
    name: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = COMMANDS[command][name]
    base = {key: value for key, value in (BASES[command] | row.base).items() if key in flags_of(command)}
    is_named = row.source == "folder" or "." in row.source
    source = folder / row.source if is_named else folder / f"{row.source}.wav"
    if command == "eval":
        source = source.with_suffix(".json")
    monkeypatch.setenv("FORCE_COLOR", "1")  # colors as on a terminal
    # without the options that the JSON file of `eval` records, so that only their effects are compared
    monkeypatch.setattr("whisper_apr.cli.eval_report.Report.as_json", lambda self, _: as_json(self, {}))
    in_this_process(monkeypatch)
    monkeypatch.setattr("whisper_apr.cli.live.write_stdout", print)  # each output in a line of its own
    traces = []
    for options in (base, base | {name: row.value}):
        where = tmp_path / str(len(traces))
        (where / "existing").mkdir(parents=True)
        (where / "existing" / f"{row.source}.txt").write_text("before")
        failed = dict.fromkeys(RECORD) | {"id": str(source), "error": "damaged"}
        (where / "existing" / "part-000000-0.jsonl").write_text(f"{json.dumps(failed)}\n")
        monkeypatch.chdir(where)
        line = [command, *argv(options), *([str(source)] if command != "live" else [])]
        line += [str(folder / "text.txt")] if command == "align" else []
        stdin = folder / (f"{row.source}.raw" if command == "live" else "short.raw")
        trace, error = run("command", stdin, {"argv": line, "folder": where}, capsys)
        traces.append(trace)
    assert isinstance(error, row.raises or type(None)), trace
    assert (traces[0] == traces[1]) == row.is_nothing
