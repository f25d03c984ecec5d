"""The command `whisper-apr serve`: each of its flags has an effect, signals end it, and its log."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from recordings import silence, speech
from running_server import recording, wait_until
from whisper_apr import load_model, simd
from whisper_apr.cli import main, make_parser
from whisper_apr.cli.serve import KEY_VARIABLE
from whisper_apr.server import http_server, logs

EN = Path(__file__).parents[1] / "data" / "en.wav"
LONG = recording(*[speech("en_three"), silence(28)] * 4)

DECODING = {"audio_context": "full", "beam_size": None, "hallucination_filter": False, "seed": None}  # the defaults

# flags and values, with the parts of the server that they change
FLAGS = {
    "model": (["other"], {"name": "other", "model_id": "other"}),
    "model_dir": (["models"], {"download_root": "models"}),
    "compute_type": (["int8"], {"compute_type": "int8"}),
    "threads": (["1"], {"threads": 1}),
    "backend": ([simd.backends()[-2]], {"backend": simd.backends()[-2]}),
    "model_id": (["tiny"], {"model_id": "tiny"}),
    "host": (["0.0.0.0"], {"host": "0.0.0.0"}),
    "port": (["0"], {}),  # given in every call: otherwise a port may be in use
    "wyoming": (["[::1]:10399"], {"wyoming": ("::1", 10399)}),
    "api_key": (["a", "b"], {"api_keys": ("a", "b")}),
    "cors_origin": (["https://a.example", "*"], {"cors_origins": ("https://a.example", "*")}),
    "max_upload": (["3"], {"max_upload": 3 << 20}),
    "max_requests": (["3"], {"max_requests": 3}),
    "max_sessions": (["3"], {"max_sessions": 3}),
    "batch_size": (["3"], {"batch_size": 3}),
    "timeout": (["3.5"], {"timeout": 3.5}),
    "stop_timeout": (["3"], {"stop_timeout": 3.0}),
    "log_format": (["json"], {"log_format": "json"}),
    "beam_size": (["3"], {"decoding": DECODING | {"beam_size": 3}}),
    "seed": (["3"], {"decoding": DECODING | {"seed": 3}}),
    "audio_context": (["auto"], {"decoding": DECODING | {"audio_context": "auto"}}),
    "hallucination_filter": (["True"], {"decoding": DECODING | {"hallucination_filter": True}}),
}


def flags() -> list[str]:
    (commands,) = (action for action in make_parser()._actions if hasattr(action, "choices") and action.choices)
    return [action.dest for action in commands.choices["serve"]._actions if action.dest != "help"]


@pytest.fixture
def made(monkeypatch):
    """Run the command without serving, and return what it would serve with."""
    threads, backend = simd.get_num_threads(), simd.backend()
    make_server = http_server.Server

    def call(*arguments: str) -> dict:
        seen: dict = {}

        def opened(name, **settings):
            seen.update(settings, name=name)
            return load_model("digits")

        def made_server(model, settings, wyoming):
            seen.update(vars(settings), wyoming=wyoming and wyoming.getsockname()[:2])
            return make_server(model, settings, wyoming)

        def serve(self, sockets):
            seen.update(host=sockets[0].getsockname()[0], threads=simd.get_num_threads(), backend=simd.backend())

        monkeypatch.setattr("whisper_apr.cli.arguments.load_model", opened)
        monkeypatch.setattr(make_server, "run", serve)
        monkeypatch.setattr(http_server, "Server", made_server)
        monkeypatch.setattr(logs, "configure", lambda log_format: seen.update(log_format=log_format))
        assert main(["serve", "--port", "0", *arguments]) == 0
        return seen

    yield call
    simd.set_num_threads(threads)
    simd.use_backend(backend)


@pytest.mark.parametrize("name", flags())
def test_every_flag_has_an_effect(made, name):
    values, changes = FLAGS[name]
    base = made("--threads", "2") if name == "threads" else made()
    changed = made(*(part for value in values for part in (f"--{name.replace('_', '-')}", value)))
    assert {key: value for key, value in changed.items() if base[key] != value} == changes


def test_unused_memory_is_limited_before_there_are_threads(made, monkeypatch):
    order = []
    monkeypatch.setattr("whisper_apr.server.memory.limit_unused_memory", lambda: order.append("limit"))
    monkeypatch.setattr(simd, "set_num_threads", lambda n: order.append("threads"))
    made("--threads", "1")
    assert order[:2] == ["limit", "threads"]


def test_the_key_of_the_environment(made, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    assert made()["api_keys"] == ("secret",)
    assert made("--api-key", "other")["api_keys"] == ("other",)
    monkeypatch.setenv(KEY_VARIABLE, "")
    assert made()["api_keys"] == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("base", "base"),
        ("openai/whisper-tiny", "whisper-tiny"),
        ("/models/mine.apr", "mine"),
        ("models/ct2/", "ct2"),
        ("https://example.org/a/small.apr?key=1", "small"),
    ],
)
def test_the_models_name_in_the_api(made, name, expected):
    assert made("--model", name)["model_id"] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "from 0 to 65535"),
        (["--wyoming", "10300"], "such as 0.0.0.0:10300"),
        (["--wyoming", "localhost:99999"], "from 0 to 65535"),
        (["--timeout", "0"], "above 0"),
        (["--timeout", "nan"], "above 0"),
        (["--max-requests", "0"], "from 1"),
        (["--api-key", ""], "must not be empty"),
        (["--beam-size", "0"], "beam_size"),
        (["--seed", "-1"], "seed"),
        (["--audio-context", "all"], "choose from full, auto"),
        (["--cors-origin", "example.org"], "https://"),
    ],
)
def test_wrong_values_are_refused_before_the_model_is_loaded(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr("whisper_apr.cli.arguments.load_model", None)
    assert main(["serve", "--port", "0", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_port_in_use(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--model", "digits", "--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"whisper-apr: cannot listen on 127.0.0.1, port {port}: Address already in use; choose others by --host and "
        "--port\n"
    )


# ---- in a process of its own ----------------------------------------------------------------------------------------


@contextmanager
def process(*arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen, str, list[str]]]:
    """Run the command, and yield its process, URL and the lines that it logs until it ends."""
    command = [sys.executable, "-m", "whisper_apr", "serve", "--model", "digits", "--port", "0", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables
    lines: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as started:
        try:
            line = started.stdout.readline()
            assert line.startswith("serving digits at http://127.0.0.1:"), (line, started.stderr.read())
            url = line.split()[3].removesuffix(";").removesuffix("/v1")
            wait_until(lambda: _answers(url))
            yield started, url, lines
        finally:
            if started.poll() is None and not lines:
                started.kill()
            lines += started.communicate(timeout=60)[1].splitlines()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_requests_end(model, number):
    form = {"file": ("a.wav", LONG), "model": (None, "digits"), "response_format": (None, "text")}
    with process() as (server, url, lines), ThreadPoolExecutor(1) as clients:
        text = clients.submit(httpx.post, f"{url}/v1/audio/transcriptions", files=form, timeout=120)
        wait_until(lambda: "whisper_apr_requests_running 1" in httpx.get(f"{url}/metrics").text)
        server.send_signal(number)
        assert text.result().text == model.transcribe(LONG).text.strip() + "\n"
        assert server.wait(60) == 0
    assert any(f"stopping, because of {number.name}" in line for line in lines)


def test_the_log_as_json():
    with process("--log-format", "json", **{KEY_VARIABLE: "secret"}) as (server, url, lines):
        assert httpx.get(f"{url}/v1/models").status_code == 401
        assert httpx.get(f"{url}/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    logged = [json.loads(line) for line in lines]
    assert [each["status"] for each in logged if each.get("path") == "/v1/models"] == [401, 200]
    assert not any("secret" in line for line in lines)
