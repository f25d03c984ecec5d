"""What every test run shares."""

import signal
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import encoded
from apr_files import write_model
from whisper_apr import Recognizer, load_model, simd
from whisper_apr.inference.decode import DecodingTask
from whisper_apr.model.encoder import AudioEncoder

# No clock decides whether a test passes: hypothesis would fail an example of more than 200 ms, which a busy machine makes of any.
settings.register_profile("no clock", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")


def pytest_configure() -> None:
    # A shell's background jobs ignore SIGINT, and their child processes inherit that: tests of Ctrl-C would never end.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return f"whisper_apr: backend {simd.backend()} of {', '.join(simd.backends())}; {simd.get_num_threads()} threads"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if sys.platform == "emscripten":
        for item in items:
            if item.get_closest_marker("system"):
                item.add_marker(pytest.mark.skip(reason="WebAssembly has neither processes nor threads"))


@pytest.fixture(params=simd.backends())
def backend(request: pytest.FixtureRequest):
    """Run the test once on each backend that this machine has."""
    with simd.use_backend(request.param):
        yield request.param


@pytest.fixture(params=[name for name in simd.backends() if name != "numpy"])
def compiled_backend(request: pytest.FixtureRequest):
    """As `backend`, without NumPy: for what holds bit for bit of the compiled kernels."""
    with simd.use_backend(request.param):
        yield request.param


@pytest.fixture(scope="session")
def model() -> Recognizer:
    """The small real Whisper that comes with the package."""
    return encoded.digits()


@pytest.fixture(scope="module")
def encoded_once():
    """See `encoded.py`."""
    with encoded.encoded_once():
        yield


@pytest.fixture
def encoded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every window is encoded, in a module whose other tests are `encoded_once`: for batches, threads and memory."""
    monkeypatch.setattr(AudioEncoder, "__call__", encoded.encode)


@pytest.fixture
def opened_once(model: Recognizer, encoded_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's `digits` is the model that all tests share, and its encoder remembers windows."""

    def opened(name: str, **settings: Any) -> Recognizer:
        is_plain = settings == {"download_root": None, "compute_type": "default"}
        return model if name == "digits" and is_plain else load_model(name, **settings)

    monkeypatch.setattr("whisper_apr.cli.arguments.load_model", opened)


@pytest.fixture(scope="session", params=[False, True], ids=["stored", "LZ4"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small `.apr` of each kind, its bytes."""
    return write_model(tmp_path_factory.mktemp("apr") / "either.apr", compress=request.param)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small `.apr` that is stored, its bytes."""
    return write_model(tmp_path_factory.mktemp("apr") / "model.apr")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """See `hub_server.serving_a_model`."""
    from hub_server import serving_a_model  # brings huggingface_hub, which WebAssembly does without

    with serving_a_model(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program is found on PATH."""
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of windows in each call of the decoder so far."""
    run, rows = DecodingTask.run, list[int]()

    def counted(self: DecodingTask, mel: simd.FloatArray, *rest: object) -> object:
        rows.append(len(mel))
        return run(self, mel, *rest)

    monkeypatch.setattr(DecodingTask, "run", counted)
    return rows
