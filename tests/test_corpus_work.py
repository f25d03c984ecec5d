"""What a worker does: parts of a recording give the text of the whole, and recordings come from tars and URLs."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import soundfile

from encoded import digits
from recordings import DATA, RECORDINGS
from test_corpus_items import tar
from whisper_apr import Recognizer
from whisper_apr.audio import ReadingOptions
from whisper_apr.corpus.items import Item, Items
from whisper_apr.corpus.run import _Pending, done_record
from whisper_apr.corpus.tasks import Divided, Done, Failed, Outcome, Task, TimeLimit
from whisper_apr.corpus.work import Settings
from whisper_apr.inference.generation import ContinuousBatch

pytestmark = pytest.mark.usefixtures("encoded_once")

BASE = {"temperature": 0.0, "batch_size": 4}


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch, model: Recognizer) -> None:
    monkeypatch.setattr("whisper_apr.corpus.work.load_model", lambda *_, **__: model)


def done(item: Item, **settings: Any) -> dict[str, Any]:
    """Return the record of a recording."""
    work = Settings("digits", **settings)()
    pending = _Pending(item)
    outcome: Outcome = work(Task(item))
    if isinstance(outcome, Divided):
        pending.divided, pending.n_part = outcome, len(outcome.parts)
        # in any order, as by several workers
        for part in reversed(outcome.parts):
            found = work(Task(item, part))
            assert isinstance(found, Done), found
            pending.done[part.number] = found
    else:
        assert isinstance(outcome, Done), outcome
        pending.done[0] = outcome
    return done_record(pending) | {"n_part": pending.n_part}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("four_90_s", {}),
        ("four_90_s", {"word_timestamps": True}),
        ("four_90_s", {"vad_filter": True}),
        ("four_90_s", {"multilingual": True, "initial_prompt": "one", "audio_context": "auto"}),
        ("four_90_s", {"initial_prefix": "nine", "carry_initial_prompt": True, "initial_prompt": "one"}),
        ("four_90_s", {"temperature": (0.0, 1.0), "logprob_threshold": 0.0, "seed": 0, "sample_len": 20}),
        ("silence_65_s", {}),
        ("silence_65_s", {"hallucination_filter": True, "initial_prefix": "nine"}),
    ],
)
def test_parts_have_the_text_of_the_whole(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, RECORDINGS[name](), 16_000, subtype="PCM_16")
    options = BASE | options
    item = Item("long", str(path))
    parts, whole = done(item, options=options, split=1500), done(item, options=options, split=None)
    assert parts.pop("n_part") >= 3
    assert whole.pop("n_part") == 1
    assert parts | {"seconds": 0} == whole | {"seconds": 0}
    expected = digits().transcribe(str(path), **options)
    assert parts["text"] == expected.text
    segments = [{key: value for key, value in each.items() if key != "words"} for each in expected.segments]
    assert parts["segments"] == segments
    assert parts["words"] == ([dict(word) for word in expected.words] if "word_timestamps" in options else None)
    assert parts["dropped"] == (expected.dropped and [dict(each) for each in expected.dropped])
    about = parts["language"], parts["language_probability"], parts["duration"]
    assert about == (expected.language, expected.language_probability, expected.duration)


@pytest.mark.parametrize(
    "settings",
    [
        {"options": BASE | {"speakers": str(DATA / "turns.rttm")}},
        {"options": BASE | {"clip_timestamps": "10,20,0,5"}},
        {"reading": ReadingOptions(channel="each")},
    ],
)
def test_what_cannot_be_divided_is_transcribed_as_a_whole(settings: dict[str, Any]) -> None:
    found = done(Item("long", str(DATA / "en_late.flac")), **{"options": BASE, "split": 500} | settings)
    assert found["n_part"] == 1


def test_a_member_of_a_tar_is_read_like_a_file(tmp_path: Path) -> None:
    names = ("en.wav", "en_three.flac")
    path = tar(tmp_path / "a.tar", {name: (DATA / name).read_bytes() for name in names})
    for item, name in zip(Items([str(path)]), names, strict=True):
        inside, beside = done(item, options=BASE), done(Item(item.id, str(DATA / name)), options=BASE)
        assert inside["source"] == f"{path}:{name}"
        assert inside["text"]
        assert inside | {"source": 0, "seconds": 0} == beside | {"source": 0, "seconds": 0}


def test_the_language_of_the_manifest_is_given_unless_an_option_names_one() -> None:
    item = Item("a", str(DATA / "en.wav"), "de")
    assert done(item, options=BASE)["language"] == "de"
    assert done(item, options=BASE | {"language": "fr"})["language"] == "fr"
    assert done(replace(item, language=None), options=BASE)["language"] == "en"


def test_failures(tmp_path: Path) -> None:
    work = Settings("digits", options=BASE)()
    (tmp_path / "text.wav").write_text("no recording")
    for item in (
        Item("a", str(tmp_path / "gone.wav")),
        Item("a", str(tmp_path / "text.wav")),
        Item("a", str(tmp_path / "gone.tar"), offset=0, size=5, member="a.wav"),
        Item("a", str(tmp_path / "text.wav"), offset=0, size=5, member="a.wav"),
        Item("a", str(DATA / "en.wav"), "yue"),  # a language that the model lacks
    ):
        outcome = work(Task(item))
        assert isinstance(outcome, Failed)
        assert outcome.is_final
        assert outcome.reason.startswith(item.name) or item.language


def test_the_time_of_a_task_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker ends the decoding of one recording, and transcribes the next one."""
    now, step = 0.0, ContinuousBatch.step

    def endless(self: ContinuousBatch[Any]) -> list[Any]:
        nonlocal now
        now += 1
        assert now < 50, "the work goes on"
        self._check_cancelled()
        return []

    for module in ("tasks", "work"):
        monkeypatch.setattr(f"whisper_apr.corpus.{module}.perf_counter", lambda: now)
    work = Settings("digits", options=BASE, time_limit=TimeLimit(9.5))()
    task = Task(Item("a", str(DATA / "en.wav")))
    monkeypatch.setattr(ContinuousBatch, "step", endless)
    reason = f"{DATA / 'en.wav'}: it took a worker more than 9.5 s; see --time-limit"
    assert work(task) == Failed(reason, is_final=False, seconds=10)
    monkeypatch.setattr(ContinuousBatch, "step", step)
    now = 1000.0
    assert isinstance(work(task), Done)


def test_warnings_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes((DATA / "en.wav").read_bytes()[:-20_000])
    (message,) = done(Item("a", str(path)), options=BASE)["warnings"]
    assert "cut" in message


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of the recordings."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *rest: Any) -> None:
            super().__init__(*rest, directory=str(DATA))

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/broken":
                self.send_error(503)
            elif self.path == "/cut":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"RIFF")
            elif self.path == "/slow":
                self.send_response(200)
                self.end_headers()
                with suppress(OSError):  # the client has left
                    while True:
                        self.wfile.write(b"RIFF")
                        time.sleep(0.01)
            else:
                super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.system
def test_urls(served: str) -> None:
    item = Item("a", f"{served}/en.wav")
    assert done(item, options=BASE)["text"] == done(Item("a", str(DATA / "en.wav")), options=BASE)["text"]
    work = Settings("digits", options=BASE, max_download=1000)()
    cases = {"en.wav": True, "gone.wav": True, "broken": False, "cut": False}
    outcomes = {name: work(Task(Item("a", f"{served}/{name}"))) for name in cases}
    assert {name: getattr(each, "is_final", None) for name, each in outcomes.items()} == cases
    reasons = {name: getattr(each, "reason", "") for name, each in outcomes.items()}
    assert "--max-download" in reasons["en.wav"]
    assert "404" in reasons["gone.wav"]
    assert "broke off" in reasons["cut"]
    limited = Settings("digits", options=BASE, time_limit=TimeLimit(0.2))()
    slow = limited(Task(Item("a", f"{served}/slow")))
    assert isinstance(slow, Failed)
    assert slow.reason.endswith("/slow: it took a worker more than 0.2 s; see --time-limit")
