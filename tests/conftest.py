"""Fixtures and settings for all tests."""

import os
import signal
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import encoded
from apr_files import write_model
from whisper_apr import Recognizer, load_model, simd
from whisper_apr.inference.generation import ContinuousBatch, Generation, Prompt
from whisper_apr.model.decoder_cache import AudioSlot
from whisper_apr.model.encoder import AudioEncoder

# On a busy machine any example may exceed Hypothesis' deadline of 200 ms, so there is none. Continuous integration
# generates the same examples for each run, so that it fails only by a change.
settings.register_profile(
    "no deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("no deadline")


def pytest_configure() -> None:
    # A shell's background jobs ignore SIGINT, and `nohup` ignores SIGHUP. Child processes inherit that, and tests that
    # send them these signals would never end.
    for name, handler in {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}.items():
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_report_header() -> str:
    return f"whisper_apr: backend {simd.backend()} of {', '.join(simd.backends())}; {simd.get_num_threads()} threads"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if sys.platform == "emscripten":
        for item in items:
            if item.get_closest_marker("system"):
                item.add_marker(pytest.mark.skip(reason="WebAssembly supports neither processes nor threads"))


@pytest.fixture(params=simd.backends())
def backend(request: pytest.FixtureRequest):
    """Run the test once on each backend that this machine supports."""
    with simd.use_backend(request.param):
        yield request.param


@pytest.fixture(params=[name for name in simd.backends() if name != "numpy"])
def compiled_backend(request: pytest.FixtureRequest):
    """Like `backend`, without NumPy: for results that the compiled kernels share bit for bit."""
    with simd.use_backend(request.param):
        yield request.param


@pytest.fixture(scope="session")
def model() -> Recognizer:
    """The `digits` model, shared by all tests."""
    return encoded.digits()


@pytest.fixture(scope="module")
def encoded_once():
    """Cache the encoder's output for a module's tests; see `encoded.py`."""
    with encoded.encoded_once():
        yield


@pytest.fixture
def encoded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo `encoded_once` for one test, which measures batches, threads or memory."""
    monkeypatch.setattr(AudioEncoder, "__call__", encoded.encode)


@pytest.fixture
def opened_once(model: Recognizer, encoded_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command use the shared `digits` model and cached encoder output, instead of loading the model again."""

    def opened(name: str, **settings: Any) -> Recognizer:
        is_plain = settings == {"download_root": None, "compute_type": "default"}
        return model if name == "digits" and is_plain else load_model(name, **settings)

    monkeypatch.setattr("whisper_apr.cli.arguments.load_model", opened)


@pytest.fixture(scope="session", params=[False, True], ids=["stored", "LZ4"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a small `.apr` file, once stored and once compressed."""
    return write_model(tmp_path_factory.mktemp("apr") / "either.apr", compress=request.param)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a small `.apr` file that is not compressed."""
    return write_model(tmp_path_factory.mktemp("apr") / "model.apr")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A local Hugging Face hub that serves a small model; see `hub_server.serving_a_model`."""
    from hub_server import serving_a_model  # needs huggingface_hub, which is not installed on WebAssembly

    with serving_a_model(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch):
    """Start servers that answer by a script; see `scripted_server.py`."""
    from scripted_server import serving_scripts  # threads and sockets, which WebAssembly does not support

    with serving_scripts(monkeypatch) as start:
        yield start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """The server of `whisper-apr web`, shared by a module's tests; see `web_server.py`."""
    from web_server import serving_a_folder

    with serving_a_folder(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if `whisper-apr transcribe` loads a model."""

    def opened(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("whisper_apr.cli.transcription_run.model_from_args", opened)


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty PATH, so that no ffmpeg is found."""
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The prompt of each window that is decoded, once for every temperature, a list that grows."""
    prepare, prompts = Generation.__init__, list[tuple[int, ...]]()

    def recorded(self: Generation, slot: AudioSlot, prompt: Prompt, *rest: Any) -> None:
        prompts.append(prompt.tokens)
        prepare(self, slot, prompt, *rest)

    monkeypatch.setattr(Generation, "__init__", recorded)
    return prompts


@pytest.fixture
def batch_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of windows that are decoded together, for each token, a list that grows."""
    step, sizes = ContinuousBatch.step, list[int]()

    def recorded(self: ContinuousBatch[Any]) -> Any:
        sizes.append(len(self))
        return step(self)

    monkeypatch.setattr(ContinuousBatch, "step", recorded)
    return sizes
