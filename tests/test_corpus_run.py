"""The driver with workers in processes: killed workers, failures, parts, and runs that are killed themselves."""

import os
import signal
import threading
import time
from math import exp
from pathlib import Path

import pytest

from corpus_work import Scripted, items, records, run
from whisper_apr.corpus.items import digest
from whisper_apr.corpus.local import LocalEngine
from whisper_apr.corpus.parquet import RECORD
from whisper_apr.corpus.run import report
from whisper_apr.corpus.shards import Totals
from whisper_apr.corpus.tasks import TimeLimit
from whisper_apr.errors import OptionError, WhisperAprError

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL"),
]


def test_killed_workers_and_failures(tmp_path: Path) -> None:
    """Everything is recorded once, with the number of attempts, and no worker's end ends the run."""
    log = tmp_path / "log"
    out = tmp_path / "out"
    out.mkdir()
    names = ["a", "poison", "b", "once", "c", "broken", "busy", "long", "d", "once more"]
    done = {digest("d")}
    engine = LocalEngine(Scripted(str(log)), 2)
    made = run(engine, out, items(*names), retries=1, done=done)
    found = {each["id"]: each for each in records(out)}
    assert len(records(out)) == len(found) == len(names) - 1
    assert made.n_skipped == 1
    assert all(list(each) == list(RECORD) for each in found.values())
    assert {name: found[name]["attempts"] for name in found} == {
        "a": 1,
        "b": 1,
        "c": 1,
        "poison": 2,
        "once": 2,
        "once more": 2,
        "broken": 1,
        "busy": 2,
        "long": 1,
    }
    assert {name: each["error"] for name, each in found.items() if each["error"]} == {
        "poison": "the worker was ended by SIGKILL",
        "broken": "damaged",
        "busy": "no connection",
    }
    begun = log.read_text().splitlines()
    assert [begun.count(name) for name in ("a", "poison", "once", "broken", "busy", "long", "d")] == [
        1,
        2,
        2,
        1,
        2,
        4,
        0,
    ]
    assert found["a"]["text"] == " a"
    assert found["a"]["confidence"] == pytest.approx(exp(-0.5))
    long = found["long"]
    assert (long["text"], [each["id"] for each in long["segments"]]) == (" 0 1 2", [0, 1, 2])
    assert (long["duration"], long["seconds"], long["language_probability"]) == (3.0, 0.3, 0.5)
    assert (made.totals.n_record, made.totals.n_failed, made.totals.audio_seconds) == (9, 3, 18.0)
    assert len(engine.load_seconds) >= 4  # two and, as four are killed, at least two in their place
    about = report(Totals(), made, 36.0, engine)
    assert (about["run"]["times_real_time"], about["corpus"]["languages"]) == (0.5, {"en": 6})


def test_a_worker_that_is_killed_from_outside(tmp_path: Path) -> None:
    log = tmp_path / "log"
    engine = LocalEngine(Scripted(str(log)), 1)

    def kill() -> None:
        while not (log.exists() and "slow" in log.read_text()):
            time.sleep(0.05)
        os.kill(engine.pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    run(engine, tmp_path, items("a", "slow", "b"))
    killer.join()
    assert [(each["id"], each["attempts"], each["error"]) for each in records(tmp_path)] == [
        ("a", 1, None),
        ("b", 1, None),
        ("slow", 2, None),
    ]
    assert not engine.pids


def test_a_worker_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    engine = LocalEngine(Scripted(str(tmp_path / "log")), 2, TimeLimit(2.0, grace=0.5))
    run(engine, tmp_path, items("a", "slow", "stuck", "b"), retries=1)
    found = {each["id"]: each for each in records(tmp_path)}
    assert {name: (each["attempts"], each["error"]) for name, each in found.items()} == {
        "a": (1, None),
        "slow": (2, None),
        "stuck": (2, "it took a worker more than 2 s; see --time-limit"),
        "b": (1, None),
    }
    assert found["stuck"]["seconds"] > 2 * 2.5
    assert not engine.pids


def test_an_interrupted_run_writes_what_is_complete(tmp_path: Path) -> None:
    engine = LocalEngine(Scripted(str(tmp_path / "log")), 1)

    def interrupt(record: dict[str, object]) -> None:
        if record["id"] == "b":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(engine, tmp_path, items("a", "b", "slow"), on_record=interrupt)
    assert [each["id"] for each in records(tmp_path)] == ["a", "b"]
    assert not engine.pids


def test_workers_that_cannot_start_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(WhisperAprError, match="3 workers in a row ended before they had loaded the model, the last"):
        run(LocalEngine(Scripted(str(tmp_path / "log"), "die"), 1), tmp_path, items("a"))
    with pytest.raises(OptionError, match="English only"):
        run(LocalEngine(Scripted(str(tmp_path / "log"), "refuse"), 1), tmp_path, items("a"))
    assert records(tmp_path) == []


def test_few_recordings_start_few_workers(tmp_path: Path) -> None:
    engine = LocalEngine(Scripted(str(tmp_path / "log")), 8)
    run(engine, tmp_path, items("a", "b"))
    assert len(engine.load_seconds) <= 2
