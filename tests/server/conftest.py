"""Fixtures of the server's tests."""

import time
from typing import Any, NoReturn
from weakref import WeakSet

import pytest

from running_server import Running, running
from whisper_apr.inference.generation import ContinuousBatch


@pytest.fixture(scope="module")
def server() -> Running:
    """A server of the `digits` model with the default settings, shared by a module's tests."""
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Running):
    """OpenAI's client of the server."""
    return server.client()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the decoding of a recording wait after its first window until it is cancelled, on however fast a machine."""
    step = ContinuousBatch.step
    held: WeakSet[ContinuousBatch[Any]] = WeakSet()

    def hold(batch: ContinuousBatch[Any]) -> NoReturn:
        while True:
            batch._check_cancelled()
            time.sleep(0.01)

    def step_once(self: ContinuousBatch[Any]) -> Any:
        if self in held:
            hold(self)
        finished = step(self)
        if finished:
            held.add(self)
        return finished

    monkeypatch.setattr(ContinuousBatch, "step", step_once)
